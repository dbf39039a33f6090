"""The plugin inside a real supervisord, and everything without it."""

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bare_supervisord import BareSupervisord, bare_supervisord
from installation import wait_for

from control_plane.domain.process import SupervisorState
from control_plane.errors import Busy, ControlPlaneError, SupervisorFault, UnknownProcess
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.event_stream import EventStream, ForeignCall
from control_plane.supervisor.process_manager import Outcome, ProcessManager
from control_plane.supervisor.transport import UnixAddress

pytestmark = pytest.mark.supervisord

QUITTER = {"quitter": "/bin/sh -c 'exit 3'"}
PROGRAMS = {
    "one": "/bin/sleep 1000",
    "two": "/bin/sleep 1000",
    **QUITTER,
    "writer": r"/bin/sh -c 'printf \"\\033[31m\\377\\n\"; exec sleep 1000'",
}


@pytest.fixture(params=[True, False], ids=["plugin", "stock"])
def either(request: pytest.FixtureRequest) -> Iterator[BareSupervisord]:
    with bare_supervisord(PROGRAMS, plugin=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def running() -> Iterator[BareSupervisord]:
    with bare_supervisord(PROGRAMS) as running:
        yield running


@pytest.fixture
def client(running: BareSupervisord) -> SupervisorClient:
    return running.client()


def call(client: SupervisorClient, method: str, *arguments: object) -> Any:
    return json.loads(client._call(method, *arguments))


def newest(client: SupervisorClient) -> tuple[str, int]:
    batch = client.plugin.wait_events("", 0, 0)
    return batch.boot, batch.sequence


def events_until(
    client: SupervisorClient, boot: str, since: int, last: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def look() -> bool:
        nonlocal since
        batch = client.plugin.wait_events(boot, since, 5)
        assert batch.boot == boot
        since = batch.sequence
        found.extend(batch.events)
        return any(last(event) for event in batch.events)

    wait_for(look, "the event")
    return found


def test_commands_tell_what_was_seen_with_and_without_the_plugin(either: BareSupervisord) -> None:
    manager = ProcessManager(either.client(), either.home)
    stopped = manager.stop("one")
    assert (stopped.outcome, stopped.detail, stopped.pid_after) == (Outcome.DONE, "stopped", None)
    assert manager.stop("one").detail == "already_stopped"
    started = manager.start("one")
    assert (started.outcome, started.pid_before) == (Outcome.DONE, None)
    assert manager.start("one").detail == "already_running"
    restarted = manager.restart("one")
    assert restarted.outcome is Outcome.DONE
    assert restarted.pid_after not in (None, started.pid_after)
    failed = manager.start("quitter")
    assert (failed.outcome, failed.detail) == (Outcome.FAILED, "exited_at_once")
    with pytest.raises(UnknownProcess):
        manager.start("nobody")


def test_one_process_takes_one_command_at_a_time(running: BareSupervisord) -> None:
    manager = ProcessManager(running.client(), running.home)
    answers: list[object] = []

    def restart() -> None:
        try:
            answers.append(manager.restart("two").outcome)
        except Busy:
            answers.append("busy")

    threads = [threading.Thread(target=restart) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == ["busy", "busy", "busy", "done"]


def test_many_programs_take_one_command_and_each_tells_its_own_outcome() -> None:
    names = [f"p{n:02}" for n in range(23)]
    with bare_supervisord({**dict.fromkeys(names, "/bin/sleep 1000"), **QUITTER}) as running:
        manager = ProcessManager(running.client(), running.home)
        stopped = manager.bulk("stop", [*names, "nobody"])
        assert [r.process for r in stopped] == [*names, "nobody"]
        assert {r.outcome for r in stopped[:-1]} == {Outcome.DONE}
        assert (stopped[-1].outcome, stopped[-1].detail) == (Outcome.FAILED, "unknown")
        started = {r.process: r for r in manager.bulk("start", [*names, "quitter"])}
        assert {started[name].detail for name in names} == {"new_process"}
        assert (started["quitter"].outcome, started["quitter"].detail) == (
            Outcome.FAILED,
            "exited_at_once",
        )
        assert {r.detail for r in manager.bulk("start", names)} == {"already_running"}
        pids = {name: started[name].pid_after for name in names}
        restarted = {r.process: r for r in manager.bulk("restart", names)}
        assert all(restarted[name].pid_after not in (None, pids[name]) for name in names)


def test_a_death_arrives_with_its_signal_and_the_next_process_follows(
    client: SupervisorClient,
) -> None:
    boot, since = newest(client)
    pid = client.processes()["one"].pid
    os.kill(pid, signal.SIGKILL)
    events = events_until(
        client, boot, since, lambda e: e.get("name") == "one" and e["state"] == "STARTING"
    )
    states = [e for e in events if e.get("name") == "one"]
    assert [e["state"] for e in states][:2] == ["EXITED", "STARTING"]
    assert states[0]["exit"]["signal"] == "SIGKILL"
    assert states[0]["exit"]["pid"] == pid
    info = client.processes()["one"]
    assert info.pid not in (None, pid)
    assert info.last_exit.signal == "SIGKILL"


def test_what_supervisord_gave_up_on_keeps_its_exit_code(client: SupervisorClient) -> None:
    info = wait_for(
        lambda: (i := client.processes()["quitter"]).state is SupervisorState.FATAL and i,
        "quitter is given up",
    )
    assert (info.last_exit.code, info.last_exit.signal) == (3, None)


def test_a_wait_without_events_ends_in_time_and_costs_nothing(client: SupervisorClient) -> None:
    boot, since = newest(client)

    def quiet_wait_s() -> float | None:
        nonlocal since
        began = time.monotonic()
        batch = client.plugin.wait_events(boot, since, 0.5)
        assert not batch.gap
        since = batch.sequence
        return None if batch.events else time.monotonic() - began

    assert 0.4 < wait_for(quiet_wait_s, "a wait in which nothing happens") < 5


def test_a_foreign_boot_or_a_number_from_the_future_is_a_gap(client: SupervisorClient) -> None:
    boot, since = newest(client)
    assert client.plugin.wait_events("other", 0, 5).gap
    assert client.plugin.wait_events(boot, since + 1000, 5).gap


def test_whoever_uses_supervisorctl_is_known_by_name_and_process(
    running: BareSupervisord,
) -> None:
    calls: list[ForeignCall] = []
    changes: list[None] = []
    stream = EventStream(UnixAddress(running.socket), lambda: changes.append(None), calls.append)
    stream.start()
    wait_for(lambda: changes, "the first look")
    running.supervisorctl("stop", "two")
    running.supervisorctl("start", "two")
    wait_for(lambda: len(calls) >= 2, "both calls")
    stream.stop()
    assert [(c.action, c.target) for c in calls[-2:]] == [("stop", "two"), ("start", "two")]
    assert all("supervisorctl" in c.command and c.actor.startswith("uid:") for c in calls[-2:])
    audit = call(running.client(), "daq.getAudit")
    assert {"supervisor.stopProcess", "supervisor.startProcess"} <= {c["method"] for c in audit}


def test_a_log_is_read_byte_by_byte_where_stock_calls_break(client: SupervisorClient) -> None:
    raw = wait_for(
        lambda: (r := call(client, "daq.readLog", "writer", "0", 0, 1000))["offset"] and r,
        "the line",
    )
    assert base64.b64decode(raw["data"]) == b'"\x1b[31m\xff\n"'
    again = call(client, "daq.readLog", "writer", raw["inode"], raw["offset"], 1000)
    assert (again["data"], again["offset"]) == ("", raw["offset"])
    with pytest.raises(UnknownProcess):
        call(client, "daq.readLog", "../../etc/passwd", "0", 0, 1000)


def test_figures_of_running_processes_are_given(client: SupervisorClient) -> None:
    stats = {s["name"]: s for s in call(client, "daq.getStats")["processes"]}
    assert stats["one"]["rss_bytes"] > 100_000
    assert stats["one"]["pid"] == client.processes()["one"].pid


def test_those_who_hang_up_while_waiting_leave_nothing_behind(running: BareSupervisord) -> None:
    descriptors = Path(f"/proc/{running.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(10):
        impatient = running.client(timeout_s=0.2)
        boot, since = newest(impatient)
        with pytest.raises(Exception, match="timed out"):
            impatient.plugin.wait_events(boot, since, 30)
    running.supervisorctl("restart", "two")
    wait_for(lambda: len(list(descriptors.iterdir())) <= before + 2, "connections are closed")


def test_the_plugin_outlives_supervisords_own_restart() -> None:
    with bare_supervisord({"one": "/bin/sleep 1000"}) as running:
        client = running.client()
        boot, since = newest(client)
        pid = client.processes()["one"].pid
        client._call("supervisor.restart")

        def is_new() -> bool:
            try:
                return client.processes()["one"].pid not in (None, pid)
            except Exception:  # noqa: BLE001 - whatever it is while it restarts
                return False

        wait_for(is_new, "the restart")
        batch = client.plugin.wait_events(boot, since, 5)
        assert batch.boot == boot
        assert batch.sequence > since
        os.kill(client.processes()["one"].pid, signal.SIGKILL)
        events_until(client, boot, batch.sequence, lambda e: e.get("exit") is not None)


def test_without_the_plugin_the_stream_says_so_and_the_rest_works() -> None:
    with bare_supervisord({"one": "/bin/sleep 1000"}, plugin=False) as running:
        client = running.client()
        with pytest.raises(SupervisorFault):
            client.plugin.wait_events("", 0, 0)
        info = client.processes()["one"]
        assert (info.state in ("STARTING", "RUNNING"), info.last_exit) == (True, None)
        assert not client.has_plugin()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("daq.waitEvents", ("x",)),
        ("daq.waitEvents", (1, 2, 3, 4)),
        ("daq.waitEvents", ("", "no", "no")),
        ("daq.readLog", ("one", "no", "no", "no")),
        ("daq.nothing", ()),
        ("daq._recorder", ()),
        ("daq.getStats.x", ()),
    ],
)
def test_nonsense_is_refused_and_never_stops_supervisord(
    running: BareSupervisord, method: str, arguments: tuple[object, ...]
) -> None:
    client = running.client()
    with pytest.raises(ControlPlaneError):
        client._call(method, *arguments)
    assert running.process.poll() is None
    assert client.processes()["one"].pid
