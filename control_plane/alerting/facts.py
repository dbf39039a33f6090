"""What the rules judge, and what they find; values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.contract.config_problems import ConfigProblem
from control_plane.domain.alerts import AlertSeverity, Subject
from control_plane.domain.node import NodeView
from control_plane.domain.process import ProcessStatus
from control_plane.domain.storage import StorageView

HERE = "local"
"""The only subject of kind ``installation``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFigures:
    """How the control plane itself is.

    Attributes:
        look_age_s: Since the newest look at everything ended.
        look_ms: How long it took.
        live_dropped: Listeners of the live channel cut off in the last five minutes: too slow.
        notify_queued: Notices that wait to be sent.
        database_error: Why the state database cannot be used now, ``None`` if it can.
        banned: Addresses that are shut out now.
        audit_findings: Places where the audit trail was tampered with; ``None`` before this process
            has checked it.
        log_findings: The same of sealed logs.
    """

    look_age_s: float = 0.0
    look_ms: float = 0.0
    live_dropped: int = 0
    notify_queued: int = 0
    database_error: str | None = None
    banned: tuple[str, ...] = ()
    audit_findings: int | None = 0
    log_findings: int | None = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The disk that holds DAQ_HOME."""

    free_bytes: int
    free_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """What the slowest store still has to take of a collector's queue, and what that may hold."""

    queued_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known in one look.

    Attributes:
        restarted: Processes that restarted since the look before, unasked.
        request_errors: Failed requests in 100 over five minutes, by process; without an entry
            there were too few to tell.
        spools: The queue on disk of each collector, where it is known.
        storage: ``None`` if the historian never said anything.
        clock_step_s: Largest jump of the wall clock in the last five minutes, signed; 0 if none.
        maintenance: Processes that people work on.
        given_up: Processes that automatic recovery leaves to people, with the cause in English and
            in Chinese.
        recovered: Processes that automatic recovery has restarted since the look before, with the
            cause in both languages.
        commanded: Processes for which a command of anybody has not ended.
        refused_files: What is wrong in the files of processes that cannot be used as they are.
    """

    statuses: Mapping[str, ProcessStatus]
    nodes: tuple[NodeView, ...] = ()
    storage: StorageView | None = None
    restarted: frozenset[str] = frozenset()
    request_errors: Mapping[str, float] = field(default_factory=dict)
    spools: Mapping[str, Spool] = field(default_factory=dict)
    disk: Disk | None = None
    clock_step_s: float = 0.0
    own: OwnFigures = OwnFigures()
    maintenance: frozenset[str] = frozenset()
    given_up: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    refused_files: Mapping[str, ConfigProblem] = field(default_factory=dict)
    recovered: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    commanded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is wrong now; the attributes are those of :class:`Alert`."""

    rule: str
    subject: Subject
    severity: AlertSeverity
    code: str
    params: Mapping[str, object] = field(default_factory=dict)
    value: float | None = None
    threshold: float | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)
    members: tuple[str, ...] = ()


ALL_RULES = frozenset({"*"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one look says.

    Attributes:
        conditions: What is wrong.
        held: Rules by subject of which nothing can be said now, or for which another alert
            speaks: whatever was, stays.
        excused: Subjects that are meant to be as they are, and why; nothing about them is wrong.
        subjects: Everything that exists; an alert about anything else ends.
    """

    conditions: tuple[Condition, ...]
    held: Mapping[Subject, frozenset[str]]
    excused: Mapping[Subject, str]
    subjects: frozenset[Subject]

    def holds(self, rule: str, subject: Subject) -> bool:
        rules = self.held.get(subject, frozenset())
        return rule in rules or rules is ALL_RULES
