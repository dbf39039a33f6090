"""``/api/v1/history/export`` on a real store, through the application and through gunicorn."""

import contextlib
import csv
import http.client
import io
import itertools
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import openpyxl
import pytest
from flask.testing import FlaskClient

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import decode, encode
from collectors.history.embedded.store import EmbeddedStore
from collectors.history.segment import Position
from collectors.history.spool_reader import Record
from control_plane.api import history_export
from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.console import build_console
from control_plane.settings import load_settings
from control_plane.storage.models import AuditEntry

START = datetime.now(UTC).replace(microsecond=0, second=0) - timedelta(hours=2)
START_NS = int(START.timestamp()) * 10**9
MANY = 150_000
SEQUENCE = itertools.count(1)
SERIES = "line1/press1/温度"
COLLECTOR = """
name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "press1"
host = "127.0.0.1"
points = [{ name = "温度", address = "holding:0", unit = "°C" }]
"""
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
SERVE = """
from control_plane import server
from control_plane.settings import load_settings
server.serve(load_settings())
"""


def fill(home: Path) -> None:
    """Store an hour of one series with a gap, and one series that is long."""
    (home / "collectors.d").mkdir()
    (home / "collectors.d" / "line1.toml").write_text(COLLECTOR, encoding="utf-8")
    store = EmbeddedStore(home / "history")
    put(store, "press1/温度", [None if n == 2 else float(n) for n in range(60)], 60 * 10**9)
    put(store, "press1/text", ["=1+1"], 10**9)
    for first in range(0, MANY, 10_000):
        values: list[Value | None] = [math.sin(n) for n in range(first, first + 10_000)]
        put(store, "press1/many", values, 10**7, START_NS + first * 10**7)
    store.close()


def put(
    store: EmbeddedStore, point: str, values: list[Value | None], step_ns: int, at: int = START_NS
) -> None:
    samples = [
        Sample(
            point=point,
            value=value,
            quality=Quality.BAD_TIMEOUT if value is None else Quality.GOOD,
            source_ns=at + n * step_ns,
            received_ns=at + n * step_ns,
        )
        for n, value in enumerate(values)
    ]
    number = next(SEQUENCE)
    end = Position(segment=1, offset=0, sequence=number)
    record = Record(sequence=number, wall_ns=at, batch=decode(encode(samples)), end=end)
    store.append("line1", [record])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    fill(home)
    return home


@pytest.fixture(scope="module")
def plane(home: Path) -> Iterator[ControlPlane]:
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        yield plane


@pytest.fixture(scope="module")
def viewer(plane: ControlPlane) -> dict[str, str]:
    token = plane.console.account_commands.create_token(ME, "carol", Role.VIEWER)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def client(plane: ControlPlane) -> FlaskClient:
    return create_app(plane).test_client()


def query(*series: str, **parameters: str) -> str:
    times = {"from": START.isoformat(), "to": (START + timedelta(hours=1)).isoformat()}
    asked = [("series", each) for each in series or (SERIES,)]
    return urlencode([*asked, *(times | parameters).items()])


def export(
    client: FlaskClient, headers: dict[str, str], *series: str, **parameters: str
) -> list[list[str]]:
    path = f"/api/v1/history/export?{query(*series, **parameters)}"
    with client.get(path, headers=headers) as answer:
        assert answer.status_code == 200, answer.text
        return list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))


def audited(plane: ControlPlane) -> list[tuple[str, str, str]]:
    with plane.console.database.connection():
        rows = AuditEntry.select().where(AuditEntry.action == "history.export")
        return [(row.target, row.outcome, row.detail) for row in rows.order_by(AuditEntry.id)]


def test_csv_has_every_sample_with_unit_and_quality(
    client: FlaskClient, plane: ControlPlane, viewer: dict[str, str]
) -> None:
    head, *rows = export(client, viewer, zone="Asia/Shanghai")
    assert head == [
        "time (UTC)", "time (Asia/Shanghai)", "series", "value", "unit", "quality", "device code",
    ]  # fmt: skip
    assert len(rows) == 60
    there = (START + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S.000")
    assert rows[0] == [
        START.strftime("%Y-%m-%dT%H:%M:%S.000Z"), there, SERIES, "0.0", "°C", "good", "0",
    ]  # fmt: skip
    assert rows[2][3:6] == ["", "°C", "bad_timeout"]
    (began, ended) = audited(plane)[-2:]
    assert (began[:2], ended[:2]) == ((SERIES, "requested"), (SERIES, "done"))
    assert ended[2].endswith("series=1 rows=60")


def test_buckets_have_their_extremes_and_their_gaps(
    client: FlaskClient, viewer: dict[str, str]
) -> None:
    head, *rows = export(client, viewer, resolution="15m")
    assert head[2:] == ["series", "minimum", "mean", "maximum", "unit", "good values", "bad values"]
    count = sum(int(row[7]) for row in rows)
    assert (count, sum(int(row[8]) for row in rows)) == (59, 1)
    assert max(float(row[5]) for row in rows) == 59.0
    assert {row[0][14:16] for row in rows} <= {"00", "15", "30", "45"}


def test_several_series_follow_one_another_and_text_is_no_formula(
    client: FlaskClient, viewer: dict[str, str]
) -> None:
    _, *rows = export(client, viewer, SERIES, "line1/press1/text", "line9/gone/x", bom="1")
    assert [row[2] for row in rows] == [SERIES] * 60 + ["line1/press1/text"]
    assert rows[-1][3] == "'=1+1"


def test_every_sample_of_a_long_series_is_there_once(
    client: FlaskClient, viewer: dict[str, str]
) -> None:
    _, *rows = export(client, viewer, "line1/press1/many")
    times = [row[0] for row in rows]
    assert len(times) == MANY
    assert times == sorted(set(times))


def test_xlsx_opens_with_types_and_chinese_heads(
    client: FlaskClient, viewer: dict[str, str]
) -> None:
    asked = query(SERIES, "line1/press1/text", format="xlsx", zone="Asia/Shanghai")
    headers = viewer | {"Accept-Language": "zh-CN"}
    with client.get(f"/api/v1/history/export?{asked}", headers=headers) as answer:
        assert answer.headers["Content-Disposition"].endswith('.xlsx"')
        book = openpyxl.load_workbook(io.BytesIO(answer.data))
    head, *rows = book["data"].iter_rows(values_only=True)
    assert head[3:6] == ("数值", "单位", "质量")
    assert len(rows) == 61
    assert rows[0][1] == (START + timedelta(hours=8)).replace(tzinfo=None)
    assert rows[1][3] == 1.0
    assert rows[-1][3] == "=1+1"
    assert ("时区", "Asia/Shanghai") in list(book["about"].iter_rows(values_only=True))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"series": ""}, "series"),
        ({"series": "nonsense"}, "series"),
        ({"from": "soon"}, "from"),
        ({"from": "now"}, "from"),
        ({"format": "pdf"}, "format"),
        ({"resolution": "0s"}, "resolution"),
        ({"resolution": "5"}, "resolution"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"bom": "yes"}, "bom"),
        ({"id": "short"}, "id"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    changed: dict[str, str], named: str, client: FlaskClient, viewer: dict[str, str]
) -> None:
    parameters = {"series": SERIES, "from": "-1h", "to": "-1m"} | changed
    answer = client.get(f"/api/v1/history/export?{urlencode(parameters)}", headers=viewer)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert named in answer.json["detail"]


def test_too_many_series_or_rows_are_refused_with_the_way_out(
    client: FlaskClient, viewer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [f"line1/press1/p{n}" for n in range(history_export.MAX_SERIES + 1)]
    answer = client.get(f"/api/v1/history/export?{query(*many)}", headers=viewer)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    monkeypatch.setattr(history_export, "XLSX_ROWS", 59)
    for resolution in ("raw", "1m"):
        asked = query(format="xlsx", resolution=resolution)
        answer = client.get(f"/api/v1/history/export?{asked}", headers=viewer)
        assert (answer.status_code, answer.json["code"]) == (422, "export_too_large")
        assert "59" in answer.json["detail"]


def test_strangers_export_nothing_and_see_no_export_of_others(
    client: FlaskClient, plane: ControlPlane, viewer: dict[str, str]
) -> None:
    assert client.get(f"/api/v1/history/export?{query()}").status_code == 401
    export(client, viewer, id="my-export")
    mine = client.get("/api/v1/history/export/my-export", headers=viewer)
    assert mine.json == {"state": "done", "fraction": 1.0, "rows": 60}
    token = plane.console.account_commands.create_token(ME, "dave", Role.VIEWER)
    other = {"Authorization": f"Bearer {token}"}
    for method in (client.get, client.delete):
        assert method("/api/v1/history/export/my-export", headers=other).status_code == 404


def test_an_export_that_nobody_reads_on_ends_and_frees_its_place(
    client: FlaskClient, plane: ControlPlane, viewer: dict[str, str]
) -> None:
    path = f"/api/v1/history/export?{query('line1/press1/many')}"
    held = [client.get(path, headers=viewer, buffered=False) for _ in range(2)]
    refused = client.get(path, headers=viewer)
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_exports")
    for answer in held:
        answer.close()
    assert audited(plane)[-1][1] == "cancelled"
    export(client, viewer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    port: int
    token: str

    def request(self, method: str, path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None

    def begin(self, id_: str) -> socket.socket:
        """Ask for the long series and read no more than the head of the answer."""
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", self.port))
        path = f"/api/v1/history/export?{query('line1/press1/many', id=id_)}"
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        peer.sendall(head.encode())
        assert peer.recv(15) == b"HTTP/1.1 200 OK"
        return peer

    def wait_for(self, id_: str, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while True:
            _, found = self.request("GET", f"/api/v1/history/export/{id_}")
            if found["state"] == state:
                return dict(found)
            assert time.monotonic() < deadline, found
            time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("served")
    fill(home)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    variables = {"DAQ_HOME": str(home), "DAQ_HTTP_PORT": str(port)}
    token = build_console(load_settings(variables)).account_commands.create_token(
        ME, "test", Role.VIEWER
    )
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE], env=os.environ | variables, stdout=log, stderr=log
        )
    try:
        running = Server(port=port, token=token)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if running.request("GET", "/healthz")[0] == 200:
                    break
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_progress_is_seen_and_cancelling_cuts_the_file(server: Server) -> None:
    with server.begin("cancelled") as peer:
        seen = server.wait_for("cancelled", "running")
        assert 0 < seen["rows"] < MANY
        assert 0 < seen["fraction"] < 1
        assert server.request("DELETE", "/api/v1/history/export/cancelled") == (204, None)
        received = b""
        while chunk := peer.recv(1 << 16):
            received += chunk
    # A body in chunks ends with an empty one; without it nobody takes half a file for the whole.
    assert not received.endswith(b"\r\n0\r\n\r\n")
    assert server.wait_for("cancelled", "cancelled")["rows"] < MANY


def test_a_client_that_goes_away_ends_its_export(server: Server) -> None:
    server.begin("gone-away").close()
    assert server.wait_for("gone-away", "cancelled")["rows"] < MANY
