"""Collector files over HTTP, with no supervisord behind it: all but putting them into use."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest
from flask.testing import FlaskClient

from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.domain.config_revision import ConfigOrigin
from control_plane.settings import load_settings

COLLECTOR = """\
# 一号线
name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "press1"
host = "127.0.0.1"

[[devices.points]]
name = "temperature"
address = "holding:0"   # oil
unit = "°C"
"""
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
PATH = "/api/v1/collectors/line1/config"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    (tmp_path / "collectors.d").mkdir()
    (tmp_path / "collectors.d" / "line1.toml").write_text(COLLECTOR)
    (tmp_path / "collectors.d" / "broken.toml").write_text('name = "broken"\npassword = "hush99"')
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> FlaskClient:
    return create_app(plane).test_client()


@pytest.fixture
def bearer(plane: ControlPlane) -> dict[Role, dict[str, str]]:
    commands = plane.console.account_commands
    return {
        role: {"Authorization": f"Bearer {commands.create_token(ME, f't-{role}', role)}"}
        for role in Role
    }


def test_files_are_listed_filtered_sorted_and_paged(client: FlaskClient, bearer: dict) -> None:
    def listed(query: str) -> list[str]:
        answer = client.get(f"/api/v1/collectors{query}", headers=bearer[Role.VIEWER])
        assert answer.status_code == 200, answer.json
        return [each["name"] for each in answer.json["collectors"]]

    assert listed("") == ["broken", "line1"]
    assert listed("?sort=-name") == ["line1", "broken"]
    assert listed("?sort=-points&limit=1") == ["line1"]
    assert listed("?offset=1") == ["line1"]
    assert listed("?valid=false") == ["broken"]
    assert listed("?q=LINE&protocol=modbus_tcp") == ["line1"]
    bad = client.get("/api/v1/collectors?sort=colour", headers=bearer[Role.VIEWER])
    assert (bad.status_code, bad.json["code"]) == (400, "bad_request")
    assert client.get("/api/v1/collectors?srot=x", headers=bearer[Role.VIEWER]).status_code == 400


def test_a_file_has_text_form_and_etag(client: FlaskClient, bearer: dict) -> None:
    answer = client.get(PATH, headers=bearer[Role.OPERATOR])
    assert answer.json["text"] == COLLECTOR
    assert answer.json["document"]["devices"][0]["id"] == "press1"
    assert (answer.json["valid"], answer.json["points"]) == (True, 1)
    etag = answer.headers["ETag"]
    assert etag == f'"{answer.json["revision"]}"'
    again = client.get(PATH, headers=bearer[Role.OPERATOR] | {"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    for name in ("nothing", "..%2Fstate", "UPPER", "a" * 300):
        unknown = client.get(f"/api/v1/collectors/{name}/config", headers=bearer[Role.OPERATOR])
        assert unknown.status_code == 404, name


def test_a_secret_that_does_not_belong_there_is_shown_to_no_viewer(
    client: FlaskClient, bearer: dict
) -> None:
    path = "/api/v1/collectors/broken/config"
    shown = client.get(path, headers=bearer[Role.VIEWER]).json
    assert "hush99" not in str(shown)
    assert shown["masked"] is True
    assert "hush99" in client.get(path, headers=bearer[Role.OPERATOR]).json["text"]


def test_a_problem_quotes_no_secret_to_a_viewer(
    plane: ControlPlane, client: FlaskClient, bearer: dict
) -> None:
    text = """name = "b"
protocol = "opcua"
[[devices]]
id = "a"
endpoint = "opc.tcp://me:hush99@127.0.0.1:4840"
"""
    (plane.console.settings.collectors_dir / "b.toml").write_text(text)
    for path in ("b/config", "b/config/diff?from=current"):
        whole, shown = (
            client.get(f"/api/v1/collectors/{path}", headers=bearer[role]).json
            for role in (Role.OPERATOR, Role.VIEWER)
        )
        assert "hush99" in str(whole["problems"]), path
        assert "hush99" not in str(shown), path
        keys = [[each["key"] for each in answer["problems"]] for answer in (whole, shown)]
        assert keys[0] == keys[1], path


def test_a_text_that_is_very_deep_is_refused_in_words(client: FlaskClient, bearer: dict) -> None:
    text = COLLECTOR + "a = " + "[" * 300 + "]" * 300
    body = {"text": text}
    for task in ("validate", "diff"):
        answer = client.post(f"{PATH}/{task}", json=body, headers=bearer[Role.OPERATOR])
        assert (answer.status_code, bool(answer.json["problems"])) == (200, True), task


def test_typing_is_judged_with_line_key_and_remedy(client: FlaskClient, bearer: dict) -> None:
    text = COLLECTOR.replace("holding:0", "holding:x")
    wanted = {"text": text}
    answer = client.post(f"{PATH}/validate", json=wanted, headers=bearer[Role.OPERATOR]).json
    assert answer["valid"] is False
    problem = answer["problems"][0]
    assert (problem["key"], problem["line"]) == ("devices[0].points[0].address", 10)
    assert problem["remedy"]
    zh = client.post(
        f"{PATH}/validate",
        json=wanted,
        headers=bearer[Role.OPERATOR] | {"Accept-Language": "zh-CN"},
    ).json
    assert zh["problems"][0]["message"] != problem["message"]
    new = client.post(
        "/api/v1/collectors/line9/config/validate", json=wanted, headers=bearer[Role.OPERATOR]
    )
    assert "name" in [each["key"] for each in new.json["problems"]] or not new.json["valid"]


def test_a_preview_says_what_would_be_other(client: FlaskClient, bearer: dict) -> None:
    form = client.get(PATH, headers=bearer[Role.OPERATOR]).json["document"]
    form["devices"][0]["points"].append({"name": "speed", "address": "holding:1"})
    answer = client.post(
        f"{PATH}/diff", json={"document": form}, headers=bearer[Role.OPERATOR]
    ).json
    assert [(d["key"], d["kind"]) for d in answer["differences"]] == [
        ("devices[press1].points[speed]", "added")
    ]
    assert '+name = "speed"' in answer["unified"]
    assert "-" not in [line[0] for line in answer["unified"].splitlines()[2:]]
    both = client.post(
        f"{PATH}/diff", json={"document": form, "text": "x"}, headers=bearer[Role.OPERATOR]
    )
    assert both.status_code == 400


def test_a_change_must_name_the_revision_that_its_writer_saw(
    client: FlaskClient, bearer: dict, plane: ControlPlane
) -> None:
    body = {"text": COLLECTOR.replace("°C", "K")}
    operator = bearer[Role.OPERATOR]
    for tag in ({}, {"If-Match": "*"}, {"If-Match": '"aa", "bb"'}):
        missing = client.put(PATH, json=body, headers=operator | tag)
        assert (missing.status_code, missing.json["code"]) == (428, "revision_required")
    stale = client.put(PATH, json=body, headers=operator | {"If-Match": '"0123456789ab"'})
    assert (stale.status_code, stale.json["code"]) == (412, "revision_conflict")
    etag = client.get(PATH, headers=operator).headers["ETag"]
    # Nobody would run it: nothing is written.
    down = client.put(PATH, json=body, headers=operator | {"If-Match": etag})
    assert (down.status_code, down.json["code"]) == (503, "supervisor_unreachable")
    wrong = client.put(PATH, json={"text": "name = 1"}, headers=operator | {"If-Match": etag})
    assert (wrong.status_code, wrong.json["code"]) == (422, "invalid_config")
    assert wrong.json["problems"][0]["remedy"]
    assert client.get(PATH, headers=operator).json["text"] == COLLECTOR


def test_a_hand_edit_becomes_a_revision(
    client: FlaskClient, bearer: dict, plane: ControlPlane
) -> None:
    path = plane.console.settings.collectors_dir / "line1.toml"
    plane.console.collector_configs.notice({"line1": "1"})
    path.write_text(COLLECTOR.replace("oil", "water"))
    plane.console.collector_configs.notice({"line1": "2"})
    plane.console.collector_configs.notice({"line1": "3"})
    answer = client.get(f"{PATH}/revisions", headers=bearer[Role.VIEWER]).json
    assert [each["origin"] for each in answer["revisions"]] == [ConfigOrigin.FILE] * 2
    newest, oldest = answer["revisions"]
    assert (newest["revision"], answer["next_before"]) == (answer["current"], None)
    old = client.get(f"{PATH}/revisions/{oldest['revision']}", headers=bearer[Role.VIEWER]).json
    assert old["text"] == COLLECTOR
    diff = client.get(f"{PATH}/diff?from={oldest['revision']}", headers=bearer[Role.VIEWER]).json
    assert '+address = "holding:0"   # water' in diff["unified"]
    assert diff["differences"] == []
    lost = client.get(f"{PATH}/revisions/aaaaaaaaaaaa", headers=bearer[Role.VIEWER])
    assert (lost.status_code, lost.json["code"]) == (404, "unknown_revision")
    page = client.get(f"{PATH}/revisions?limit=1", headers=bearer[Role.VIEWER]).json
    assert page["next_before"] == newest["id"]


def test_viewers_change_nothing_and_operators_make_nothing_writable(
    client: FlaskClient, bearer: dict
) -> None:
    etag = client.get(PATH, headers=bearer[Role.VIEWER]).headers["ETag"]
    tag = {"If-Match": etag}
    body = {"text": COLLECTOR + "writable = true\nclamp = [0, 9]\n"}
    for path, wanted in ((PATH, body), (f"{PATH}/rollback", {"revision": "aaaaaaaaaaaa"})):
        method = client.put if path == PATH else client.post
        answer = method(path, json=wanted, headers=bearer[Role.VIEWER] | tag)
        assert answer.status_code == 403, path
    refused = client.put(PATH, json=body, headers=bearer[Role.OPERATOR] | tag)
    assert (refused.status_code, refused.json["code"]) == (403, "not_permitted")
    allowed = client.put(PATH, json=body, headers=bearer[Role.ADMIN] | tag)
    assert allowed.json["code"] == "supervisor_unreachable"
    removed = client.delete("/api/v1/collectors/line1", headers=bearer[Role.OPERATOR] | tag)
    assert removed.status_code == 403


def test_operators_turn_no_write_to_another_place(
    plane: ControlPlane, client: FlaskClient, bearer: dict
) -> None:
    text = COLLECTOR + "writable = true\nclamp = [0, 9]\n"
    (plane.console.settings.collectors_dir / "line1.toml").write_text(text)
    etag = client.get(PATH, headers=bearer[Role.OPERATOR]).headers["ETag"]

    def code(old: str, new: str, role: Role = Role.OPERATOR) -> str:
        assert old in text
        body, tag = {"text": text.replace(old, new)}, {"If-Match": etag}
        return str(client.put(PATH, json=body, headers=bearer[role] | tag).json["code"])

    for old, new in (
        ("holding:0", "holding:7"),
        ("127.0.0.1", "127.0.0.2"),
        ("[0, 9]", "[0, 99]"),
        ("clamp = [0, 9]", ""),
        ("clamp", "scale = 0.1\nclamp"),
    ):
        assert code(old, new) == "not_permitted", new
        assert code(old, new, Role.ADMIN) == "supervisor_unreachable", new
    for old, new in (("°C", "K"), ("oil", "oil of the press"), ("writable = true", "")):
        assert code(old, new) == "supervisor_unreachable", new


def test_operators_send_no_secret_of_this_machine_to_a_server_of_their_own(
    plane: ControlPlane, client: FlaskClient, bearer: dict, tmp_path: Path
) -> None:
    for name in ("plant", "audit.key"):
        (tmp_path / name).write_text("hush99")
        (tmp_path / name).chmod(0o600)
    text = f"""name = "line1"
protocol = "opcua"
[[devices]]
id = "press1"
endpoint = "opc.tcp://127.0.0.1:4840"
user = "me"
password_file = "{tmp_path / "plant"}"
allow_plain_password = false

[[devices.points]]
name = "temperature"
node_id = "ns=2;i=1"
"""
    before = client.get(PATH, headers=bearer[Role.OPERATOR]).headers["ETag"]
    (plane.console.settings.collectors_dir / "line1.toml").write_text(text)
    etag = client.get(PATH, headers=bearer[Role.OPERATOR]).headers["ETag"]
    assert etag != before

    def code(wanted: str, role: Role = Role.OPERATOR) -> str:
        headers = bearer[role] | {"If-Match": etag}
        return str(client.put(PATH, json={"text": wanted}, headers=headers).json["code"])

    for old, new in (
        ("127.0.0.1:4840", "127.0.0.2:4840"),
        (str(tmp_path / "plant"), str(tmp_path / "audit.key")),
        (f'password_file = "{tmp_path / "plant"}"', 'password_env = "DATABASE_URL"'),
        ("plain_password = false", "plain_password = true"),
    ):
        assert old in text
        assert code(text.replace(old, new)) == "not_permitted", new
        assert code(text.replace(old, new), Role.ADMIN) == "supervisor_unreachable", new
    assert code(text.replace("i=1", "i=2")) == "supervisor_unreachable"
    assert code(text.replace("press1", "press2")) == "supervisor_unreachable"
    body = {"name": "line9", "text": text.replace("line1", "line9")}
    made = client.post("/api/v1/collectors", json=body, headers=bearer[Role.OPERATOR])
    assert made.json["code"] == "not_permitted"


def test_an_existing_collector_is_not_created_again(client: FlaskClient, bearer: dict) -> None:
    body = {"name": "line1", "text": COLLECTOR}
    answer = client.post("/api/v1/collectors", json=body, headers=bearer[Role.OPERATOR])
    assert (answer.status_code, answer.json["code"]) == (409, "collector_exists")
    body = {"name": "historian", "text": COLLECTOR}
    answer = client.post("/api/v1/collectors", json=body, headers=bearer[Role.OPERATOR])
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_program_file")


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_points_go_out_and_come_back_as_a_table(
    client: FlaskClient, bearer: dict, form: str
) -> None:
    path = f"{PATH}/points?format={form}"
    out = client.get(path, headers=bearer[Role.VIEWER])
    assert (out.status_code, "attachment" in out.headers["Content-Disposition"]) == (200, True)
    kind = {"Content-Type": out.mimetype}
    same = client.post(f"{path}&dry_run=1", data=out.data, headers=bearer[Role.OPERATOR] | kind)
    assert (same.status_code, same.json["changes"]) == (200, [])
    changed = edited(out.data, form)
    plan = client.post(f"{path}&dry_run=true", data=changed, headers=bearer[Role.OPERATOR] | kind)
    assert [(c["kind"], c["point"]) for c in plan.json["changes"]] == [
        ("changed", "press1/temperature")
    ]
    assert plan.json["applied"] is None
    wrong = client.post(
        path, data=changed, headers=bearer[Role.OPERATOR] | {"Content-Type": "text/html"}
    )
    assert (wrong.status_code, wrong.json["code"]) == (415, "unsupported_media")
    untagged = client.post(path, data=changed, headers=bearer[Role.OPERATOR] | kind)
    assert untagged.status_code == 428


def edited(table: bytes, form: str) -> bytes:
    if form == "csv":
        return table.replace(b"holding:0", b"holding:5")
    workbook = openpyxl.load_workbook(io.BytesIO(table))
    for row in workbook.active.iter_rows():
        for cell in row:
            if cell.value == "holding:0":
                cell.value = "holding:5"
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def test_a_bad_row_is_named_and_a_bomb_is_not_opened(client: FlaskClient, bearer: dict) -> None:
    bad = b"device,name,address\npress1,temperature,holdin:0\n"
    answer = client.post(
        f"{PATH}/points",
        data=bad,
        headers=bearer[Role.OPERATOR] | {"Content-Type": "text/csv"},
    )
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_table")
    assert (answer.json["problems"][0]["row"], answer.json["problems"][0]["column"]) == (
        2,
        "address",
    )
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", b"\0" * 100_000_000)
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    answer = client.post(
        f"{PATH}/points?format=xlsx",
        data=bomb.getvalue(),
        headers=bearer[Role.OPERATOR] | {"Content-Type": kind},
    )
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_table")


def test_a_body_may_be_large_here_but_not_everywhere(client: FlaskClient, bearer: dict) -> None:
    text = "# " + "x" * 2_000_000 + "\n" + COLLECTOR
    fine = client.post(f"{PATH}/validate", json={"text": text}, headers=bearer[Role.OPERATOR])
    assert fine.json["valid"] is True
    huge = {"text": "#" * 5_000_000}
    answer = client.post(f"{PATH}/validate", json=huge, headers=bearer[Role.OPERATOR])
    assert answer.status_code == 413
    elsewhere = client.post(
        "/api/v1/silences", json={"reason": text}, headers=bearer[Role.OPERATOR]
    )
    assert elsewhere.status_code == 413
