"""One fault of a real installation, one alert and one end; told by webhook, counted there."""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, free_port, is_delivering, wait_for
from notice_servers import Posts, http_server
from small_plant import SIMULATOR, collector_home

from simulators.testing import RunningSimulator

pytestmark = [pytest.mark.supervisord, pytest.mark.timeout(240)]

HEALTH = """
[health]
connection_timeout = 8
data_timeout = 8
heartbeat_warning = 2
heartbeat_timeout = 4
startup_grace = 15
[recovery]
settle_s = 2
"""
RULES = """
[rule.process_state]
threshold = 3
clear_s = 1
[rule.connection]
clear_s = 1
[rule.data_flow]
enabled = false
[rule.disk]
enabled = false
[rule.slow_look]
clear_s = 1
"""
CHANNELS = """
[[channel]]
name = "hook"
kind = "webhook"
url = "{url}"
min_severity = "advisory"
group_s = 0
"""


@dataclass
class Plant:
    site: Installation
    posts: Posts
    simulator: RunningSimulator

    def told(self) -> dict[str, list[str]]:
        """Return what was told of each rule since :meth:`begin`, a repeated notice once."""
        kinds: dict[str, list[str]] = {}
        seen: set[str] = set()
        for body in list(self.posts.bodies):
            for notice in json.loads(body)["notices"]:
                if notice["event"] not in seen:
                    seen.add(notice["event"])
                    kinds.setdefault(notice["alert"]["rule"], []).append(notice["kind"])
        return kinds

    def expect(self, rule: str, *kinds: str) -> None:
        """Wait until exactly these were told."""
        wait_for(lambda: self.told().get(rule) == list(kinds), f"{kinds} of {rule}", 40)

    def others(self, rule: str) -> set[str]:
        return set(self.told()) - {rule}

    def open_alerts(self) -> list[dict[str, Any]]:
        try:
            alerts: list[dict[str, Any]] = self.site.request("/api/v1/alerts")["alerts"]
        except (OSError, KeyError):
            return []
        return alerts

    def begin(self) -> None:
        """Begin anew, with everything well and every alert over."""
        self.site.wait_until("press", is_delivering, "delivers", 30)
        wait_for(lambda: not self.open_alerts(), "no open alert", 40)
        self.posts.bodies.clear()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    root = tmp_path_factory.mktemp("plant")
    (root / "sim.toml").write_text(SIMULATOR)
    with (
        http_server(Posts()) as posts,
        RunningSimulator(root / "sim.toml") as simulator,
        tempfile.TemporaryDirectory(prefix="daq-") as short,
    ):
        home = collector_home(Path(short) / "home", "press", simulator.port)
        (home / "health.toml").write_text(HEALTH)
        (home / "alerts.toml").write_text(RULES)
        (home / "channels.toml").write_text(CHANNELS.format(url=posts.url))
        site = Installation(home, free_port())
        try:
            site.start()
            site.wait_until("press", is_delivering, "delivers", 30)
            yield Plant(site, posts, simulator)
        finally:
            site.stop()


def test_a_killed_collector_is_one_alert_and_one_end(plant: Plant) -> None:
    plant.begin()
    os.kill(plant.site.process("press")["pid"], signal.SIGKILL)
    plant.expect("process_state", "fired", "resolved")
    assert plant.others("process_state") == set()
    (newest,) = plant.site.request("/api/v1/alerts?state=all&subject=press&limit=1")["alerts"]
    assert newest["ending"] == "back to normal"


def test_a_frozen_collector_is_one_alert_and_one_end(plant: Plant) -> None:
    plant.begin()
    os.kill(plant.site.process("press")["pid"], signal.SIGSTOP)
    plant.expect("process_state", "fired", "resolved")
    assert plant.others("process_state") == set()


def test_a_dead_device_is_one_alert_also_across_a_crash_of_the_control_plane(plant: Plant) -> None:
    plant.begin()
    pid = plant.site.process("press")["pid"]
    os.kill(plant.simulator.pid, signal.SIGSTOP)
    try:
        plant.expect("connection", "fired")
        (alert,) = plant.open_alerts()
        services = plant.site.request("/api/v1/system")["services"]
        os.kill(next(s["pid"] for s in services if s["name"] == "control-plane"), signal.SIGKILL)
        wait_for(lambda: [a["id"] for a in plant.open_alerts()] == [alert["id"]], "it again", 30)
    finally:
        os.kill(plant.simulator.pid, signal.SIGCONT)
    plant.expect("connection", "fired", "resolved")
    assert plant.others("connection") == set()
    # A dead device restarts nobody.
    assert plant.site.process("press")["pid"] == pid


def test_an_operators_stop_is_no_fault(plant: Plant) -> None:
    plant.begin()
    assert plant.site.request("/api/v1/processes/press/stop", "POST")["outcome"] == "done"
    # Another alert tells when the stopped collector has been looked at.
    rules = plant.site.home / "alerts.toml"
    rules.write_text(RULES + "threshold = 0\nfor_s = 3\n")
    plant.expect("slow_look", "fired")
    rules.write_text(RULES)
    plant.expect("slow_look", "fired", "resolved")
    assert plant.site.request("/api/v1/processes/press/start", "POST")["outcome"] == "done"
    plant.site.wait_until("press", is_delivering, "delivers", 30)
    assert plant.others("slow_look") == set()
