"""The plant of the soak: simulated devices of three protocols, and a collector for each."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simulators.faults import FaultKind
from simulators.testing import RunningSimulator

_POINTS = 20
_SIMULATED = {
    "modbus_tcp": (
        '[[devices.units]]\n[[devices.units.signals]]\nname = "p{n}"\ntype = "int16"\n'
        'address = "holding:{n}"\nwave = {{ kind = "sine", mean = {n}, amplitude = 100, '
        "period_s = 60 }}\n"
    ),
    "mitsubishi_mc": (
        '[[devices.signals]]\nname = "p{n}"\ntype = "int16"\naddress = "D{n}"\n'
        'wave = {{ kind = "random_walk", start = {n}, step = 5, step_s = 1, low = 0, '
        "high = 1000 }}\n"
    ),
    "opcua": (
        '[[devices.signals]]\nname = "p{n}"\ntype = "float64"\naddress = "ns=2;s=P{n}"\n'
        'wave = {{ kind = "ramp", low = 0, high = {n}, period_s = 30 }}\n'
    ),
}
_POINT = {
    "modbus_tcp": 'type = "int16"\naddress = "holding:{n}"\n',
    "mitsubishi_mc": 'type = "int16"\naddress = "D{n}"\n',
    "opcua": 'node_id = "ns=2;s=P{n}"\n',
}
_FAULTS: dict[str, tuple[FaultKind, ...]] = {
    "modbus_tcp": ("silent", "refuse", "reset", "exception", "garbage", "delay", "wrong_id"),
    "mitsubishi_mc": ("silent", "refuse", "reset", "exception", "garbage", "delay", "truncate"),
    "opcua": ("silent", "session_loss", "bad_quality", "restart"),
}
"""Those that a device in a plant has, one after the other."""
_AT_ONCE = ("restart", "session_loss")
_OPTIONS: dict[str, dict[str, object]] = {"delay": {"delay_s": 0.5}, "restart": {"pause_s": 3.0}}
_OPCUA_SHARE, _MC_SHARE = 0.05, 0.25
"""asyncua's server takes most of a core for a few dozen devices, so there are few of them."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """One simulator and the collectors that read its devices, by device."""

    protocol: str
    simulator: RunningSimulator
    collectors: dict[str, str]

    def break_one(self, rng: random.Random, for_s: float) -> str:
        """Give one device one fault for ``for_s`` seconds; say which."""
        device, kind = rng.choice(sorted(self.collectors)), rng.choice(_FAULTS[self.protocol])
        options: dict[str, object] = {"for_s": for_s, **_OPTIONS.get(kind, {})}
        if kind in _AT_ONCE:
            del options["for_s"]
        self.simulator.fault(kind, device=device, **options)
        return f"{kind} {self.collectors[device]}"


def shares(collectors: int) -> dict[str, int]:
    """Return how many collectors each protocol gets, at least one."""
    opcua = max(1, round(collectors * _OPCUA_SHARE))
    mitsubishi = max(1, round(collectors * _MC_SHARE))
    modbus = max(1, collectors - opcua - mitsubishi)
    return {"modbus_tcp": modbus, "mitsubishi_mc": mitsubishi, "opcua": opcua}


@contextlib.contextmanager
def simulated_plant(home: Path, directory: Path, collectors: int) -> Iterator[list[Simulated]]:
    """Run the devices, and write a collector file for each into ``home``."""
    (home / "collectors.d").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        plants = []
        for protocol, count in shares(collectors).items():
            file = directory / f"{protocol}.toml"
            file.write_text(_simulator_file(protocol, count))
            simulator = stack.enter_context(RunningSimulator(file))
            names = {}
            for number, (device, port) in enumerate(sorted(simulator.ports.items())):
                names[device] = f"{protocol.split('_')[0]}-{number:03}"
                text = _collector_file(names[device], protocol, port)
                (home / "collectors.d" / f"{names[device]}.toml").write_text(text)
            plants.append(Simulated(protocol, simulator, names))
        yield plants


def _simulator_file(protocol: str, count: int) -> str:
    head = f'protocol = "{protocol}"\nhost = "127.0.0.1"\nseed = 1\n'
    device = f'[[devices]]\nid = "plc"\nport = 0\ncopies = {count}\n'
    first, *others = [_SIMULATED[protocol].format(n=number) for number in range(1, _POINTS + 1)]
    # One unit with all its signals, not a unit for each.
    return head + device + first + "".join(t.replace("[[devices.units]]\n", "") for t in others)


def _collector_file(name: str, protocol: str, port: int) -> str:
    where = (
        f'endpoint = "opc.tcp://127.0.0.1:{port}"'
        if protocol == "opcua"
        else f'host = "127.0.0.1"\nport = {port}'
    )
    points = "".join(
        f'[[devices.points]]\nname = "p{n}"\n{_POINT[protocol].format(n=n)}'
        for n in range(1, _POINTS + 1)
    )
    return f'name = "{name}"\nprotocol = "{protocol}"\n[[devices]]\nid = "plc"\n{where}\n{points}'
