"""The plants of the fault matrix: for each protocol devices, their signals and their faults."""

from dataclasses import dataclass

LATE_S = 0.3
"""Longer than an eager collector waits: the answer to one request comes when the next is asked."""
LATER_S = 1.3
"""The same for a collector with the usual patience."""

_FAULTS = {
    "refuse": ("refuse", {}),
    "full": ("max_connections", {"connections": 0}),
    "silent": ("silent", {}),
    "drop": ("drop", {"every": 3}),
    "late": ("delay", {"delay_s": LATE_S}),
    "late-sometimes": ("delay", {"delay_s": LATE_S, "every": 3}),
    "jitter": ("delay", {"delay_s": 0.05, "jitter_s": 0.4}),
    "bytes": ("split", {"chunk_bytes": 1, "pause_s": 0.0005}),
    "pieces": ("split", {"chunk_bytes": 61, "pause_s": 0.02}),
    "close": ("close_before", {"every": 2}),
    "close-after": ("close_after", {}),
    "reset": ("reset", {"every": 3}),
    "truncate": ("truncate", {"every": 2}),
    "garbage": ("garbage", {"every": 2}),
    "exception": ("exception", {"every": 2}),
    "freeze": ("freeze", {}),
    "nan": ("nan", {}),
}
_FRAMED = {
    "duplicate": ("duplicate", {"every": 2}),
    "short": ("short", {"every": 2}),
    "bad-length": ("bad_length", {"every": 2}),
    "wrong-id": ("wrong_id", {"every": 2}),
    "wrong-unit": ("wrong_unit", {"every": 2}),
}
FAULTS = {
    "modbus_tcp": _FAULTS | _FRAMED | {"wrong-function": ("wrong_function", {"every": 2})},
    "mitsubishi_mc": _FAULTS | _FRAMED,
    "opcua": _FAULTS
    | {
        # Answers are many times as long, and a session takes a dozen of them.
        "jitter": ("delay", {"delay_s": 0.02, "jitter_s": 0.3}),
        "bytes": ("split", {"chunk_bytes": 150, "pause_s": 0.0005}),
        "pieces": ("split", {"chunk_bytes": 1460, "pause_s": 0.02}),
        "bad-quality": ("bad_quality", {}),
        "stuck": ("stuck_time", {}),
        "session": ("session_loss", {}),
        "restart": ("restart", {"pause_s": 0.2}),
    },
}
"""Kind and options of each fault that a device of a protocol can have."""
NO_ANSWER = frozenset({"refuse", "full", "silent"})
"""Faults under which nothing at all is read, so that every point must be told to be bad."""

_NUMBERS = ("int64", "float64", "uint32", "float32")
_WORDS = {"int64": 4, "float64": 4, "uint32": 2, "float32": 2}


@dataclass(frozen=True)
class Variant:
    """How some of the devices are simulated and read.

    Attributes:
        points: Of each device.
        eager: Ask again soon and wait little, so that a fault meets many reads; otherwise with the
            defaults, so that the time until values come again is a user's.
    """

    simulator: str = ""
    collector: str = ""
    points: int = 120
    eager: bool = True

    @property
    def timeout_s(self):
        return 0.25 if self.eager else 1.0

    def options_of(self, options):
        """Return a fault's options, with a delay that is longer than this collector waits."""
        if self.eager or options.get("delay_s") != LATE_S:
            return options
        return options | {"delay_s": LATER_S}


@dataclass(frozen=True)
class Device:
    """A simulated device and the names of its faults, one in each round."""

    faults: list
    variant: Variant

    def fault_in(self, round_number):
        return self.faults[round_number % len(self.faults)]


@dataclass(frozen=True)
class Plant:
    """All devices of one protocol, by id.

    Attributes:
        calm_s: After each round all devices are read for so long.
    """

    protocol: str
    devices: dict
    rounds: int
    fault_s: float
    calm_s: float
    interval_s: float
    resumes_within_s: float

    def faults_in(self, round_number):
        """Yield each device's id with kind and options of its fault."""
        for name, device in self.devices.items():
            kind, options = FAULTS[self.protocol][device.fault_in(round_number)]
            yield name, kind, device.variant.options_of(options)


def signals(protocol, count):
    """Return name, type, address and wave of each signal, which never shows a value twice."""
    found, at = [], 100
    for number in range(count):
        kind = _NUMBERS[number % 4]
        # A float32 is exact up to 2**24, the 16,000 s of a counter of milliseconds.
        start = number * (100_000 if kind == "float32" else 30_000_000)
        wave = f'{{kind = "counter", start = {start}, step_s = 0.001}}'
        address = {"modbus_tcp": f"holding:{at}", "mitsubishi_mc": f"D{at}"}.get(protocol)
        found.append((f"s{number}", kind, address or f"ns=2;s=S{number}", wave))
        # A gap in the middle makes the collector ask twice.
        at += _WORDS[kind] + (400 if number == count // 2 else 0)
    return found


def _a_device_each(protocol, variants):
    return {
        f"{fault}-{name}": Device([fault], variant)
        for name, variant in variants.items()
        for fault in FAULTS[protocol]
    }


def _a_few_devices(protocol, variants, count):
    """Return ``count`` devices for each variant that share the faults among them."""
    return {
        f"{name}{number}": Device(list(FAULTS[protocol])[number::count], variant)
        for name, variant in variants.items()
        for number in range(count)
    }


_RTU = 'framing = "rtu_over_tcp"'
_3E = 'frame = "3e"'
_ASCII_4E = 'frame = "4e"\ncode = "ascii"'
_UPDATE = "update_s = 1.0"
_OPCUA_SERVERS = 3
"""Of each variant; a server takes a second to start."""
PLANTS = {
    "modbus_tcp": Plant(
        "modbus_tcp",
        _a_device_each(
            "modbus_tcp",
            {
                "tcp": Variant(),
                "rtu": Variant(_RTU, _RTU),
                "usual": Variant(points=40, eager=False),
            },
        ),
        rounds=3,
        fault_s=6.5,
        calm_s=2.0,
        interval_s=0.25,
        resumes_within_s=2.0,
    ),
    "mitsubishi_mc": Plant(
        "mitsubishi_mc",
        _a_device_each(
            "mitsubishi_mc",
            {
                "3e": Variant(_3E, _3E),
                "4e": Variant(_ASCII_4E, _ASCII_4E),
                "usual": Variant(_3E, _3E, points=40, eager=False),
            },
        ),
        rounds=3,
        fault_s=6.5,
        calm_s=2.0,
        interval_s=0.25,
        resumes_within_s=2.0,
    ),
    "opcua": Plant(
        "opcua",
        _a_few_devices(
            "opcua",
            {
                "poll": Variant(_UPDATE, 'mode = "poll"', points=300),
                "subscribe": Variant(_UPDATE, 'mode = "subscribe"', points=300),
                "usual": Variant(_UPDATE, 'mode = "subscribe"', points=40, eager=False),
            },
            _OPCUA_SERVERS,
        ),
        rounds=-(-len(FAULTS["opcua"]) // _OPCUA_SERVERS),
        fault_s=7.5,
        calm_s=3.0,
        interval_s=0.25,
        resumes_within_s=5.0,
    ),
}


def simulator_file(plant):
    lines = [f'protocol = "{plant.protocol}"', "seed = 11"]
    for name, device in plant.devices.items():
        lines += ["[[devices]]", f'id = "{name}"', device.variant.simulator]
        if plant.protocol == "modbus_tcp":
            lines.append("[[devices.units]]")
        listed = ",\n".join(
            f'{{name = "{signal}", type = "{kind}", address = "{address}", wave = {wave}}}'
            for signal, kind, address, wave in signals(plant.protocol, device.variant.points)
        )
        lines.append(f"signals = [\n{listed}\n]")
    return "\n".join(lines) + "\n"


def collector_file(plant, ports):
    lines = ['name = "line1"', f'protocol = "{plant.protocol}"']
    for name, device in plant.devices.items():
        variant = device.variant
        place = f'host = "127.0.0.1"\nport = {ports[name]}'
        if plant.protocol == "opcua":
            place = f'endpoint = "opc.tcp://127.0.0.1:{ports[name]}"'
        lines += ["[[devices]]", f'id = "{name}"', place, variant.collector]
        lines.append(f"timeout_s = {variant.timeout_s}")
        if variant.eager:
            lines.append("retry = {base_s = 0.05, max_s = 0.1}")
        lines.append(f"groups = [{{interval_s = {plant.interval_s}}}]")
        points = ",\n".join(
            f'{{name = "{point}", node_id = "{address}"}}'
            if plant.protocol == "opcua"
            else f'{{name = "{point}", type = "{kind}", address = "{address}"}}'
            for point, kind, address, _ in signals(plant.protocol, variant.points)
        )
        lines.append(f"points = [\n{points}\n]")
    return "\n".join(lines) + "\n"
