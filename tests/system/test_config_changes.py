"""Collectors are made, changed, taken back and removed over HTTP while they run."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from installation import LOCAL, Installation, wait_for

pytestmark = pytest.mark.supervisord

TEXT = """\
name = "line7"
protocol = "modbus_tcp"
[[devices]]
id = "plc"
host = "127.0.0.1"
port = 9          # nobody listens

[[devices.points]]
name = "level"
address = "holding:0"
"""
PATH = "/api/v1/collectors/line7/config"


@pytest.fixture(scope="module")
def plant(make_installation: Callable[..., Installation]) -> Iterator[Installation]:
    installation = make_installation()
    (installation.home / "collectors.d").mkdir(parents=True)
    installation.start()
    yield installation
    installation.stop()


def ask(
    plant: Installation, method: str, path: str, body: object = None, tag: str = ""
) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{plant.port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {plant.token}",
            "Content-Type": "application/json",
            **({"If-Match": f'"{tag}"'} if tag else {}),
        },
    )
    try:
        with LOCAL.open(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


def test_a_collector_lives_its_life_over_http(plant: Installation) -> None:
    status, made = ask(plant, "POST", "/api/v1/collectors", {"name": "line7", "text": TEXT})
    assert (status, made["outcome"]) == (201, "added"), made
    generated = (plant.home / "supervisord.conf.d" / "line7.conf").read_text()
    assert "127.0.0.1" not in generated
    plant.wait_until("line7", lambda s: s["pid"], "has a process")
    pid = plant.process("line7")["pid"]

    two = TEXT + '\n[[devices.points]]\nname = "speed"\naddress = "holding:1"\n'
    status, changed = ask(plant, "PUT", PATH, {"text": two, "comment": "speed"}, made["revision"])
    assert (status, changed["outcome"]) == (200, "reloaded"), changed
    assert plant.process("line7")["pid"] == pid
    status, lost = ask(plant, "PUT", PATH, {"text": TEXT}, made["revision"])
    assert (status, lost["code"]) == (412, "revision_conflict")

    # Somebody edits the file meanwhile, with whatever they like to edit with.
    (plant.home / "collectors.d" / "line7.toml").write_text(two + "# by hand\n")
    seen = wait_for(
        lambda: [
            each
            for each in ask(plant, "GET", f"{PATH}/revisions")[1]["revisions"]
            if each["origin"] == "file"
        ],
        "the text edited by hand is kept",
    )
    back = {"revision": made["revision"], "comment": "as before"}
    status, rolled = ask(plant, "POST", f"{PATH}/rollback", back, seen[0]["revision"])
    assert (status, rolled["outcome"], rolled["revision"]) == (200, "reloaded", made["revision"])
    assert (plant.home / "collectors.d" / "line7.toml").read_text() == TEXT
    revisions = ask(plant, "GET", f"{PATH}/revisions")[1]["revisions"]
    assert [(r["origin"], r["comment"]) for r in revisions] == [
        ("rolled_back", "as before"),
        ("file", ""),
        ("applied", "speed"),
        ("created", ""),
    ]
    assert revisions[0]["actor"].startswith("token:")

    plant.token, operator = (
        plant.run("token", "create", "--role", "admin").stdout.strip(),
        plant.token,
    )
    status, removed = ask(plant, "DELETE", "/api/v1/collectors/line7", tag=made["revision"])
    plant.token = operator
    assert status == 200, removed
    assert (plant.home / "collectors.d" / removed["kept"]).read_text() == TEXT
    assert not (plant.home / "supervisord.conf.d" / "line7.conf").exists()
    revisions = ask(plant, "GET", f"{PATH}/revisions")[1]
    assert (revisions["revisions"][0]["origin"], revisions["current"]) == ("removed", None)


def test_what_the_command_line_applies_is_kept_with_who_did_it(plant: Installation) -> None:
    file = plant.home / "line8.toml"
    file.write_text(TEXT.replace("line7", "line8"))
    for text in (file.read_text(), file.read_text() + "# once more\n"):
        file.write_text(text)
        applied = plant.run("apply", str(file))
        assert applied.returncode == 0, applied.stderr
    # Two looks of the control plane later it has not taken this for the work of hands.
    first = plant.process("line8")["observed_at"]
    plant.wait_until("line8", lambda s: s["observed_at"] > first and s["pid"], "is looked at")
    assert plant.run("remove", "line8").returncode == 0
    path = "/api/v1/collectors/line8/config/revisions"
    revisions = ask(plant, "GET", path)[1]["revisions"]
    assert [each["origin"] for each in revisions] == ["removed", "applied", "applied"]
    assert all(each["actor"].startswith("console:") for each in revisions)
