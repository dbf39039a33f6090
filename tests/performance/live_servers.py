"""The servers that ``bench_live.py`` compares: ours as it is shipped, and two well-known ones that
do nothing but send. Each publishes ``RATE`` messages a second to everybody."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

PAD = "x" * 440

OURS = """
import resource, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
from control_plane.server import Server
from control_plane.settings import load_settings

def publish(hub):
    due = time.monotonic()
    number = 0
    while True:
        number += 1
        data = {{"t": time.monotonic_ns(), "n": number, "pad": {pad!r}}}
        hub.publish({topic!r}, f"key-{{number % 50}}", data)
        due += 1 / {rate}
        time.sleep(max(0.0, due - time.monotonic()))

class Bench(Server):
    def load(self):
        application = super().load()
        threading.Thread(target=publish, args=(self._plane.hub,), daemon=True).start()
        return application

Bench(load_settings()).run()
"""

WEBSOCKETS = """
import asyncio, json, resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
from websockets.asyncio.server import broadcast, serve

peers = set()

async def serve_one(peer):
    peers.add(peer)
    try:
        await peer.wait_closed()
    finally:
        peers.discard(peer)

async def main():
    async with serve(serve_one, "127.0.0.1", {port}, compression=None, ping_interval=None):
        loop = asyncio.get_running_loop()
        due = loop.time()
        number = 0
        while True:
            number += 1
            broadcast(peers, json.dumps({{**{head}, "seq": number, "data":
                {{"t": time.monotonic_ns(), "n": number, "pad": {pad!r}}}}}))
            due += 1 / {rate}
            await asyncio.sleep(max(0.0, due - loop.time()))

asyncio.run(main())
"""

WS = """
import {{ WebSocketServer }} from 'ws'
const server = new WebSocketServer({{ host: '127.0.0.1', port: {port}, perMessageDeflate: false }})
let number = 0
let due = Number(process.hrtime.bigint()) / 1e6
function publish() {{
  number += 1
  const data = {{ t: Number(process.hrtime.bigint()), n: number, pad: {pad_json} }}
  const frame = Buffer.from(JSON.stringify({{ ...{head}, seq: number, data }}))
  for (const peer of server.clients)
    if (peer.readyState === 1) peer.send(frame, {{ binary: false }})
  due += 1000 / {rate}
  setTimeout(publish, Math.max(0, due - Number(process.hrtime.bigint()) / 1e6))
}}
publish()
"""

HEAD = json.dumps(
    {"type": "error_alert", "topic": "error_alerts", "sub": "s1", "kind": "delta", "ts": 1764000000}
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def install_peers(scratch: Path) -> None:
    """Put node's ``ws`` and Python's ``websockets`` into ``scratch``; needs a package registry."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    venv = [sys.executable, "-m", "venv", str(scratch / "venv")]
    subprocess.run(venv, check=True, **quiet)  # type: ignore[call-overload]
    pip = [str(scratch / "venv/bin/pip"), "install", "-q", "websockets"]
    subprocess.run(pip, check=True, **quiet)  # type: ignore[call-overload]
    (scratch / "package.json").write_text('{"type": "module"}')
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "ws"]
    subprocess.run(npm, cwd=scratch, check=True, **quiet)  # type: ignore[call-overload]


def start(kind: str, port: int, rate: float, scratch: Path) -> subprocess.Popen[bytes]:
    """Start ``ours``, ``ours-states``, ``ws`` or ``websockets``; return once it listens."""
    words = {"port": port, "rate": rate, "pad": PAD, "pad_json": json.dumps(PAD), "head": HEAD}
    environ = dict(os.environ)
    if kind.startswith("ours"):
        topic = "error_alerts" if kind == "ours" else "process_status"
        command = [sys.executable, "-c", OURS.format(**words, topic=topic)]
        environ |= {
            "DAQ_HOME": str(scratch / "home"),
            "DAQ_HTTP_PORT": str(port),
            "DAQ_MAX_LIVE_CLIENTS": "2000",
            "DAQ_MAX_LIVE_PER_USER": "2000",
            "DAQ_MAX_LIVE_PER_ADDRESS": "2000",
        }
    elif kind == "ws":
        (scratch / "ws.mjs").write_text(WS.format(**words))
        command = ["node", str(scratch / "ws.mjs")]
    else:
        command = [str(scratch / "venv/bin/python"), "-c", WEBSOCKETS.format(**words)]
    log = (scratch / f"{kind}.log").open("wb")
    with log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process
    raise AssertionError(f"{kind} does not listen: {(scratch / f'{kind}.log').read_text()}")
