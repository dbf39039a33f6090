"""Sets up the demonstration: three simulators and the three collectors that read them."""

import socket
from pathlib import Path

from control_plane.supervisor.program_files import write_atomically

DEMO_FILES = Path(__file__).resolve().parents[1] / "simulators" / "demo"
_SIMULATOR_PORTS = {"sim-modbus": 15020, "sim-opcua": 48400, "sim-mitsubishi": 15007}
"""The ports that the demo's files name; another is chosen where one is taken."""


def set_up_demo(home: Path) -> bool:
    """Write the demo's files into an installation that has no collector yet.

    Returns whether anything was written. Ports that are in use are replaced by free ones, so that
    several demos run side by side.

    Raises:
        OSError: DAQ_HOME cannot be written.
    """
    collectors, simulators = home / "collectors.d", home / "simulators.d"
    if simulators.exists() or any(collectors.glob("*.toml")):
        return False
    simulators.mkdir(mode=0o750)
    ports = _choose_ports()
    for path in sorted(DEMO_FILES.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        for name, port in _SIMULATOR_PORTS.items():
            text = text.replace(str(port), str(ports[name]))
        target = simulators if path.stem.startswith("sim-") else collectors
        write_atomically(target / path.name, text)
    return True


def simulators_of(home: Path) -> list[str]:
    """Return the names of this installation's simulators; none without a demo."""
    return sorted(path.stem for path in (home / "simulators.d").glob("sim-*.toml"))


def _choose_ports() -> dict[str, int]:
    chosen: dict[str, int] = {}
    held: list[socket.socket] = []
    try:
        for name, wanted in _SIMULATOR_PORTS.items():
            # Held until all are chosen, so that no two get the same.
            taken = _bind(wanted) or _bind(0)
            if taken is None:
                raise OSError("no free TCP port on 127.0.0.1")
            held.append(taken)
            chosen[name] = taken.getsockname()[1]
    finally:
        for taken in held:
            taken.close()
    return chosen


def _bind(port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        return None
    return listener
