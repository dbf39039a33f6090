"""Automatic recovery on the real system: the right action or none, and why; limits are scaled."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from installation import Installation, free_port, is_delivering, wait_for
from small_plant import SIMULATOR, collector_home

from simulators.testing import RunningSimulator

pytestmark = pytest.mark.supervisord

LIMITS = """
[health]
check_interval = 1
connection_timeout = 2
data_timeout = 3
startup_grace = 5
heartbeat_timeout = 4
[recovery]
settle_s = 2
"""


class Plant:
    def __init__(self, root: Path, limits: str = LIMITS) -> None:
        self.simulator_file = root / "sim.toml"
        self.simulator_file.write_text(SIMULATOR)
        self.simulator = RunningSimulator(self.simulator_file)
        self.simulator.__enter__()
        home = collector_home(root / "home", "press", self.simulator.port)
        (home / "health.toml").write_text(limits)
        self.local = Installation(home, free_port())
        try:
            self.local.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.local.stop()
        self.simulator.__exit__(None, None, None)

    def decisions(self) -> list[dict[str, Any]]:
        """Oldest first."""
        answer = self.local.request("/api/v1/recovery/decisions?process=press&limit=500")
        return list(reversed(answer["decisions"]))

    def acted(self, action: str) -> list[dict[str, Any]]:
        return [d for d in self.decisions() if d["action"] == action]

    def present(self) -> dict[str, Any]:
        (found,) = self.local.request("/api/v1/recovery")["collectors"]
        return found

    def delivers(self) -> dict[str, Any]:
        return self.local.wait_until("press", is_delivering, "delivers", 30)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    plant = Plant(tmp_path)
    try:
        plant.delivers()
        yield plant
    finally:
        plant.close()


def test_a_frozen_collector_is_restarted_once_and_the_row_says_why(plant: Plant) -> None:
    pid = plant.local.process("press")["pid"]
    os.kill(pid, signal.SIGSTOP)
    plant.local.wait_until("press", lambda s: s["pid"] not in (None, pid), "has a new process", 30)
    plant.delivers()
    wait_for(
        lambda: [d["outcome"] for d in plant.acted("restart_process")] == ["done"],
        "the restart is written down",
    )
    (row,) = plant.acted("restart_process")
    assert (row["rule"], row["category"]) == ("frozen", "unexpected_termination")
    assert "does nothing" in row["cause"]
    assert not psutil.pid_exists(pid)


def test_a_dead_device_restarts_no_process(plant: Plant) -> None:
    pid = plant.local.process("press")["pid"]
    plant.simulator.__exit__(None, None, None)
    wait_for(lambda: len(plant.acted("reset_connection")) >= 2, "connections are reset", 30)
    assert plant.present()["rule"] == "device"
    assert plant.local.process("press")["pid"] == pid
    assert plant.acted("restart_process") == []
    port = plant.simulator.port
    plant.simulator = RunningSimulator(plant.simulator_file, port=port)
    plant.simulator.__enter__()
    plant.delivers()
    wait_for(lambda: plant.present()["rule"] == "fine", "all is well")


def test_what_an_operator_stopped_or_maintains_is_left_alone(plant: Plant) -> None:
    assert plant.local.run("maintenance", "on", "press", "--minutes", "5", "--reason", "x").stdout
    pid = plant.local.process("press")["pid"]
    os.kill(pid, signal.SIGSTOP)
    found = wait_for(lambda: (p := plant.present())["guard"] == "maintenance" and p, "held back")
    assert (found["rule"], found["action"]) == ("frozen", "no_action")
    # It holds through a restart of the control plane.
    for process in plant.local.processes_left():
        if "serve" in process.cmdline():
            process.kill()
    wait_for(lambda: _answers(plant) and plant.present()["guard"] == "maintenance", "held back")
    assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: plant.present()["rule"] == "fine", "goes on")
    assert plant.local.run("maintenance", "off", "press").returncode == 0
    plant.local.request("/api/v1/processes/press/stop", "POST")
    wait_for(lambda: plant.present()["guard"] == "stopped", "left alone")
    assert plant.acted("restart_process") == []


def test_a_stop_and_maintenance_hold_through_restarts_of_everything(plant: Plant) -> None:
    assert plant.local.run("maintenance", "on", "press", "--minutes", "5", "--reason", "x").stdout
    assert plant.local.stop() == 0
    plant.local.start()
    pid = plant.delivers()["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: _answers(plant) and plant.present()["guard"] == "maintenance", "held back", 30)
    os.kill(pid, signal.SIGCONT)
    # Without the guard it would be restarted for what it was, and a stop refused meanwhile.
    wait_for(lambda: plant.present()["rule"] == "fine", "goes on")
    assert plant.local.run("maintenance", "off", "press").returncode == 0
    assert plant.local.request("/api/v1/processes/press/stop", "POST")["outcome"] == "done"
    # Its supervisord dies, and with it the foreground and the control plane.
    supervisord = int((plant.local.home / "run" / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    assert plant.local.runner is not None
    assert plant.local.runner.wait(20) == 1
    wait_for(lambda: not plant.local.processes_left(), "everything has ended", 20)
    plant.local.start()
    wait_for(lambda: _answers(plant) and plant.present()["guard"] == "stopped", "left alone", 30)
    assert plant.local.process("press")["pid"] is None
    assert plant.acted("restart_process") == []


def test_a_restart_that_our_death_cut_off_is_ended_and_counted_once(plant: Plant) -> None:
    pid = plant.local.process("press")["pid"]
    os.kill(pid, signal.SIGSTOP)
    plant.local.wait_until("press", lambda s: s["status"] == "STOPPING", "is being stopped", 30)
    for process in plant.local.processes_left():
        if "serve" in process.cmdline():
            process.kill()
    wait_for(lambda: _answers(plant), "the control plane is back", 30)
    plant.delivers()
    assert len(plant.acted("restart_process")) == 1, plant.decisions()
    assert not psutil.pid_exists(pid)


def test_a_dry_run_writes_down_what_it_would_do(tmp_path: Path) -> None:
    plant = Plant(tmp_path, LIMITS + "dry_run = true\n")
    try:
        pid = plant.delivers()["pid"]
        os.kill(pid, signal.SIGSTOP)
        found = wait_for(lambda: (p := plant.present())["guard"] == "dry_run" and p, "dry run", 30)
        assert found["wanted"] == "restart_process"
        assert "restart the process" not in found["action_text"]
        why = plant.local.run("why", "press").stdout
        assert "dry run" in why
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
        os.kill(pid, signal.SIGCONT)
    finally:
        plant.close()


def test_limits_are_read_while_it_runs_and_a_bad_file_changes_nothing(plant: Plant) -> None:
    file = plant.local.home / "health.toml"
    file.write_text("[health]\ncpu_treshold = 5\n")
    problems = wait_for(lambda: plant.local.request("/api/v1/recovery")["problems"], "told")
    assert "health.cpu_treshold" in problems[0]
    assert "cpu_threshold" in problems[0]
    file.write_text("[collectors.press.health]\nmemory_threshold = 5\n")
    plant.local.wait_until(
        "press",
        lambda s: any(c["code"] == "resources.memory" for c in s["health"]["checks"]),
        "is over its own limit",
    )


def _answers(plant: Plant) -> bool:
    try:
        return bool(plant.present())
    except (OSError, ValueError, KeyError):
        return False
