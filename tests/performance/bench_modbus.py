"""Print what a Modbus collector costs, beside pymodbus alone and a read for each tag.

Run with ``python tests/performance/bench_modbus.py [decode|memory|site|limit|dead]``. The device is
a minimal server in a process of its own that answers every read with changing registers. CPU is
that of the client process alone, so the figures hold on a busy machine too; walls and lateness do
not. Python adds a megabyte of memory where PYTHONDONTWRITEBYTECODE keeps it from using its cache.
"""

import asyncio
import contextlib
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pymodbus.client import AsyncModbusTcpClient, ModbusTcpClient

from collectors.contract.config import AnyCollector, parse_collector
from collectors.contract.heartbeat import Heartbeat, heartbeat_path, read_heartbeat
from collectors.history.spool import SpoolWriter
from collectors.modbus_tcp.plan import plan
from collectors.runtime.block_reader import Answer, BlockReader
from collectors.runtime.group import groups_of
from collectors.runtime.planner import Block
from collectors.runtime.timing import Punctuality

ROOT = Path(__file__).parents[2]
_REGISTERS = 1000
_FORGET_START_S = 62.0
"""Lateness is that of the last minute, and all devices connect in the first seconds."""
_BLOCK = 125
_TICKS = os.sysconf("SC_CLK_TCK")
_RAMP = struct.pack(">1125H", *(n * 37 % 65536 for n in range(1125)))


class _Device(asyncio.Protocol):
    """Answers every read of holding registers; each answer differs from the one before."""

    turn = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        while len(data) >= 12:
            transaction, unit = data[:2], data[6:7]
            count = data[11]
            _Device.turn = (_Device.turn + 2) % 250
            words = _RAMP[_Device.turn : _Device.turn + 2 * count]
            head = struct.pack(">HH", 0, 3 + 2 * count) + unit + bytes((3, 2 * count))
            self.transport.write(transaction + head + words)
            data = data[12:]
        self.rest = data


def serve(ports: int) -> None:
    """Listen on so many ports and print them."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(_Device, "127.0.0.1", 0) for _ in range(ports)]
        print(json.dumps([s.sockets[0].getsockname()[1] for s in servers]), flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def devices(count: int) -> Iterator[list[int]]:
    with _process("serve", str(count)) as (process, line):
        assert process.poll() is None
        yield json.loads(line)


@contextmanager
def _process(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, __file__, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.wait()


def document(
    ports: list[int], interval_s: float, registers: int = _REGISTERS, **point: object
) -> dict[str, object]:
    points = [
        {"name": f"r{n}", "address": f"holding:{n}", "type": "int16", **point}
        for n in range(registers)
    ]
    return {
        "name": "line1",
        "protocol": "modbus_tcp",
        "devices": [
            {
                "id": f"plc{i}",
                "host": "127.0.0.1",
                "port": port,
                "groups": [{"interval_s": interval_s}],
                "points": points,
            }
            for i, port in enumerate(ports)
        ],
    }


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def decode_path(**point: object) -> float:
    """Return µs of CPU a point for decode, deadband and spool, without any connection."""
    config: AnyCollector = parse_collector(document([1], 1.0, **point), file="bench")
    device = config.devices[0]
    turn = 0

    async def answer(block: Block) -> Answer:
        now_ns = time.time_ns()
        payload = _RAMP[turn : turn + 2 * block.count]
        return Answer(payload=payload, source_ns=now_ns - 500_000, received_ns=now_ns)

    reader = BlockReader(plan(device)["default"], answer)
    (group,) = groups_of(device, 0.0, Punctuality).values()
    rounds: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        spool = SpoolWriter(Path(home) / "spool", max_bytes=10**9, max_age_s=1e6)

        async def cycle() -> None:
            columns, kept = group.take(await reader.read())
            spool.put_columns(columns, kept)

        async def run() -> None:
            nonlocal turn
            for _ in range(7):
                started = time.process_time()
                for _ in range(100):
                    turn = (turn + 2) % 250
                    await cycle()
                rounds.append((time.process_time() - started) / 100 / _REGISTERS * 1e6)

        asyncio.run(run())
        spool.close()
    return statistics.median(rounds)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def collector(config: dict[str, object]) -> Iterator[tuple[int, Callable[[], Heartbeat | None]]]:
    """Run the real program; give its pid and its newest heartbeat."""
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "line1.toml"
        file.write_text("\n".join(f"{key} = {toml(value)}" for key, value in config.items()))
        command = [sys.executable, "-m", "collectors", "run", str(file), "--home", home]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=ROOT
        )
        path = heartbeat_path(Path(home), "line1")
        try:
            yield process.pid, lambda: read_heartbeat(path)
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _has_unread(beat: Heartbeat, config: dict[str, object]) -> bool:
    devices = config["devices"]
    assert isinstance(devices, list)
    unread = [c for c in beat.connections if c.last_good_at is None]
    return len(beat.connections) < len(devices) or len(unread) > 1


def _wait_until_read(beat: Callable[[], Heartbeat | None], config: dict[str, object]) -> None:
    deadline = time.monotonic() + 120
    while (first := beat()) is None or not first.groups or _has_unread(first, config):
        assert time.monotonic() < deadline, "the collector does not read everything"
        time.sleep(0.1)


def measure(config: dict[str, object], settle_s: float, seconds: float) -> dict[str, float]:
    """Return CPU share, µs a point, lateness and memory of a running collector."""
    with collector(config) as (pid, beat):
        _wait_until_read(beat, config)
        time.sleep(settle_s)
        before, cpu_before, started = beat(), cpu_s(pid), time.monotonic()
        assert before is not None
        time.sleep(seconds)
        after, cpu_after = beat(), cpu_s(pid)
        assert after is not None
        elapsed_s = time.monotonic() - started
        points = after.samples - before.samples
        # The heartbeats are up to a second apart from the moments of the CPU times.
        span_s = (after.sent_at - before.sent_at).total_seconds()
        cpu_share = (cpu_after - cpu_before) / elapsed_s
        return {
            "points_per_s": points / span_s,
            "cpu_percent": 100 * cpu_share,
            "us_per_point": cpu_share / (points / span_s) * 1e6,
            "late_p50_ms": max(g.late_p50_ms or 0 for g in after.groups),
            "late_p99_ms": max(g.late_p99_ms or 0 for g in after.groups),
            "skipped": after.skipped_cycles - before.skipped_cycles,
            "rss_mb": after.rss_bytes / 1e6,
        }


def raw_pymodbus(ports: list[int], interval_s: float, seconds: float) -> None:
    """Poll like the collector, with pymodbus and its own conversion, and keep nothing."""
    points = 0
    late_ms: list[float] = []

    async def poll(port: int, first_s: float, until_s: float) -> None:
        nonlocal points
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        await client.connect()
        due_s = first_s
        while due_s < until_s:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            late_ms.append(1000 * (time.monotonic() - due_s))
            for start in range(0, _REGISTERS, _BLOCK):
                answer = await client.read_holding_registers(start, count=_BLOCK)
                for register in answer.registers:
                    client.convert_from_registers([register], client.DATATYPE.INT16)
                points += _BLOCK
            due_s += interval_s
        client.close()

    async def run() -> None:
        start_s = time.monotonic() + 1.0
        step_s = interval_s / len(ports)
        await asyncio.gather(
            *(poll(p, start_s + i * step_s, start_s + seconds) for i, p in enumerate(ports))
        )

    started, cpu_started = time.monotonic(), time.process_time()
    asyncio.run(run())
    cpu = time.process_time() - cpu_started
    elapsed_s = time.monotonic() - started - 1.0
    figures = {
        "points_per_s": points / elapsed_s,
        "cpu_percent": 100 * cpu / elapsed_s,
        "us_per_point": cpu / points * 1e6,
        "late_p50_ms": statistics.median(late_ms),
        "late_p99_ms": statistics.quantiles(late_ms, n=100)[98],
    }
    print(json.dumps(figures), flush=True)


def read_by_tag(port: int) -> None:
    """Read 1000 tags one by one, as gateways do that make a request for each."""
    client = ModbusTcpClient("127.0.0.1", port=port)
    client.connect()
    started = time.process_time()
    for n in range(_REGISTERS):
        answer = client.read_holding_registers(n, count=1)
        client.convert_from_registers(answer.registers, client.DATATYPE.INT16)
    print(json.dumps((time.process_time() - started) / _REGISTERS * 1e6), flush=True)
    client.close()


def show(name: str, figures: dict[str, float]) -> None:
    words = "  ".join(f"{key} {value:,.3f}" for key, value in figures.items())
    print(f"{name:34} {words}", flush=True)


def bench_decode() -> None:
    print("decode + clamp + deadband + spool, 1000 int16 registers, µs of CPU a point")
    cases: dict[str, dict[str, object]] = {
        "plain": {},
        "scaled": {"scale": 0.1, "offset": -40.0},
        "scaled, deadband, all move": {"scale": 0.1, "deadband": 0.05},
        "scaled, deadband, none moves": {"scale": 0.1, "deadband": 1e9},
        "scaled, deadband, clamp": {"scale": 0.1, "deadband": 0.5, "clamp": [-4000.0, 4000.0]},
    }
    for name, point in cases.items():
        print(f"  {name:32} {decode_path(**point):8.3f}", flush=True)


def bench_memory(seconds: float = 3.0) -> None:
    print("memory of one process, by devices and registers of each")
    for count, registers in ((1, 10), (1, 300), (1, _REGISTERS), (20, _REGISTERS)):
        with devices(count) as ports:
            figures = measure(document(ports, 1.0, registers, deadband=0.5), 0.0, seconds)
            show(f"collector, {count} x {registers}", {"rss_mb": figures["rss_mb"]})
    script = "import pymodbus.client; print(open('/proc/self/statm').read())"
    statm = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    rss_mb = int(statm.stdout.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    show("pymodbus, only imported", {"rss_mb": rss_mb})


def bench_site(count: int = 200, seconds: float = 15.0) -> None:
    print(f"{count} devices x {_REGISTERS} registers each second")
    with devices(count) as ports:
        show("collector", measure(document(ports, 1.0, deadband=0.5), _FORGET_START_S, seconds))
        with _process("raw", json.dumps(ports), "1.0", str(seconds)) as (_, line):
            show("pymodbus alone", json.loads(line))
        with _process("tag", str(ports[0])) as (_, line):
            show("a request for each tag", {"us_per_point": json.loads(line)})


def bench_limit(seconds: float = 8.0) -> None:
    print("as fast as one process can: 50 devices x 1000 registers each 20 ms")
    with devices(50) as ports:
        show("collector", measure(document(ports, 0.02), 3.0, seconds))
        with _process("raw", json.dumps(ports), "0.02", str(seconds)) as (_, line):
            show("pymodbus alone", json.loads(line))


def bench_dead(minutes: int = 3) -> None:
    """Run three collectors side by side, so that what else the machine does meets them alike."""
    print("50 devices x 1000 registers each second; one of them silent, or refusing, or none")
    with devices(50) as ports, _silent() as silent, contextlib.ExitStack() as running:
        dead_ports = {"all answer": ports[49], "one is silent": silent, "one refuses": 1}
        beats = {}
        for name, port in dead_ports.items():
            config = document([*ports[:49], port], 1.0)
            _, beats[name] = running.enter_context(collector(config))
            _wait_until_read(beats[name], config)
        time.sleep(_FORGET_START_S)
        late_ms: dict[str, list[float]] = {name: [] for name in beats}
        for minute in range(minutes):
            time.sleep(60.0 if minute else 0.0)
            for name, beat in beats.items():
                newest = beat()
                assert newest is not None
                late_ms[name].append(newest.groups[0].late_p99_ms or 0.0)
    usual_ms = late_ms["all answer"]
    for name, found in late_ms.items():
        ratio = statistics.median(late / usual for late, usual in zip(found, usual_ms, strict=True))
        figures = {
            "late_p99_ms": statistics.median(found),
            "change_percent": 100 * (ratio - 1),
        }
        show(name, figures | {f"minute {n}": late for n, late in enumerate(found, 1)})


@contextmanager
def _silent() -> Iterator[int]:
    with _process("silent") as (_, line):
        yield json.loads(line)


def stay_silent() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


def main(arguments: list[str]) -> None:
    match arguments:
        case ["serve", count]:
            serve(int(count))
        case ["silent"]:
            stay_silent()
        case ["raw", ports, interval_s, seconds]:
            raw_pymodbus(json.loads(ports), float(interval_s), float(seconds))
        case ["tag", port]:
            read_by_tag(int(port))
        case _:
            parts = {
                "decode": bench_decode,
                "memory": bench_memory,
                "site": bench_site,
                "limit": bench_limit,
                "dead": bench_dead,
            }
            for name in arguments or parts:
                parts[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
