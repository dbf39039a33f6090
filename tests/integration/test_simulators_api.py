"""Faults put into the simulated devices of a demo, over HTTP."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.settings import load_settings

FILE = """protocol = "modbus_tcp"
host = "127.0.0.1"
id = "press1"
port = 0
control_port = 0
[[units]]
unit_id = 1
[[units.signals]]
name = "a"
address = "holding:0"
type = "uint16"
wave = { kind = "constant", value = 1 }
"""


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "simulators.d").mkdir()
    file = tmp_path / "simulators.d" / "sim-press.toml"
    file.write_text(FILE)
    command = [sys.executable, "-m", "simulators", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        yield process
        process.terminate()


@pytest.fixture
def plane(tmp_path: Path, simulator: subprocess.Popen[str]) -> Iterator[ControlPlane]:
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        yield plane


def client_of(plane: ControlPlane, role: Role) -> FlaskClient:
    me = Actor(name="console:test", role=Role.ADMIN, origin="console")
    token = plane.console.account_commands.create_token(me, role.value, role)
    client = create_app(plane).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def faults(client: FlaskClient) -> list[str]:
    body: Any = client.get("/api/v1/simulators").json
    found: list[str] = body["simulators"][0]["devices"][0]["faults"]
    return found


def test_a_fault_is_put_in_seen_and_taken_out(plane: ControlPlane) -> None:
    client = client_of(plane, Role.OPERATOR)
    order = {"device": "press1", "fault": "delay", "for_s": 30}
    assert client.post("/api/v1/simulators/sim-press/faults", json=order).status_code == 200
    assert faults(client) == ["delay"]
    assert client.delete("/api/v1/simulators/sim-press/faults").status_code == 200
    assert faults(client) == []


def test_who_may_only_look_puts_nothing_in(plane: ControlPlane) -> None:
    client = client_of(plane, Role.VIEWER)
    order = {"device": "press1", "fault": "refuse"}
    assert client.post("/api/v1/simulators/sim-press/faults", json=order).status_code == 403
    assert faults(client) == []


def test_what_cannot_be_is_refused_in_words(
    plane: ControlPlane, simulator: subprocess.Popen[str]
) -> None:
    client = client_of(plane, Role.OPERATOR)
    order = {"device": "nobody", "fault": "refuse"}
    refused = client.post("/api/v1/simulators/sim-press/faults", json=order)
    assert refused.status_code == 400
    assert "refuses" in str(refused.json)
    assert client.delete("/api/v1/simulators/sim-nothing/faults").status_code == 404
    simulator.terminate()
    simulator.wait(timeout=10)
    body: Any = client.get("/api/v1/simulators").json
    assert body["simulators"] == [{"name": "sim-press", "running": False, "devices": []}]


@pytest.mark.parametrize(
    "answer", [b"[1]\n", b'"ok"\n', b"{}\n", b"[" * 100_000 + b"\n", b"\xff\n"]
)
def test_another_program_on_its_port_passes_for_no_simulator(
    plane: ControlPlane, tmp_path: Path, answer: bytes
) -> None:
    client = client_of(plane, Role.OPERATOR)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        peer = threading.Thread(target=serve)
        peer.start()
        told = tmp_path / "simulators.d" / "sim-press.toml.control"
        told.write_text(json.dumps({"control_port": server.getsockname()[1]}))
        refused = client.delete("/api/v1/simulators/sim-press/faults")
        peer.join()
    assert (refused.status_code, refused.json["code"]) == (400, "bad_request")
    told.write_text("[1]")
    assert client.get("/api/v1/simulators").json["simulators"][0]["running"] is False
