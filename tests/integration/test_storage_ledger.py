"""``/api/v1/system/storage``: the conservation ledger as the historian's status file has it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collectors.contract.historian_status import (
    STATUS_FILE,
    HistorianStatus,
    LedgerStatus,
    StoreStatus,
    write_historian_status,
)
from control_plane.api.app import create_app
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.settings import load_settings
from control_plane.telemetry.storage_status import look_at_storage

ME = Actor(name="console:test", role=Role.ADMIN, origin="console")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        yield plane


def ask(plane: ControlPlane, query: str = "") -> Any:
    token = plane.console.account_commands.create_token(ME, f"t{query}", Role.VIEWER)
    answer = (
        create_app(plane)
        .test_client()
        .get(f"/api/v1/system/storage{query}", headers={"Authorization": f"Bearer {token}"})
    )
    assert answer.status_code == 200, answer.text
    return answer.json


def ledger(stored: int, **facts: Any) -> LedgerStatus:
    known = {"records_stored": stored, "records_queued": 2, "records_dead": 1} | facts
    return LedgerStatus(records_in=known.pop("records_in", stored + 3), **known)


def say(home: Path, collectors: dict[str, dict[str, LedgerStatus]]) -> None:
    status = HistorianStatus(
        pid=1,
        sent_at=datetime.now(UTC),
        stores=(
            StoreStatus(name="embedded", url="embedded:"),
            StoreStatus(name="vm", url="vm+http://x", error="refused", retry_in_s=3.5),
        ),
        collectors=collectors,
    )
    write_historian_status(home / "run", status)


def test_before_the_historian_has_said_anything_it_is_unknown(
    plane: ControlPlane, tmp_path: Path
) -> None:
    unknown = {"age_s": None, "records_missing": None, "stores": [], "ledgers": [], "count": 0}
    assert ask(plane) == unknown
    (tmp_path / "run" / STATUS_FILE).write_text("{")
    assert ask(plane, "?limit=1") == unknown


def test_each_store_has_its_sum_and_what_balances_has_nothing_missing(
    plane: ControlPlane, tmp_path: Path
) -> None:
    say(
        tmp_path,
        {
            "line1": {"embedded": ledger(10), "vm": ledger(5, lag_s=7.5, last_error="refused")},
            "line2": {"embedded": ledger(20, lag_s=0.5), "vm": ledger(0)},
        },
    )
    found = ask(plane)
    assert found["age_s"] < 60
    assert (found["records_missing"], found["count"]) == (0, 4)
    embedded, vm = found["stores"]
    assert (embedded["name"], embedded["error"], vm["error"]) == ("embedded", None, "refused")
    total = embedded["total"]
    assert (total["records_in"], total["records_stored"], total["lag_s"]) == (36, 30, 0.5)
    assert total["records_in"] == sum(
        total[f"records_{each}"] for each in ("stored", "queued", "dropped", "dead")
    )
    assert vm["total"]["last_error"] == "refused"


def test_what_wants_to_be_looked_at_comes_first(plane: ControlPlane, tmp_path: Path) -> None:
    say(
        tmp_path,
        {
            "a": {"embedded": ledger(10)},
            "b": {"embedded": ledger(10, lag_s=60.0)},
            "c": {"embedded": ledger(10, records_in=20)},
            "d": {"embedded": ledger(10, last_error="disk is full")},
        },
    )
    found = ask(plane, "?limit=3")
    assert [each["collector"] for each in found["ledgers"]] == ["c", "d", "b"]
    assert found["ledgers"][0]["records_missing"] == 7
    assert (found["records_missing"], found["count"]) == (7, 4)
    view = look_at_storage(tmp_path)
    assert view is not None
    assert view.records_missing == 7
