"""Every query of every repository finds its rows by an index, on each engine.

A new repository method belongs into ``USES`` if it takes arguments; the test says so.
"""

import importlib
import inspect
import operator
import pkgutil
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from control_plane import storage
from control_plane.domain.alerts import (
    Alert,
    AlertEvent,
    AlertEventKind,
    AlertSeverity,
    AlertState,
    Note,
    Silence,
    Subject,
    SubjectKind,
)
from control_plane.domain.audit import AuditEvent
from control_plane.domain.config_revision import ConfigOrigin, ConfigRevision
from control_plane.domain.health import HealthStatus, ProcessHealth
from control_plane.domain.process import Desired
from control_plane.domain.recovery import (
    Decision,
    Maintenance,
    ProcessErrorType,
    RecoveryAction,
)
from control_plane.errors import UnknownSession
from control_plane.storage.accounts import Accounts
from control_plane.storage.alerts import AlertFilter, Alerts, Memory
from control_plane.storage.api_tokens import ApiTokens, TokenFacts
from control_plane.storage.audit import AuditFilter, AuditTrail
from control_plane.storage.audit_seal import AuditSeal
from control_plane.storage.config_revisions import ConfigRevisions
from control_plane.storage.database import StateDatabase
from control_plane.storage.desired_states import DesiredStates
from control_plane.storage.idempotent_answers import Answer, IdempotentAnswers
from control_plane.storage.models import TABLES
from control_plane.storage.notifications import NewNotice, Notifications
from control_plane.storage.pending_commands import Pending, PendingCommands
from control_plane.storage.process_history import ProcessHistory
from control_plane.storage.process_timeline import ProcessTimeline
from control_plane.storage.recovery import (
    MaintenanceWindows,
    RecoveryDecisions,
    RecoveryMemories,
)

SMALL = {
    "users", "sessions", "api_tokens", "setup_tokens", "incarnations", "desired_states",
    "pending_commands", "alert_memory", "recovery_memories", "maintenance",
}  # fmt: skip
"""Tables with a row for each person or collector; all others grow with time."""
BIG = {table._meta.table_name for table in TABLES} - SMALL
NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
EVENT = AuditEvent(
    at=NOW, actor="bob", origin="::1", action="process.stop", target="line1", outcome="done"
)
HEALTH = ProcessHealth(
    status=HealthStatus.HEALTHY, score=100.0, confidence=1.0, since=NOW, checks=()
)
ANSWER = Answer(status=200, content_type="application/json", body="{}")
DECISION = Decision(
    process="line1",
    category=ProcessErrorType.CONNECTION_ERROR,
    rule="device",
    wanted=RecoveryAction.RESET_CONNECTION,
    action=RecoveryAction.RESET_CONNECTION,
)
WINDOW = Maintenance(process="line1", until=NOW, actor="bob", reason="x")
COMMAND = Pending(process="line1", action="stop", actor="bob", origin="::1")
ALERT = Alert(
    id=7, rule="cpu", fingerprint="f", severity=AlertSeverity.WARNING, code="alert.cpu",
    subject=Subject(kind=SubjectKind.PROCESS, name="line1"), state=AlertState.FIRING,
    since=NOW, fired_at=NOW, last_change=NOW,
)  # fmt: skip
FIRED = AlertEvent(kind=AlertEventKind.FIRED, at=NOW, alert=ALERT)
MEMORY = Memory(boot_id="b", at=NOW, document="{}")
SHELF = Silence(
    id=0, rule="*", subject="line1", alert_id=None, until=NOW + timedelta(hours=1),
    note=Note(by="bob", at=NOW, reason="pump is away"),
)  # fmt: skip
NOTICE = NewNotice(
    channel="mail", event="7:fired", alert_id=7, kind="fired", due=NOW, document="{}"
)
CONFIG = ConfigRevision(
    id=0, collector="line1", revision="abc", at=NOW, origin=ConfigOrigin.APPLIED, actor="bob",
    comment="", size_bytes=4,
)  # fmt: skip

EVERYTHING = AuditFilter(
    actor="bob", origin="::1", action="process.*", target="line1", outcome="done", start=NOW,
    end=NOW + timedelta(hours=1),
)  # fmt: skip
TOKEN = TokenFacts(name="ci", role="viewer", created_at=NOW)


def not_found(error: type[Exception], use: Callable[[], object]) -> None:
    with pytest.raises(error):
        use()


USES: dict[type, dict[str, Callable[[Any], object]]] = {
    Alerts: {
        "write": lambda r: r.write([FIRED], MEMORY),
        "find": lambda r: r.find(7),
        "past": lambda r: r.past(AlertFilter(rule="cpu", subject="line1", severity="warning")),
        "fired_since": lambda r: r.fired_since(NOW),
        "returned": lambda r: r.returned(NOW, 10),
        "steps": lambda r: r.steps(7),
        "shelve": lambda r: r.shelve(SHELF),
        "silences": lambda r: r.silences(NOW),
        "unshelve": lambda r: r.unshelve(1, NOW),
        "prune": lambda r: r.prune(NOW, timedelta(days=1)),
    },
    Notifications: {
        "queue": lambda r: r.queue([NOTICE], NOW),
        "due": lambda r: r.due("mail", NOW),
        "waiting": lambda r: r.waiting("mail"),
        "next_due": lambda r: r.next_due("mail"),
        "was_sent": lambda r: r.was_sent("mail", 7),
        "end": lambda r: r.end([1], "sent", NOW),
        "retry": lambda r: r.retry([1], NOW, NOW, "refused"),
        "abandon": lambda r: r.abandon("mail", NOW),
        "latest": lambda r: r.latest("mail", 10),
        "prune": lambda r: r.prune(NOW, timedelta(days=1)),
    },
    Accounts: {
        "replace_setup_token": lambda r: r.replace_setup_token("t", NOW),
        "is_setup_token": lambda r: r.is_setup_token("t", NOW),
        "set_up": lambda r: r.set_up("t", "alice", "hash", NOW),
        "user": lambda r: r.user("alice"),
        "add_user": lambda r: r.add_user("bob", "viewer", "hash", NOW),
        "open_session": lambda r: r.open_session("alice", "s", "c", NOW),
        "session": lambda r: r.session("s", NOW + timedelta(minutes=2)),
        "end_session": lambda r: r.end_session("s"),
        "set_password": lambda r: r.set_password("alice", "hash"),
        "remove_ended_sessions": lambda r: r.remove_ended_sessions(NOW),
        "sessions": lambda r: r.sessions(NOW),
        "revoke_session": lambda r: not_found(UnknownSession, lambda: r.revoke_session("0" * 16)),
        "set_role": lambda r: r.set_role("bob", "operator"),
        "disable": lambda r: r.disable("bob", NOW),
        "enable": lambda r: r.enable("bob"),
    },
    ApiTokens: {
        "add": lambda r: r.add(TOKEN, "hash"),
        "find": lambda r: r.find("hash", NOW),
        "revoke": lambda r: r.revoke("ci"),
    },
    AuditTrail: {
        "record": lambda r: r.record(EVENT),
        "begin": lambda r: r.begin(NOW, restored=True),
        "anchor_the_end": lambda r: r.anchor_the_end(NOW),
        "entries": lambda r: r.entries(EVERYTHING),
        "pages": lambda r: list(r.pages(EVERYTHING)),
        "sealed_rows": lambda r: list(r.sealed_rows()),
        "was_commanded": lambda r: r.was_commanded("line1", NOW),
        "last_outcome": lambda r: r.last_outcome("line1"),
    },
    ConfigRevisions: {
        "add": lambda r: r.add(CONFIG, "text"),
        "newest": lambda r: r.newest("line1", 10, 5),
        "text": lambda r: r.text("line1", "abc"),
    },
    DesiredStates: {
        "want": lambda r: r.want("line1", Desired.STOP, "bob", NOW),
        "forget": lambda r: r.forget("line1"),
    },
    PendingCommands: {
        "begin": lambda r: r.begin(COMMAND, NOW),
        "end": lambda r: r.end("line1"),
        "all": lambda r: r.all(NOW),
        "processes": lambda r: r.processes(NOW),
    },
    IdempotentAnswers: {
        "begin": lambda r: r.begin("bob", "key", "print", NOW),
        "end": lambda r: r.end("bob", "key", ANSWER),
        "forget": lambda r: r.forget("bob", "key"),
    },
    RecoveryDecisions: {
        "add": lambda r: r.add(DECISION, "planned", NOW),
        "end": lambda r: r.end(1, "done", ""),
        "interrupted": lambda r: r.interrupted(NOW),
        "newest": lambda r: r.newest("line1", 10, 5),
        "prune": lambda r: r.prune(NOW, timedelta(days=1)),
    },
    RecoveryMemories: {
        "save": lambda r: r.save("line1", "boot", 1.0, {}),
    },
    MaintenanceWindows: {
        "begin": lambda r: r.begin(WINDOW),
        "end": lambda r: r.end("line1"),
        "present": lambda r: r.present(NOW),
    },
    ProcessHistory: {
        "last_incarnation": lambda r: r.last_incarnation("line1"),
        "note_incarnation": lambda r: r.note_incarnation("line1", 1, NOW, NOW),
        "restarts": lambda r: r.restarts("line1", NOW),
        "record_health": lambda r: r.record_health(NOW, [("line1", HEALTH)]),
        "prune": lambda r: r.prune(NOW, timedelta(days=1)),
    },
    ProcessTimeline: {
        "judgements": lambda r: r.judgements("line1", NOW, NOW),
        "restarts": lambda r: r.restarts("line1", NOW, NOW),
        "actions": lambda r: r.actions("line1", NOW, NOW, 10),
    },
}


def repositories() -> Iterator[type]:
    """Yield every class of the package that is made with a state database."""
    for found in pkgutil.iter_modules(storage.__path__, f"{storage.__name__}."):
        module = importlib.import_module(found.name)
        for _, each in inspect.getmembers(module, inspect.isclass):
            made_with = typing.get_type_hints(each.__init__) if "__init__" in vars(each) else {}
            if each.__module__ == found.name and StateDatabase in made_with.values():
                yield each


def uses_of(repository: type) -> dict[str, Callable[[Any], object]]:
    """Return the calls to examine; methods without arguments need not be listed."""
    plain = {
        name: operator.methodcaller(name)
        for name, each in vars(repository).items()
        if not name.startswith("_") and len(inspect.signature(each).parameters) == 1
    }
    return plain | USES.get(repository, {})


def made(repository: type, database: StateDatabase, home: Path) -> Any:
    more = [AuditSeal(home)] if repository is AuditTrail else []
    return repository(database, *more)


def test_every_repository_is_examined_here() -> None:
    public = {
        each: {name for name in vars(each) if not name.startswith("_")} for each in repositories()
    }
    assert len(public) >= 5
    assert {each: set(uses_of(each)) for each in public} == public


@pytest.mark.parametrize("repository", list(repositories()), ids=lambda each: each.__name__)
def test_no_query_reads_a_table_that_grows_from_end_to_end(
    repository: type, database: StateDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []
    with database.connection() as db:
        execute = db.execute_sql

        def listen(sql: str, parameters: Any = None) -> Any:
            asked.append((sql, parameters))
            return execute(sql, parameters)

        with monkeypatch.context() as patch:
            patch.setattr(db, "execute_sql", listen)
            for use in uses_of(repository).values():
                use(made(repository, database, tmp_path))
        full = [
            (sql, scan)
            for sql, parameters in asked
            if sql.startswith(("SELECT", "UPDATE", "DELETE"))
            for scan in full_scans(db, database.engine, sql, parameters)
        ]
    assert len(asked) >= len(uses_of(repository))
    assert full == []


def full_scans(db: Any, engine: str, sql: str, parameters: Any) -> list[str]:
    if engine == "sqlite":
        plan = db.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        return [detail for *_, detail in plan if scans_all(detail, sql)]
    # An empty table is read as a whole whatever its indexes; this asks for what they can do.
    db.execute_sql("SET enable_seqscan = off")
    ((plan,),) = db.execute_sql(f"EXPLAIN (FORMAT JSON) {sql}", parameters).fetchall()
    return [f"{n['Node Type']} on {n['Relation Name']}" for n in unbounded(plan[0]["Plan"])]


def scans_all(detail: str, sql: str) -> bool:
    """A step of SQLite's plan names a table by its alias, ``t1``, where the query gives one."""
    word, _, rest = detail.partition(" ")
    name = rest.split(" ")[0]
    table = next((t for t in BIG if f'"{t}" AS "{name}"' in sql), name)
    return word == "SCAN" and table in BIG


def unbounded(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the scans of big tables that no index condition narrows."""
    if node.get("Relation Name") in BIG and node["Node Type"].endswith("Scan"):
        narrowed = any("Index Cond" in n for n in [node, *node.get("Plans", [])])
        if not narrowed:
            yield node
    for child in node.get("Plans", []):
        yield from unbounded(child)


def test_the_check_itself_notices_a_full_scan(database: StateDatabase) -> None:
    sql = 'SELECT "t1"."id" FROM "health_history" AS "t1" WHERE "t1"."status" = \'critical\''
    with database.connection() as db:
        assert full_scans(db, database.engine, sql, ()) != []
