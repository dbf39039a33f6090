"""What a newcomer sees after `make run`, and what an operator does to it."""

import contextlib
import getpass
import itertools
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from installation import Installation, is_delivering, wait_for

pytestmark = pytest.mark.supervisord
NAMES = ("demo-mitsubishi", "demo-modbus", "demo-opcua")


def test_three_collectors_of_three_protocols_deliver(demo: Installation) -> None:
    for name in NAMES:
        demo.wait_until(name, is_delivering, "delivers")
    answer = demo.request("/api/v1/processes")
    assert answer["supervisor"]["reachable"] is True
    by_name = {process["name"]: process for process in answer["processes"]}
    assert tuple(sorted(by_name)) == NAMES
    assert [by_name[name]["type"] for name in NAMES] == ["mitsubishi", "modbus", "opcua"]
    for name in NAMES:
        process = by_name[name]
        assert psutil.Process(process["pid"]).cmdline()[1:4] == ["-m", "collectors", "run"]
        assert 10 < process["memory_mb"] < 200
        assert process["connection_status"]["is_connected"] is True
        assert process["config_revision"]
        assert process["last_heartbeat"] <= process["observed_at"]


def test_the_count_of_values_rises_and_cpu_is_measured(demo: Installation) -> None:
    before = demo.wait_until("demo-modbus", is_delivering, "delivers")
    after = demo.wait_until(
        "demo-modbus",
        lambda s: s["samples_total"] > before["samples_total"] and s["cpu_percent"] is not None,
        "reads more",
    )
    assert after["last_data_time"] > before["last_data_time"]


@pytest.mark.parametrize("name", NAMES)
def test_values_reach_the_history_within_seconds(demo: Installation, name: str) -> None:
    def fresh_points() -> list[dict[str, object]] | None:
        points = demo.request(f"/api/v1/processes/{name}/points")["points"]
        return points if all(point["quality"] == "good" for point in points) else None

    points = wait_for(fresh_points, f"good values of {name}")
    assert len(points) >= 10
    number = next(point for point in points if isinstance(point["value"], float))

    def rows() -> list[list[float]] | None:
        found = demo.request(f"/api/v1/history?series={number['series']}&from=-5m")["rows"]
        return found if len(found) >= 3 else None

    stored = wait_for(rows, f"history of {number['series']}")
    times = [row[0] for row in stored]
    assert times == sorted(times)
    assert abs(times[-1] / 1000 - time.time()) < 10


def test_a_killed_collector_is_seen_within_a_second_and_comes_back(demo: Installation) -> None:
    before = demo.wait_until("demo-modbus", is_delivering, "delivers")
    killed_at = time.monotonic()
    os.kill(before["pid"], signal.SIGKILL)
    demo.wait_until("demo-modbus", lambda s: s["pid"] != before["pid"], "loses its process")
    assert (
        time.monotonic() - killed_at < 5.0
    )  # A bound for slow machines; the bench has the figure.
    after = demo.wait_until(
        "demo-modbus",
        lambda s: is_delivering(s) and s["pid"] not in (None, before["pid"]),
        "delivers again",
    )
    assert after["restart_count"] == before["restart_count"] + 1
    assert after["start_time"] > before["start_time"]


def test_a_restart_on_request_is_not_counted_as_one_that_nobody_asked_for(
    demo: Installation,
) -> None:
    before = demo.wait_until("demo-opcua", is_delivering, "delivers")
    result = demo.request("/api/v1/processes/demo-opcua/restart", "POST")
    assert (result["outcome"], result["pid_before"]) == ("done", before["pid"])
    after = demo.wait_until("demo-opcua", lambda s: s["pid"] == result["pid_after"], "is new")
    assert after["restart_count"] == before["restart_count"]


def test_a_stop_is_no_fault_and_a_start_ends_it(demo: Installation) -> None:
    stopped = demo.run("stop", "demo-mitsubishi")
    assert stopped.returncode == 0, stopped.stderr
    status = demo.wait_until("demo-mitsubishi", lambda s: s["status"] == "STOPPED", "is stopped")
    assert status["desired"] == "stop"
    assert (status["status"], status["pid"], status["health_score"]) == ("STOPPED", None, None)
    assert status["health"]["status"] == "stopped"
    started = demo.request("/api/v1/processes/demo-mitsubishi/start", "POST")
    assert started["outcome"] == "done"
    demo.wait_until("demo-mitsubishi", is_delivering, "delivers again")


def test_a_bulk_restart_answers_for_each(demo: Installation) -> None:
    before = {name: demo.wait_until(name, is_delivering, "delivers")["pid"] for name in NAMES}
    answer = demo.request(
        "/api/v1/processes:bulk", "POST", {"action": "restart", "names": [*NAMES, "historian"]}
    )
    results = {result["process"]: result for result in answer["results"]}
    for name in NAMES:
        assert (results[name]["outcome"], results[name]["pid_before"]) == ("done", before[name])
        assert results[name]["pid_after"] not in (None, before[name])
    assert results["historian"]["outcome"] == "failed"
    for name in NAMES:
        demo.wait_until(name, is_delivering, "delivers again")


def test_a_command_repeated_under_its_key_is_done_once(demo: Installation) -> None:
    demo.wait_until("demo-opcua", is_delivering, "delivers")
    path = "/api/v1/processes/demo-opcua/restart"
    first = demo.request(path, "POST", key="one-and-only")
    assert first["outcome"] == "done"
    assert demo.request(path, "POST", key="one-and-only") == first
    assert demo.process("demo-opcua")["pid"] == first["pid_after"]
    other = demo.request("/api/v1/processes/demo-opcua/stop", "POST", key="one-and-only")
    assert (other["status"], other["code"]) == (409, "key_in_use")
    assert demo.request(path, "POST", key="x" * 65)["code"] == "bad_request"


def test_supervisorctl_works_on_the_same_supervisord(demo: Installation) -> None:
    supervisorctl = Path(sys.executable).with_name("supervisorctl")
    command = [str(supervisorctl), "-c", str(demo.home / "supervisord.conf")]
    result = subprocess.run(
        [*command, "status"], capture_output=True, text=True, timeout=30, check=False
    )
    for name in (*NAMES, "historian", "control-plane", "sim-modbus"):
        assert any(line.startswith(f"{name} ") for line in result.stdout.splitlines())


def test_a_device_that_dies_is_told_at_once_and_never_restarts_the_collector(
    demo: Installation,
) -> None:
    before = demo.wait_until("demo-modbus", is_delivering, "delivers")
    services = {s["name"]: s for s in demo.request("/api/v1/system")["services"]}
    device = services["sim-modbus"]["pid"]
    os.kill(device, signal.SIGSTOP)
    try:
        lost = demo.wait_until(
            "demo-modbus", lambda s: not s["connection_status"]["is_connected"], "loses its device"
        )
    finally:
        os.kill(device, signal.SIGCONT)
    check = {c["check_type"]: c for c in lost["health"]["checks"]}
    assert check["process_alive"]["status"] == "healthy"
    assert check["connection"]["status"] in ("warning", "critical")
    assert check["data_flow"]["status"] != "healthy"
    after = demo.wait_until("demo-modbus", is_delivering, "delivers again")
    assert after["pid"] == before["pid"]


def test_the_command_line_answers(demo: Installation) -> None:
    for name in NAMES:
        demo.wait_until(name, is_delivering, "delivers")
    table = demo.run("status")
    assert all(name in table.stdout for name in NAMES)
    one = json.loads(demo.run("status", "demo-opcua", "--json").stdout)
    assert one["name"] == "demo-opcua"
    chinese = demo.run("status", DAQ_LANG="zh")
    assert "采集器" in chinese.stdout
    logs = demo.run("logs", "demo-modbus")
    assert "device answers" in logs.stdout
    check = demo.run("check", str(demo.home / "collectors.d" / "demo-modbus.toml"))
    assert check.returncode == 0, check.stderr
    doctor = demo.run("doctor")
    assert "FAIL" not in doctor.stdout, doctor.stdout
    missing = demo.run("restart", "nobody")
    assert (missing.returncode, missing.stderr) == (
        1,
        "There is no collector called nobody. List them with: daqplane status\n",
    )


def test_our_own_services_are_not_commanded_as_collectors(demo: Installation) -> None:
    for name in ("control-plane", "historian", "sim-modbus", "nobody"):
        answer = demo.request(f"/api/v1/processes/{name}/stop", "POST")
        assert answer["status"] == 404


def test_a_second_run_in_the_same_home_or_on_the_same_port_is_refused(
    demo: Installation, make_installation: Callable[..., Installation]
) -> None:
    again = demo.run("run")
    assert again.returncode == 1
    assert "already runs" in again.stderr
    other = make_installation()
    refused = other.run("run", DAQ_HTTP_PORT=str(demo.port))
    assert (refused.returncode, f"Port {demo.port}" in refused.stderr) == (1, True)


def test_the_collector_goes_on_while_the_control_plane_is_dead(demo: Installation) -> None:
    before = demo.wait_until("demo-opcua", is_delivering, "delivers")
    services = {s["name"]: s for s in demo.request("/api/v1/system")["services"]}
    before_kill = demo.request("/api/v1/system")["started_at"]
    os.kill(services["control-plane"]["pid"], signal.SIGKILL)

    def is_new() -> bool:
        try:
            return bool(demo.request("/api/v1/system")["started_at"] != before_kill)
        except OSError:
            return False

    wait_for(is_new, "a new control plane answers", 20)
    after = demo.process("demo-opcua")
    assert after["pid"] == before["pid"]
    demo.wait_until(
        "demo-opcua", lambda s: s["samples_total"] > before["samples_total"], "went on reading"
    )


def test_a_frozen_supervisord_is_unknown_at_once_and_slows_nobody(
    make_installation: Callable[..., Installation],
) -> None:
    installation = make_installation("--demo")
    installation.start()
    installation.wait_until("demo-modbus", is_delivering, "delivers")
    pid = int((installation.home / "run" / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        frozen = installation.wait_until(
            "demo-modbus", lambda s: s["status"] == "UNKNOWN", "is unknown"
        )
        began = time.monotonic()
        answer = installation.request("/api/v1/processes")
        assert time.monotonic() - began < 2
        assert answer["supervisor"]["reachable"] is False
        assert (frozen["health"]["status"], frozen["health_score"]) == ("unknown", None)
        still = installation.wait_until(
            "demo-modbus",
            lambda s: s["samples_total"] > frozen["samples_total"],
            "goes on reading",
        )
        assert still["status"] == "UNKNOWN"
        refused = installation.request("/api/v1/processes/demo-modbus/stop", "POST")
        assert refused["code"] == "supervisor_unreachable"
    finally:
        os.kill(pid, signal.SIGCONT)
    # What was asked while it was frozen may still arrive; the operator's word counts then.
    installation.wait_until("demo-modbus", lambda s: s["status"] != "UNKNOWN", "is known again")
    assert installation.stop() == 0


def test_twenty_people_at_one_collector_all_hear_the_truth(
    make_installation: Callable[..., Installation],
) -> None:
    installation = make_installation("--demo")
    installation.start()
    installation.wait_until("demo-modbus", is_delivering, "delivers")
    answers: list[dict[str, object]] = []
    until = time.monotonic() + 10
    fingers = threading.Event()

    def hammer(seed: int) -> None:
        choose = random.Random(seed)
        while time.monotonic() < until:
            action = choose.choice(("start", "stop", "restart"))
            answers.append(installation.request(f"/api/v1/processes/demo-modbus/{action}", "POST"))
            # They share a token, and with it its allowance of 200 requests a second.
            fingers.wait(0.1)

    people = [threading.Thread(target=hammer, args=(seed,)) for seed in range(20)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    accepted = [a for a in answers if "outcome" in a]
    refused = [a for a in answers if "outcome" not in a]
    assert {a["code"] for a in refused} == {"busy"}
    assert len(accepted) >= 5
    for answer in accepted:
        assert answer["outcome"] == "done", answer
        if answer["action"] == "stop":
            assert answer["pid_after"] is None
        else:
            assert answer["pid_after"] is not None
        if answer["action"] == "restart":
            assert answer["pid_before"] != answer["pid_after"]
    with contextlib.closing(sqlite3.connect(installation.home / "state.db")) as db:
        query = "SELECT action FROM audit WHERE outcome = 'done' ORDER BY id DESC LIMIT 1"
        (last,) = db.execute(query).fetchone()
    wanted = "STOPPED" if last == "process.stop" else "RUNNING"
    final = installation.wait_until(
        "demo-modbus", lambda s: s["status"] in ("STOPPED", "RUNNING"), "has settled"
    )
    assert final["status"] == wanted
    assert final["restart_count"] == 0
    assert installation.stop() == 0


def test_a_restart_that_our_own_crash_interrupts_is_ended_afterwards(
    make_installation: Callable[..., Installation],
) -> None:
    installation = make_installation("--demo")
    installation.start()
    before = installation.wait_until("demo-modbus", is_delivering, "delivers")
    services = {s["name"]: s for s in installation.request("/api/v1/system")["services"]}
    # A frozen process takes supervisord's full patience to stop: time enough to crash meanwhile.
    os.kill(before["pid"], signal.SIGSTOP)

    def restart() -> None:
        with contextlib.suppress(OSError):
            installation.request("/api/v1/processes/demo-modbus/restart", "POST")

    request = threading.Thread(target=restart)
    request.start()
    installation.wait_until("demo-modbus", lambda s: s["status"] == "STOPPING", "is stopping")
    os.kill(services["control-plane"]["pid"], signal.SIGKILL)
    request.join()
    installation.wait_until(
        "demo-modbus",
        lambda s: is_delivering(s) and s["pid"] != before["pid"],
        "is a new process",
        deadline_s=40,
    )
    assert installation.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_is_quick_and_leaves_nothing(
    make_installation: Callable[..., Installation], number: int
) -> None:
    installation = make_installation("--demo")
    installation.start()
    for name in NAMES:
        installation.wait_until(name, is_delivering, "delivers")
    assert len(installation.processes_left()) >= 8
    began = time.monotonic()
    assert installation.stop(number) == 0
    # 0.5 s as a rule, 2 s more with a request under way; the bound leaves room for a busy machine.
    assert time.monotonic() - began < 10.0
    assert installation.processes_left() == []


def test_a_killed_runner_takes_everything_with_it(
    make_installation: Callable[..., Installation],
) -> None:
    installation = make_installation("--demo")
    installation.start()
    installation.runner.kill()
    installation.runner.wait()
    installation.runner = None
    wait_for(lambda: not installation.processes_left(), "everything has ended")


def test_a_broken_collector_file_stops_only_its_own_collector(
    make_installation: Callable[..., Installation],
) -> None:
    installation = make_installation("--demo")
    broken = installation.home / "collectors.d" / "broken.toml"
    assert installation.run("doctor").returncode == 1  # Makes the directories; nothing runs yet.
    simulators = Path(__file__).parents[2] / "simulators" / "demo"
    text = (simulators / "demo-modbus.toml").read_text()
    broken.write_text(text.replace('"demo-modbus"', '"broken"').replace("unit_id", "unit_idd"))
    installation.arguments = ()
    installation.start()
    assert "devices[0].unit_idd: this key is not known. Did you mean unit_id?" in (
        installation.output.read_text()
    )
    status = installation.wait_until(
        "broken", lambda s: s["supervisor_state"] == "FATAL", "is given up"
    )
    assert status["status"] == "CRASHED"
    alive = status["health"]["checks"][0]
    assert (alive["status"], alive["code"]) == ("critical", "process.bad_config")
    assert re.search(r"broken.toml:\d+: devices\[0\].unit_idd", alive["params"]["problem"])
    assert "fix_config" in alive["recommendations"]
    services = {
        s["name"]: s["supervisor_state"] for s in installation.request("/api/v1/system")["services"]
    }
    assert services["historian"] in ("STARTING", "RUNNING")
    broken.write_text(broken.read_text().replace("unit_idd", "unit_id"))
    # Nobody has to start it: recovery sees that the file has changed.
    installation.wait_until("broken", lambda s: s["pid"] is not None, "runs after the repair")


def test_an_unwritable_home_gives_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    installation = Installation(tmp_path / "file" / "home", 1)
    refused = installation.run("run", DAQ_HTTP_PORT="18999")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"DAQ_HOME {tmp_path}/file/home cannot be written")
    assert "Traceback" not in refused.stderr


def test_two_demos_run_side_by_side(
    demo: Installation, make_installation: Callable[..., Installation]
) -> None:
    other = make_installation("--demo")
    other.start()
    for installation, name in itertools.product((demo, other), NAMES):
        installation.wait_until(name, is_delivering, "delivers")
    assert other.stop() == 0


def test_a_stop_with_supervisorctl_is_adopted_and_outlives_a_restart_of_everything(
    make_installation: Callable[..., Installation],
) -> None:
    installation = make_installation("--demo")
    installation.start()
    installation.wait_until("demo-modbus", is_delivering, "delivers")
    supervisorctl = Path(sys.executable).with_name("supervisorctl")
    command = [str(supervisorctl), "-c", str(installation.home / "supervisord.conf")]
    subprocess.run([*command, "stop", "demo-modbus"], check=True, capture_output=True, timeout=30)
    installation.wait_until("demo-modbus", lambda s: s["desired"] == "stop", "is stopped")

    def audited() -> list[tuple[str, str, str]]:
        with contextlib.closing(sqlite3.connect(installation.home / "state.db")) as db:
            query = "SELECT actor, action, detail FROM audit WHERE target = 'demo-modbus'"
            return db.execute(query).fetchall()

    ((actor, action, detail),) = wait_for(audited, "the audit entry")
    assert actor == f"uid:{getpass.getuser()}"
    assert (action, "supervisorctl" in detail) == ("process.stop", True)
    assert installation.stop() == 0
    installation.start()
    installation.wait_until("demo-opcua", is_delivering, "delivers")
    status = installation.process("demo-modbus")
    assert (status["desired"], status["status"]) == ("stop", "STOPPED")
    assert installation.run("start", "demo-modbus").returncode == 0
    installation.wait_until("demo-modbus", is_delivering, "delivers again")
    assert installation.stop() == 0
    installation.start()
    installation.wait_until("demo-modbus", is_delivering, "starts by itself again")


def test_one_collector_is_added_changed_and_removed_and_no_other_is_touched(
    make_installation: Callable[..., Installation], tmp_path: Path
) -> None:
    installation = make_installation("--demo")
    installation.start()
    before = {
        name: installation.wait_until(name, is_delivering, "delivers")["pid"] for name in NAMES
    }
    text = (installation.home / "collectors.d" / "demo-modbus.toml").read_text()
    file = tmp_path / "anything.toml"
    file.write_text(text.replace('"demo-modbus"', '"press2"'))
    added = installation.run("apply", str(file))
    assert (added.returncode, added.stdout) == (0, "press2: added and started.\n"), added.stderr
    first = installation.wait_until("press2", is_delivering, "delivers")
    file.write_text(file.read_text().replace("interval_s = 0.5", "interval_s = 0.25"))
    reloaded = installation.run("apply", str(file))
    assert "without a restart" in reloaded.stdout, reloaded.stderr
    second = installation.wait_until(
        "press2", lambda s: s["shortest_interval_s"] == 0.25, "reads faster"
    )
    assert second["pid"] == first["pid"]
    assert second["config_revision"] != first["config_revision"]
    file.write_text(file.read_text().replace("unit_id", "unit_idd"))
    refused = installation.run("apply", str(file))
    assert (refused.returncode, "devices[0].unit_idd" in refused.stderr) == (1, True)
    assert installation.process("press2")["config_revision"] == second["config_revision"]
    removed = installation.run("remove", "press2")
    assert removed.returncode == 0, removed.stderr
    wait_for(lambda: installation.process("press2").get("status") == 404, "it is gone")
    assert list((installation.home / "collectors.d").glob("press2.toml.removed-*"))
    assert {name: installation.process(name)["pid"] for name in NAMES} == before
    assert installation.stop() == 0


def test_what_supervisorctl_does_while_the_control_plane_is_away_is_noticed_later(
    make_installation: Callable[..., Installation],
) -> None:
    installation = make_installation("--demo")
    installation.start()
    installation.wait_until("demo-modbus", is_delivering, "delivers")
    supervisorctl = [
        str(Path(sys.executable).with_name("supervisorctl")),
        "-c",
        str(installation.home / "supervisord.conf"),
    ]
    for command in (("stop", "control-plane"), ("stop", "demo-modbus"), ("start", "control-plane")):
        subprocess.run([*supervisorctl, *command], check=True, capture_output=True, timeout=30)
    adopted = installation.wait_until(
        "demo-modbus", lambda s: s["desired"] == "stop", "is taken for one when it lasts"
    )
    assert adopted["health"]["status"] == "stopped"
    # An update stops and starts; what is wanted stays what it was.
    conf = installation.home / "supervisord.conf.d" / "demo-opcua.conf"
    conf.write_text(conf.read_text().replace("stopwaitsecs=10", "stopwaitsecs=9"))
    before = installation.wait_until("demo-opcua", is_delivering, "delivers")
    subprocess.run([*supervisorctl, "update"], check=True, capture_output=True, timeout=60)
    after = installation.wait_until(
        "demo-opcua", lambda s: is_delivering(s) and s["pid"] != before["pid"], "is new"
    )
    assert after["desired"] == "run"
    assert installation.stop() == 0


def test_a_collector_that_crashed_twice_is_held_back_until_somebody_starts_it(
    make_installation: Callable[..., Installation],
) -> None:
    installation = make_installation("--demo")
    installation.start()

    def code(status: dict[str, object]) -> str:
        return str(status["health"]["checks"][0]["code"])

    for _ in range(2):
        status = installation.wait_until("demo-modbus", is_delivering, "delivers")
        os.kill(status["pid"], signal.SIGKILL)
        installation.wait_until(
            "demo-modbus", lambda s, old=status["pid"]: s["pid"] not in (None, old), "is new"
        )
    held = installation.wait_until(
        "demo-modbus", lambda s: code(s) == "process.held", "is held back"
    )
    assert not is_delivering(held)
    assert installation.run("restart", "demo-modbus").returncode == 0
    free = installation.wait_until("demo-modbus", lambda s: code(s) == "process.alive", "is free")
    assert free["pid"] != held["pid"]
    assert not list((installation.home / "run" / "ledger").glob("*.tmp"))
    ledger = json.loads((installation.home / "run" / "ledger" / "demo-modbus.json").read_text())
    assert ledger["unplanned_at_s"] == []
    assert installation.stop() == 0
