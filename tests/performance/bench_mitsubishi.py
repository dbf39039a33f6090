"""Print what reading a Mitsubishi PLC costs, and how many values are wrong while it misbehaves.

Run with ``python tests/performance/bench_mitsubishi.py [read|random|faults|memory]``. Stock
pymcprotocol is measured in turn in the same run, and its user code is fair: it connects again
after each error. The device of ``read`` and ``random`` is a minimal server in a process of its
own; CPU is that of the client process, all threads together. ``faults`` uses the simulator, whose
words have known values.
"""

import asyncio
import contextlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pymcprotocol import Type3E

from collectors.contract.columns import Columns
from collectors.contract.config_mc import McDevice, McPoint
from collectors.contract.points import Quality
from collectors.mitsubishi_mc.driver import McDriver
from collectors.mitsubishi_mc.frames import Access, Coding, Device
from collectors.mitsubishi_mc.guard import GuardedType3E
from collectors.runtime.driver import ConnectionLost, Traffic
from collectors.runtime.testing import RunningCollector
from simulators.testing import RunningSimulator

_WORDS = 960
_PLACES = 192
_ROUNDS = 7
_CALLS = 300
_CONTENT = struct.pack(f"<{_WORDS}H", *(n * 37 % 65536 for n in range(_WORDS)))
_FIRST = Device("D", 0)


# --- the device -------------------------------------------------------------------------------


class _Plc(asyncio.Protocol):
    """Answers every batch and random read in binary 3E frames with the same words."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        is_random = data[11:13] == b"\x03\x04"
        count = data[15] + 2 * data[16] if is_random else int.from_bytes(data[19:21], "little")
        length = struct.pack("<HH", 2 + 2 * count, 0)
        self.transport.write(b"\xd0\x00" + data[2:7] + length + _CONTENT[: 2 * count])  # type: ignore[attr-defined] # a transport


def serve() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Plc, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def device_port() -> Iterator[int]:
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


# --- what a read costs ------------------------------------------------------------------------


def bench_read() -> None:
    print(f"{_WORDS} words a read (0401), medians of {_ROUNDS} rounds of {_CALLS} reads")
    raw = tuple(
        McPoint(name=half, address=half, type="string", length=480) for half in ("D0", "D480")
    )
    decoded = tuple(McPoint(name=f"D{n}", address=f"D{n}") for n in range(_WORDS))
    with device_port() as port:
        stock = Type3E()
        stock.connect("127.0.0.1", port)
        guarded = GuardedType3E(Access(coding=Coding("Q", "binary"), timeout_s=5.0))
        guarded.connect("127.0.0.1", port)
        calls: dict[str, Callable[[], object]] = {
            "stock pymcprotocol": lambda: stock.batchread_wordunits("D0", _WORDS),
            "guarded, same thread": lambda: guarded.read_words(_FIRST, _WORDS),
        }
        costs: dict[str, list[tuple[float, float]]] = {}
        for _ in range(_ROUNDS):
            for name, call in calls.items():
                costs.setdefault(name, []).append(_cost(partial(_repeat, call)))
            for name, points in (("worker thread, two texts", raw), ("the same, points", decoded)):
                costs.setdefault(name, []).append(_driver_cost(port, points))
        stock.close()
        guarded.close()
    _print_costs(costs, _WORDS)


def _print_costs(costs: dict[str, list[tuple[float, float]]], words: int) -> None:
    for name, rounds in costs.items():
        cpu_us = statistics.median(cpu_s for _, cpu_s in rounds) / _CALLS * 1e6
        wall_us = statistics.median(wall_s for wall_s, _ in rounds) / _CALLS * 1e6
        print(
            f"{name:28}{cpu_us:8.1f} us CPU/read{wall_us:9.1f} us"
            f"{words / wall_us:8.2f} M words/s{cpu_us / words * 1000:8.1f} ns CPU/word"
        )


def bench_random() -> None:
    print(f"{_PLACES} lone words a read (0403), medians of {_ROUNDS} rounds of {_CALLS} reads")
    names = [f"D{100 * n}" for n in range(_PLACES)]
    devices = [Device("D", 100 * n) for n in range(_PLACES)]
    with device_port() as port:
        stock = Type3E()
        stock.connect("127.0.0.1", port)
        guarded = GuardedType3E(Access(coding=Coding("Q", "binary"), timeout_s=5.0))
        guarded.connect("127.0.0.1", port)
        calls: dict[str, Callable[[], object]] = {
            "stock pymcprotocol": lambda: stock.randomread(names, []),
            "guarded, same thread": lambda: guarded.read_random(devices, []),
        }
        costs: dict[str, list[tuple[float, float]]] = {}
        for _ in range(_ROUNDS):
            for name, call in calls.items():
                costs.setdefault(name, []).append(_cost(partial(_repeat, call)))
            points = tuple(McPoint(name=name, address=name) for name in names)
            costs.setdefault("worker thread, points", []).append(_driver_cost(port, points))
        stock.close()
        guarded.close()
    _print_costs(costs, _PLACES)


def _driver_cost(port: int, points: tuple[McPoint, ...]) -> tuple[float, float]:
    """Return wall and CPU seconds of reading the points through the driver."""
    device = McDevice(id="plc", host="127.0.0.1", port=port, timeout_s=5.0, points=points)

    async def run() -> tuple[float, float]:
        driver = McDriver(device, Traffic(), lambda _lost: None)
        await driver.connect()
        await driver.read("default")
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for _ in range(_CALLS):
            await driver.read("default")
        cost = time.perf_counter() - wall_s, time.process_time() - cpu_s
        await driver.close()
        return cost

    return asyncio.run(run())


def _repeat(call: Callable[[], object]) -> None:
    for _ in range(_CALLS):
        call()


def _cost(work: Callable[[], object]) -> tuple[float, float]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


# --- wrong values -----------------------------------------------------------------------------

_BLOCK = 100
_READS = 600
_FAULTS: dict[str, dict[str, object]] = {
    "silent": {"every": 30},
    "delay": {"every": 30, "delay_s": 0.12},
    "split": {"every": 5, "chunk_bytes": 64},
    "duplicate": {"every": 3},
    "close_before": {"every": 3},
    "close_after": {"every": 3},
    "reset": {"every": 3},
    "truncate": {"every": 30},
    "garbage": {"every": 3},
    "short": {"every": 3},
    "bad_length": {"every": 30},
    "wrong_unit": {"every": 3},
    "exception": {"every": 3, "code": 0x4A00},
}


def bench_faults() -> None:
    print(f"{len(_FAULTS)} faults, {_READS} reads of 2 x {_BLOCK} words under each")
    print(f"{'fault':14}{'':4}{'right':>8}{'error':>8}{'WRONG':>8}      stock:{'right':>8}"
          f"{'error':>8}{'WRONG':>8}")  # fmt: skip
    totals = [[0, 0, 0], [0, 0, 0]]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "sim.toml"
        signals = ",\n".join(
            f'{{name = "D{n}", type = "int16", address = "D{n}", '
            f'wave = {{kind = "constant", value = {n + 1}}}}}'
            for n in (*range(_BLOCK), *range(1000, 1000 + _BLOCK))
        )
        file.write_text(
            f'protocol = "mitsubishi_mc"\n[[devices]]\nid = "plc"\nsignals = [\n{signals}\n]\n'
        )
        with RunningSimulator(file) as simulator:
            for kind, options in _FAULTS.items():
                simulator.fault(kind, **options)  # type: ignore[arg-type] # a fault's name
                ours = asyncio.run(_ours(simulator.port))
                theirs = _stock(simulator.port)
                simulator.clear()
                for total, counts in zip(totals, (ours, theirs), strict=True):
                    for index, count in enumerate(counts):
                        total[index] += count
                _print_counts(kind, ours, theirs)
    _print_counts("all", *totals)


def _print_counts(name: str, ours: list[int], theirs: list[int]) -> None:
    left, right = ("".join(f"{count:8}" for count in counts) for counts in (ours, theirs))
    print(f"{name:18}{left}            {right}")


async def _ours(port: int) -> list[int]:
    """Return how many reads were right, an error, and wrong."""
    points = tuple(
        McPoint(name=f"D{n}", address=f"D{n}")
        for n in (*range(_BLOCK), *range(1000, 1000 + _BLOCK))
    )
    device = McDevice(id="plc", host="127.0.0.1", port=port, timeout_s=0.1, points=points)
    driver = McDriver(device, Traffic(), lambda _lost: None)
    counts = [0, 0, 0]
    is_connected = False
    for _ in range(_READS):
        try:
            if not is_connected:
                await driver.connect()
                is_connected = True
            columns = await driver.read("default")
        except ConnectionLost:
            await driver.close()
            is_connected = False
            counts[1] += 1
        else:
            counts[_verdict(columns)] += 1
    await driver.close()
    return counts


def _verdict(columns: Columns) -> int:
    for point, value, quality in zip(
        columns.points, columns.values, columns.qualities, strict=True
    ):
        if quality == Quality.GOOD and value != int(point.removeprefix("plc/D")) + 1:
            return 2
    return 1 if any(columns.qualities) else 0


def _stock(port: int) -> list[int]:
    counts = [0, 0, 0]
    plc: Type3E | None = None
    for _ in range(_READS):
        try:
            if plc is None:
                plc = Type3E()
                plc.soc_timeout = 0.1
                plc.connect("127.0.0.1", port)
            words = [
                *plc.batchread_wordunits("D0", _BLOCK),
                *plc.batchread_wordunits("D1000", _BLOCK),
            ]
        except Exception:  # noqa: BLE001 - the library raises bare Exception
            counts[1] += 1
            if plc is not None:
                with contextlib.suppress(Exception):
                    plc.close()
            plc = None
        else:
            expected = [n + 1 for n in (*range(_BLOCK), *range(1000, 1000 + _BLOCK))]
            counts[0 if words == expected else 2] += 1
    return counts


# --- memory -----------------------------------------------------------------------------------


def bench_memory() -> None:
    with device_port() as port, tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        file = home / "line1.toml"
        points = ",\n".join(f'{{name = "p{n}", address = "D{n}"}}' for n in range(_WORDS))
        file.write_text(
            'name = "line1"\nprotocol = "mitsubishi_mc"\n[[devices]]\nid = "plc"\n'
            f'host = "127.0.0.1"\nport = {port}\npoints = [\n{points}\n]\n'
        )
        with RunningCollector(file, home) as collector:
            beat = collector.beat_with(lambda beat: beat.samples > 10 * _WORDS, 60)
            print(f"collector with {_WORDS} points each second: {beat.rss_bytes / 1e6:.1f} MB")
            collector.stop()


def main() -> None:
    benches = {
        "read": bench_read,
        "random": bench_random,
        "faults": bench_faults,
        "memory": bench_memory,
    }
    chosen = sys.argv[1:] or list(benches)
    if chosen == ["serve"]:
        serve()
        return
    for name in chosen:
        benches[name]()
        print()


if __name__ == "__main__":
    main()
