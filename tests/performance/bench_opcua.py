"""Cost of reading and subscribing, beside asyncua's own client, against a node-opcua server.

The server runs in a process of its own, so that all CPU time here is the client's.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.client.client import Client

from collectors.contract.config import parse_collector
from collectors.contract.config_opcua import OpcUaCollector, OpcUaDevice
from collectors.opcua.driver import OpcUaDriver
from collectors.runtime.driver import Traffic
from collectors.runtime.testing import RunningCollector

_ROOT = Path(__file__).parents[2]
_PEER = _ROOT / "tests" / "integration" / "node_opcua"
_READ_POINTS = 1000
_READ_ROUNDS = 40
_ITEMS = 5000
_TICK_MS = 100
_SUBSCRIBE_S = 6.0
_WARM_UP_S = 3.0
"""Until node has compiled what the server does all the time."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    wall_s: float
    cpu_s: float


def main() -> None:
    _install()
    with _serving(_READ_POINTS, 0) as port:
        asyncio.run(_bench_reading(port))
    with _serving(_ITEMS, _TICK_MS) as port:
        time.sleep(_WARM_UP_S)
        asyncio.run(_bench_subscribing(port))
        asyncio.run(_bench_asyncua_subscription(port))
        _bench_process(port, 10)
        _bench_process(port, _ITEMS)


async def _bench_reading(port: int) -> None:
    print(f"Read of {_READ_POINTS} doubles, medians of {_READ_ROUNDS} rounds")
    driver = OpcUaDriver(_device(port, _READ_POINTS, "poll"), Traffic(), print, Path("unused"))
    await driver.connect()
    _print("collector's driver", await _measured(lambda: driver.read("default")), _READ_POINTS)
    await driver.close()
    client = Client(f"opc.tcp://127.0.0.1:{port}")
    async with client:
        nodes = [client.get_node(f"ns={await _index(client)};s=v{i}") for i in range(_READ_POINTS)]
        _print(
            "asyncua read_values", await _measured(lambda: client.read_values(nodes)), _READ_POINTS
        )
        wanted = ua.ReadParameters(
            NodesToRead=[
                ua.ReadValueId(NodeId=node.nodeid, AttributeId=ua.AttributeIds.Value)
                for node in nodes
            ]
        )
        cost = await _measured(lambda: client.uaclient.read(wanted))
        _print("asyncua uaclient.read", cost, _READ_POINTS)


async def _bench_subscribing(port: int) -> None:
    print(f"\n{_ITEMS} items that change each {_TICK_MS} ms, for {_SUBSCRIBE_S:g} s")
    traffic = Traffic()
    driver = OpcUaDriver(_device(port, _ITEMS, "subscribe"), traffic, print, Path("unused"))
    await driver.connect()
    last = {sample.point: sample.value for sample in (await driver.read("default")).samples()}
    changes = lost = 0
    ends, cpu_s = time.monotonic() + _SUBSCRIBE_S, time.process_time()
    due = time.monotonic()
    spent_s = 0.0
    while time.monotonic() < ends:
        due += _TICK_MS / 1000
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        columns = await driver.read("default")
        before = time.process_time()
        for point, value in zip(columns.points, columns.values, strict=True):
            step = round((value - last[point]) * 2)  # type: ignore[operator] # all are doubles
            changes += step > 0
            lost += max(0, step - 1)
            last[point] = value
        spent_s += time.process_time() - before  # the count itself is not the client's work
    cost = Cost(wall_s=_SUBSCRIBE_S, cpu_s=time.process_time() - cpu_s - spent_s)
    await driver.close()
    _print_changes("collector's driver", cost, changes)
    print(f"{'':24}{lost} changes missing, {traffic.lost_changes} reported as lost")


async def _bench_asyncua_subscription(port: int) -> None:
    client = Client(f"opc.tcp://127.0.0.1:{port}")
    async with client:
        nodes = [client.get_node(f"ns={await _index(client)};s=v{i}") for i in range(_ITEMS)]
        subscription = await client.create_subscription(_TICK_MS, queue_maxsize=10 * _ITEMS)
        async with subscription:
            await subscription.subscribe_data_change(nodes, queuesize=2)
            events = aiter(subscription)
            for _ in range(_ITEMS):
                await anext(events)
            changes = 0
            ends, cpu_s = time.monotonic() + _SUBSCRIBE_S, time.process_time()
            while time.monotonic() < ends:
                await anext(events)
                changes += 1
            cost = Cost(wall_s=_SUBSCRIBE_S, cpu_s=time.process_time() - cpu_s)
    _print_changes("asyncua, iterator", cost, changes)


def _bench_process(port: int, items: int) -> None:
    print(f"\nthe whole collector with {items} subscribed items, spool included")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        file = home / "bench.toml"
        points = "".join(
            f'[[devices.points]]\nname = "v{i}"\nnode_id = "nsu=urn:node:plant;s=v{i}"\n'
            for i in range(items)
        )
        file.write_text(
            f'name = "bench"\nprotocol = "opcua"\n[[devices]]\nid = "plc"\nmode = "subscribe"\n'
            f'endpoint = "opc.tcp://127.0.0.1:{port}"\ntimeout_s = 5.0\n'
            f"[[devices.groups]]\ninterval_s = {_TICK_MS / 1000}\n{points}"
        )
        with RunningCollector(file, home) as collector:
            beat = collector.reading()
            cpu_s, samples, started = _cpu_s(collector.pid), beat.samples, time.monotonic()
            time.sleep(_SUBSCRIBE_S)
            beat = collector.beat_with(lambda newer: newer.sequence > beat.sequence)
            cost = Cost(wall_s=time.monotonic() - started, cpu_s=_cpu_s(collector.pid) - cpu_s)
            _print_changes("collectors run", cost, beat.samples - samples)
            rss_mb = _rss_bytes(collector.pid) / 1e6
            print(f"{'':24}{rss_mb:.1f} MB RSS, {beat.connections[0].lost_changes} changes lost")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _device(port: int, count: int, mode: str) -> OpcUaDevice:
    device = {
        "id": "plc",
        "endpoint": f"opc.tcp://127.0.0.1:{port}",
        "mode": mode,
        "timeout_s": 10.0,
        "groups": [{"interval_s": _TICK_MS / 1000, **_sampling(mode)}],
        "points": [
            {"name": f"v{i}", "node_id": f"nsu=urn:node:plant;s=v{i}"} for i in range(count)
        ],
    }
    config = parse_collector({"name": "b", "protocol": "opcua", "devices": [device]}, file="b")
    assert isinstance(config, OpcUaCollector)
    return config.devices[0]


def _sampling(mode: str) -> dict[str, float]:
    # Faster than the values change, so that no two changes meet in one sample.
    return {"sampling_interval_s": _TICK_MS / 5000} if mode == "subscribe" else {}


async def _index(client: Client) -> int:
    return await client.get_namespace_index("urn:node:plant")


async def _measured(work: Callable[[], Awaitable[Any]]) -> list[Cost]:
    await work()
    costs = []
    for _ in range(_READ_ROUNDS):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        await work()
        costs.append(Cost(wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s))
    return costs


def _print(what: str, costs: Sequence[Cost], points: int) -> None:
    wall_s = statistics.median(cost.wall_s for cost in costs)
    cpu_s = statistics.median(cost.cpu_s for cost in costs)
    print(f"{what:24}{points / wall_s:10,.0f} points/s   {cpu_s / points * 1e6:.2f} us CPU/point")


def _print_changes(what: str, cost: Cost, changes: int) -> None:
    print(
        f"{what:24}{changes / cost.wall_s:10,.0f} changes/s"
        f"   {cost.cpu_s / changes * 1e6:.2f} us CPU/change   {cost.cpu_s / cost.wall_s:.0%} CPU"
    )


def _install() -> None:
    if not (_PEER / "node_modules" / ".package-lock.json").exists():
        command = [".ci/node.sh", "npm", "--prefix", str(_PEER), "ci", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=_ROOT, check=True, stdout=sys.stderr)


@contextmanager
def _serving(count: int, tick_ms: int) -> Iterator[int]:
    command = [".ci/node.sh", "node", str(_PEER / "server.js"), str(count), str(tick_ms), "10000"]
    process = subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.communicate(timeout=20)


if __name__ == "__main__":
    main()
