"""An installation to be hurt: a collector for each fault, all parts real, time-outs scaled down."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines import VictoriaMetrics, find_engine
from fault_files import UNIT, set_up_home
from fault_gear import HERE, ClockShim, FarNode, SmallDisk
from installation import Installation, free_port, is_delivering, wait_for
from notice_servers import Posts, http_server

from simulators.testing import RunningSimulator


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


@dataclass
class FaultPlant:
    """The installation and all that it depends on."""

    site: HurtInstallation
    simulator: RunningSimulator
    posts: Posts
    store: VictoriaMetrics | None = None
    clock: ClockShim | None = None
    disk: SmallDisk | None = None
    far: FarNode | None = None

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
    names: Sequence[str],
    *,
    clock: bool = False,
    store: bool = False,
    disk: bool = False,
    far: bool = False,
) -> Iterator[FaultPlant]:
    """Run an installation with a collector and a simulated device for each name.

    Args:
        clock: Its wall clock can be set; needs a C compiler.
        store: It stores into a VictoriaMetrics, too.
        disk: It has a disk of its own; needs root.
        far: It drives a supervisord of another machine, too.
    """
    with contextlib.ExitStack() as stack:
        # Short, because a unix socket's path holds 107 bytes at most.
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daq-f-")))
        posts = stack.enter_context(http_server(Posts(bodies=Timed())))
        simulated = 'protocol = "modbus_tcp"\nhost = "127.0.0.1"\n'
        (root / "sim.toml").write_text(simulated + "".join(UNIT.format(name=n) for n in names))
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
        node = None
        if far:
            node = stack.enter_context(FarNode(root, simulator.ports[names[0]]))
            node.join(home)
        site = HurtInstallation(home, free_port(), extra=extra)
        stack.callback(site.stop)
        site.start()
        yield FaultPlant(site, simulator, posts, engine, shim, small, node)


def kill(pid: int | None, number: int) -> None:
    assert pid is not None
    os.kill(pid, number)
