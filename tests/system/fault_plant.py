"""An installation to be hurt: a collector for each fault, all parts real, time-outs scaled down."""

import contextlib
import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from engines import VictoriaMetrics, find_engine
from installation import Installation, free_port, is_delivering, wait_for
from notice_servers import Posts, http_server

from simulators.testing import RunningSimulator

HERE = Path(__file__).parent
SCALE = 10
"""Time-outs are a tenth of the built-in ones, and heartbeats a sixth: they come each second."""
HEALTH = """
[health]
check_interval = 4
connection_timeout = 6
data_timeout = 12
startup_grace = 20
heartbeat_warning = 3
heartbeat_timeout = 5
memory_threshold = 160
cpu_threshold = 12
[recovery]
settle_s = 2
reset_base_s = 1
fleet_restarts_per_minute = 20
common_cause_least = 50
"""
RULES = """
[alerts]
gateway_collectors = 50
window_s = 5
[rule.process_state]
threshold = 6
clear_s = 1
[rule.blind]
for_s = 9
[rule.connection]
clear_s = 1
[rule.data_flow]
for_s = 1.5
clear_s = 1
[rule.cpu]
for_s = 9
clear_s = 3
[rule.memory]
for_s = 9
clear_s = 3
[rule.log_errors]
for_s = 6
clear_s = 3
[rule.request_errors]
for_s = 6
clear_s = 3
[rule.recovery]
for_s = 1
[rule.configuration]
for_s = 2
clear_s = 1
[rule.node]
for_s = 1
clear_s = 1
[rule.store_down]
for_s = 3
clear_s = 1
[rule.store_lag]
for_s = 6
clear_s = 3
threshold = 30
[rule.historian]
for_s = 3
[rule.disk]
for_s = 1
clear_s = 1
[[override]]
rule = "slow_look"
subject = "*"
enabled = false
"""
CHANNEL = """
[[channel]]
name = "hook"
kind = "webhook"
url = "{url}"
min_severity = "advisory"
group_s = 0
"""
_UNIT = """
[[devices]]
id = "{name}"
port = 0
[[devices.units]]
unit_id = 1
[[devices.units.signals]]
name = "level"
address = "holding:0"
type = "uint16"
wave = {{ kind = "counter", start = 0, step = 1, step_s = 0.2 }}
"""
COLLECTOR = """
name = "{name}"
protocol = "modbus_tcp"
[[devices]]
id = "plc"
host = "127.0.0.1"
port = {port}
groups = [{{ id = "default", interval_s = 0.5 }}]
[[devices.points]]
name = "level"
address = "holding:0"
"""


class Timed(list[bytes]):
    """Bodies with the moment of each."""

    def __init__(self) -> None:
        super().__init__()
        self.at_mono: list[float] = []

    def append(self, body: bytes) -> None:
        self.at_mono.append(time.monotonic())
        super().append(body)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One notice that the webhook got; a repeated delivery counts once."""

    kind: str
    rule: str
    subject: str
    at_mono: float
    alert: dict[str, Any]


@dataclass
class HurtInstallation(Installation):
    """One whose processes preload and import what hurts them."""

    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.extra


class ClockShim:
    """Sets the wall clock of every process that was started with :attr:`environment`."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "clock"
        self.file.write_bytes(bytes(64 * 16))
        self.library = directory / "clock_shim.so"
        self._steps: list[tuple[float, float]] = []
        command = ["cc", "-O2", "-shared", "-fPIC", HERE / "clock_shim.c", "-ldl"]
        subprocess.run([*command, "-o", self.library], check=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "CLOCK_SHIM": str(self.file)}

    def set_ahead(self, seconds: float) -> None:
        """Let the clock be so far ahead of the real one from now on."""
        self._steps.append((time.time(), seconds))
        packed = b"".join(struct.pack("dd", *step) for step in self._steps)
        with self.file.open("r+b") as file:
            file.write(packed)


class SmallDisk:
    """A disk that can be made full: a file system in memory, which is made smaller."""

    _BYTES: Final = 3_000_000_000
    """More than the gigabyte that is little; what is not written takes no memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def is_possible(cls) -> bool:
        """Tell whether we may mount; root in a container often may not."""
        with tempfile.TemporaryDirectory() as directory:
            try:
                with cls(Path(directory) / "disk"):
                    return True
            except (subprocess.CalledProcessError, FileNotFoundError):
                return False

    def __enter__(self) -> Self:
        self._directory.mkdir()
        self._mount(["-t", "tmpfs"], self._BYTES, "mode=700")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self._directory], check=True, timeout=20)

    def fill(self) -> None:
        """Leave room for nothing."""
        used = shutil.disk_usage(self._directory).used
        self._mount([], used, "remount")

    def free(self) -> None:
        self._mount([], self._BYTES, "remount")

    def _mount(self, arguments: list[str], size_bytes: int, option: str) -> None:
        options = ["-o", f"size={size_bytes},{option}"]
        command = ["mount", *arguments, *options, "tmpfs", str(self._directory)]
        subprocess.run(command, check=True, timeout=20, capture_output=True)


@dataclass
class FaultPlant:
    """The installation and all that it depends on."""

    site: HurtInstallation
    simulator: RunningSimulator
    posts: Posts
    store: VictoriaMetrics | None = None
    clock: ClockShim | None = None
    disk: SmallDisk | None = None

    def told(self) -> list[Told]:
        """Return everything that people were told, oldest first."""
        bodies = self.posts.bodies
        assert isinstance(bodies, Timed)
        found: dict[str, Told] = {}
        for body, at_mono in zip(list(bodies), list(bodies.at_mono), strict=False):
            for notice in json.loads(body)["notices"]:
                alert = notice["alert"]
                told = Told(
                    kind=notice["kind"],
                    rule=alert["rule"],
                    subject=alert["subject"]["name"],
                    at_mono=at_mono,
                    alert=alert,
                )
                found.setdefault(notice["event"], told)
        return list(found.values())

    def ask(self, path: str, key: str) -> Any:
        """Return a part of the API's answer; ``None`` while it does not answer."""
        try:
            return self.site.request(path).get(key)
        except (OSError, ValueError):
            return None

    def pid(self, name: str) -> int | None:
        pid: int | None = self.site.process(name)["pid"]
        return pid

    def service_pid(self, name: str) -> int:
        """Return the process of one of our own programs."""
        services = wait_for(lambda: self.ask("/api/v1/system", "services"), "the services")
        return int(next(s["pid"] for s in services if s["name"] == name))

    def decisions(self) -> list[dict[str, Any]]:
        """Return recovery's newest decisions, oldest first."""
        found = self.ask("/api/v1/recovery/decisions?limit=500", "decisions") or []
        return list(reversed(found))

    def file(self, name: str) -> Path:
        return self.site.home / "collectors.d" / f"{name}.toml"

    def calm_down(self, names: Sequence[str], deadline_s: float = 40.0) -> None:
        """Wait until every collector delivers and nothing is open or about to be."""
        for name in names:
            self.site.wait_until(name, is_delivering, "delivers", deadline_s)
        wait_for(self._is_calm, "no alert is open", deadline_s)

    def _is_calm(self) -> bool:
        answer = self.ask("/api/v1/alerts", "alerts")
        return answer == []


@contextlib.contextmanager
def fault_plant(
    names: Sequence[str], *, clock: bool = False, store: bool = False, disk: bool = False
) -> Iterator[FaultPlant]:
    """Run an installation with a collector and a simulated device for each name.

    Args:
        clock: Its wall clock can be set; needs a C compiler.
        store: It stores into a VictoriaMetrics, too.
        disk: It has a disk of its own; needs root.
    """
    with contextlib.ExitStack() as stack:
        # Short, because a unix socket's path holds 107 bytes at most.
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daq-f-")))
        posts = stack.enter_context(http_server(Posts(bodies=Timed())))
        simulated = 'protocol = "modbus_tcp"\nhost = "127.0.0.1"\n'
        (root / "sim.toml").write_text(simulated + "".join(_UNIT.format(name=n) for n in names))
        simulator = stack.enter_context(RunningSimulator(root / "sim.toml"))
        shim = ClockShim(root) if clock else None
        path = os.pathsep.join([str(HERE / "injected"), os.environ.get("PYTHONPATH", "")])
        extra = {"PYTHONPATH": path} | (shim.environment if shim else {})
        engine = None
        if store and find_engine("victoria-metrics"):
            engine = VictoriaMetrics(root / "vm")
            engine.start()
            stack.callback(engine.kill)
            extra["DAQ_STORES"] = f"embedded: vm+{engine.url}"
        home = root / "home"
        small = stack.enter_context(SmallDisk(home)) if disk else None
        set_up_home(home, {name: simulator.ports[name] for name in names}, posts.url)
        site = HurtInstallation(home, free_port(), extra=extra)
        stack.callback(site.stop)
        site.start()
        yield FaultPlant(site, simulator, posts, engine, shim, small)


def set_up_home(home: Path, ports: dict[str, int], hook_url: str) -> None:
    """Write the files of an installation with these collectors."""
    (home / "collectors.d").mkdir(parents=True, exist_ok=True)
    for name, port in ports.items():
        text = COLLECTOR.format(name=name, port=port)
        (home / "collectors.d" / f"{name}.toml").write_text(text)
    (home / "health.toml").write_text(HEALTH)
    (home / "alerts.toml").write_text(RULES)
    (home / "channels.toml").write_text(CHANNEL.format(url=hook_url))


def kill(pid: int | None, number: int) -> None:
    assert pid is not None
    os.kill(pid, number)
