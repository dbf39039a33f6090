"""A command goes through a real supervisord to a running collector, and its answer comes back."""

import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from supervisor.xmlrpc import SupervisorTransport

from collectors.contract.commands import (
    CommandOutcome,
    CommandState,
    WriteCommand,
    format_command,
)
from collectors.contract.heartbeat import Heartbeat, heartbeat_path, read_heartbeat
from collectors.runtime.testing import eventually
from simulators.testing import RunningSimulator

ROOT = Path(__file__).parents[2]


@contextmanager
def supervisord(home: Path) -> Iterator[Any]:
    """Run ``line1`` below a supervisord of its own; give the XML-RPC interface."""
    socket = home / "s"
    (home / "supervisord.conf").write_text(f"""
[unix_http_server]
file={socket}
[supervisord]
nodaemon=true
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:line1]
command={sys.executable} -m collectors run {home}/line1.toml --home {home}
directory={ROOT}
stdout_logfile={home}/line1.log
redirect_stderr=true
""")
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", f"{home}/supervisord.conf"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    transport = SupervisorTransport(None, None, f"unix://{socket}")
    server: Any = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
    try:
        eventually(socket.exists)
        yield server.supervisor
    finally:
        transport.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def beat_of(home: Path) -> Heartbeat | None:
    return read_heartbeat(heartbeat_path(home, "line1"))


def outcome_of(home: Path, command_id: str) -> CommandOutcome:
    def look() -> CommandOutcome | None:
        beat = beat_of(home)
        return next((o for o in beat.commands if o.id == command_id), None) if beat else None

    return eventually(look)


@pytest.mark.supervisord
def test_a_write_reaches_the_device_through_supervisord(tmp_path: Path) -> None:
    simulated = tmp_path / "sim.toml"
    simulated.write_text(
        "protocol = 'modbus_tcp'\n[[units]]\nsignals = [{name = 'w', address = 'holding:0', "
        "type = 'uint16', wave = {kind = 'writable', value = 1}}]\n"
    )
    with RunningSimulator(simulated) as plc:
        (tmp_path / "line1.toml").write_text(
            "name = 'line1'\nprotocol = 'modbus_tcp'\n[[devices]]\nid = 'plc'\n"
            f"host = '127.0.0.1'\nport = {plc.port}\ngroups = [{{interval_s = 0.1}}]\n"
            "points = [{name = 'w', address = 'holding:0', writable = true}]\n"
        )
        with supervisord(tmp_path) as rpc:
            eventually(lambda: (beat := beat_of(tmp_path)) and beat.good_samples)
            expires_at = datetime.now(UTC) + timedelta(seconds=20)
            write = WriteCommand(
                id="w1", command="write", device="plc", point="w", value=77, expires_at=expires_at
            )
            line = format_command(write).decode()
            # Whoever does not know whether a command arrived sends it again.
            started = time.monotonic()
            for _ in range(3):
                assert rpc.sendProcessStdin("line1", line) is True
            outcome = outcome_of(tmp_path, "w1")
            assert time.monotonic() - started < 5
            assert (outcome.state, outcome.value) == (CommandState.DONE, 77)

            rpc.sendProcessStdin("line1", '{"id": "later", "command": "clear_')
            rpc.sendProcessStdin("line1", 'cache"}\n')
            assert outcome_of(tmp_path, "later").state is CommandState.DONE
            beat = beat_of(tmp_path)
            assert beat is not None
            assert [o.id for o in beat.commands] == ["w1", "later"]
