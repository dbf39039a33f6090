"""Listens on many WebSockets at once and measures how old messages are when they arrive.

A process of its own, started by ``bench_live.py``: arguments are one JSON object, the answer is
another. Every message holds ``"t":<monotonic nanoseconds>`` of when it was published.
"""

import base64
import json
import os
import re
import resource
import select
import socket
import sys
import time
from typing import Any

_STAMP = re.compile(rb'"t": ?(\d+)')


def main() -> None:
    task: dict[str, Any] = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    began = time.monotonic()
    mute = [connect(task, mute=True) for _ in range(task["mute"])]
    poll = select.epoll()
    readers: dict[int, socket.socket] = {}
    for number in range(task["readers"]):
        peer = connect(task)
        readers[peer.fileno()] = peer
        poll.register(peer.fileno(), select.EPOLLIN)
        if number % 20 == 0:
            listen(poll, readers, 0.01, [])
    connected_s = time.monotonic() - began
    listen(poll, readers, task["settle_s"], [])
    print("ready", flush=True)
    ages: list[int] = []
    took_s = listen(poll, readers, task["measure_s"], ages)
    print("done", flush=True)
    ages.sort()
    figures = {
        "connected_s": connected_s,
        "per_s": len(ages) / took_s,
        "p50_ms": ages[len(ages) // 2] / 1e6 if ages else None,
        "p99_ms": ages[len(ages) * 99 // 100] / 1e6 if ages else None,
        "lost": task["readers"] - len(readers),
    }
    print(json.dumps(figures), flush=True)
    print(json.dumps(await_close(readers)), flush=True)
    for each in mute:
        each.close()


def connect(task: dict[str, Any], *, mute: bool = False) -> socket.socket:
    """Return a connection whose handshake and subscription are done."""
    peer = socket.socket()
    if mute:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.settimeout(30)
    peer.connect(("127.0.0.1", task["port"]))
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{task['port']}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    )
    for name, value in task["headers"].items():
        head += f"{name}: {value}\r\n"
    peer.sendall(head.encode() + b"\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += peer.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101"), answer[:200]
    for text in task["say"]:
        # RFC 6455, 5.3: a client masks what it sends; a mask of zeros changes nothing.
        payload = json.dumps(text).encode()
        assert len(payload) < 126
        peer.sendall(bytes((0x81, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
    peer.setblocking(False)
    return peer


def await_close(readers: dict[int, socket.socket]) -> dict[str, Any]:
    """Return how many are told to go with 1001, and how long after the first one."""
    told = 0
    poll = select.epoll()
    for fd in readers:
        poll.register(fd, select.EPOLLIN)
    tails = dict.fromkeys(readers, b"")
    first = last = time.monotonic()
    while tails and time.monotonic() - last < 10:
        for fd, _ in poll.poll(0.1):
            try:
                data = readers[fd].recv(1 << 18)
            except OSError:
                data = b""
            if data:
                tails[fd] = (tails[fd] + data)[-200:]
                continue
            # A close frame (RFC 6455, 5.5.1) with 1001 is the last thing said.
            if re.search(rb"\x88[\x02-\x7d]\x03\xe9", tails.pop(fd)):
                told += 1
                last = time.monotonic()
            poll.unregister(fd)
        if len(tails) == len(readers):
            first = last = time.monotonic()
    return {"told": told, "stop_s": last - first}


def listen(
    poll: select.epoll, readers: dict[int, socket.socket], for_s: float, ages: list[int]
) -> float:
    """Read for so long and note the age of each message; return how long it was."""
    began = time.monotonic()
    while (passed_s := time.monotonic() - began) < for_s:
        for fd, _ in poll.poll(0.1):
            try:
                data = readers[fd].recv(1 << 18)
            except OSError:
                data = b""
            if not data:
                poll.unregister(fd)
                readers.pop(fd).close()
            now_ns = time.monotonic_ns()
            ages.extend(now_ns - int(stamp) for stamp in _STAMP.findall(data))
    return passed_s


if __name__ == "__main__":
    main()
