"""Tables of the state database. Times are milliseconds since the Unix epoch, UTC."""

from contextvars import ContextVar
from typing import Any

import peewee

current_database: ContextVar[Any] = ContextVar("current_database", default=None)
"""The database that the running piece of work has opened; None outside of any."""


class _CurrentDatabase(peewee.DatabaseProxy):
    """Sends each query to the database whose ``connection()`` it is made in, so that one process
    may have several open."""

    def initialize(self, obj: object) -> None:
        """Nothing to keep: see :attr:`obj`."""

    @property
    def obj(self) -> Any:
        return current_database.get()


class _Table(peewee.Model):
    class Meta:
        database = _CurrentDatabase()
        legacy_table_names = False


class User(_Table):
    id = peewee.AutoField()
    name = peewee.CharField(max_length=64, unique=True)
    role = peewee.CharField(max_length=16)
    password_hash = peewee.TextField()
    created_ms = peewee.BigIntegerField()
    disabled_ms = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "users"


class Session(_Table):
    token_hash = peewee.CharField(max_length=64, primary_key=True)
    user = peewee.ForeignKeyField(User, backref="sessions", on_delete="CASCADE")
    csrf_token = peewee.CharField(max_length=64)
    created_ms = peewee.BigIntegerField()
    last_used_ms = peewee.BigIntegerField(index=True)
    origin = peewee.CharField(max_length=80, default="")
    user_agent = peewee.CharField(max_length=200, default="")

    class Meta:
        table_name = "sessions"


class ApiToken(_Table):
    id = peewee.AutoField()
    name = peewee.CharField(max_length=64, unique=True)
    token_hash = peewee.CharField(max_length=64, unique=True)
    role = peewee.CharField(max_length=16)
    created_ms = peewee.BigIntegerField()
    expires_ms = peewee.BigIntegerField(null=True)
    last_used_ms = peewee.BigIntegerField(null=True)
    created_by = peewee.CharField(max_length=80, default="")

    class Meta:
        table_name = "api_tokens"


class SetupToken(_Table):
    token_hash = peewee.CharField(max_length=64, primary_key=True)
    expires_ms = peewee.BigIntegerField()

    class Meta:
        table_name = "setup_tokens"


class AuditEntry(_Table):
    id = peewee.AutoField()
    at_ms = peewee.BigIntegerField(index=True)
    actor = peewee.CharField(max_length=80)
    origin = peewee.CharField(max_length=80)
    action = peewee.CharField(max_length=40)
    target = peewee.CharField(max_length=80)
    outcome = peewee.CharField(max_length=16)
    detail = peewee.TextField(default="")
    mac = peewee.CharField(max_length=64, default="")

    class Meta:
        table_name = "audit"
        indexes = ((("target", "at_ms"), False),)


class Restart(_Table):
    id = peewee.AutoField()
    process = peewee.CharField(max_length=64)
    at_ms = peewee.BigIntegerField(index=True)
    pid = peewee.IntegerField()

    class Meta:
        table_name = "restarts"
        indexes = ((("process", "at_ms"), False),)


class Incarnation(_Table):
    """The newest process seen of each program, so that a restart is noticed across our own."""

    process = peewee.CharField(max_length=64, primary_key=True)
    pid = peewee.IntegerField()
    created_ms = peewee.BigIntegerField()

    class Meta:
        table_name = "incarnations"


class DesiredState(_Table):
    """What operators want: ``run`` or ``stop``."""

    process = peewee.CharField(max_length=64, primary_key=True)
    desired = peewee.CharField(max_length=8)
    actor = peewee.CharField(max_length=80)
    at_ms = peewee.BigIntegerField()

    class Meta:
        table_name = "desired_states"


class PendingCommand(_Table):
    process = peewee.CharField(max_length=64, primary_key=True)
    action = peewee.CharField(max_length=16)
    actor = peewee.CharField(max_length=80)
    origin = peewee.CharField(max_length=80)
    at_ms = peewee.BigIntegerField()

    class Meta:
        table_name = "pending_commands"


class IdempotentAnswer(_Table):
    """``place`` is a hash of user and key; ``status`` is null until the request was answered."""

    place = peewee.CharField(max_length=64, primary_key=True)
    fingerprint = peewee.CharField(max_length=64)
    at_ms = peewee.BigIntegerField(index=True)
    status = peewee.IntegerField(null=True)
    content_type = peewee.CharField(max_length=80, null=True)
    body = peewee.TextField(null=True)

    class Meta:
        table_name = "idempotent_answers"


class RecoveryDecision(_Table):
    """``category`` and ``guard`` are empty where there is none."""

    id = peewee.AutoField()
    process = peewee.CharField(max_length=64)
    at_ms = peewee.BigIntegerField(index=True)
    category = peewee.CharField(max_length=32)
    rule = peewee.CharField(max_length=32)
    wanted = peewee.CharField(max_length=32)
    action = peewee.CharField(max_length=32)
    guard = peewee.CharField(max_length=32)
    attempt = peewee.IntegerField()
    facts = peewee.TextField()
    outcome = peewee.CharField(max_length=16)
    detail = peewee.TextField()

    class Meta:
        table_name = "recovery_decisions"
        indexes = ((("process", "id"), False),)


class RecoveryMemory(_Table):
    """``saved_s``: reading of the monotonic clock of that boot."""

    process = peewee.CharField(max_length=64, primary_key=True)
    boot_id = peewee.CharField(max_length=64)
    saved_s = peewee.DoubleField()
    figures = peewee.TextField()

    class Meta:
        table_name = "recovery_memories"


class MaintenanceWindow(_Table):
    """``*`` is every process."""

    process = peewee.CharField(max_length=64, primary_key=True)
    until_ms = peewee.BigIntegerField()
    actor = peewee.CharField(max_length=80)
    reason = peewee.TextField()

    class Meta:
        table_name = "maintenance"


class AlertRecord(_Table):
    """One alert; its columns are what is searched for, ``document`` is all of it."""

    id = peewee.BigIntegerField(primary_key=True)
    fingerprint = peewee.CharField(max_length=16)
    rule = peewee.CharField(max_length=32)
    severity = peewee.CharField(max_length=16)
    subject = peewee.CharField(max_length=80)
    fired_ms = peewee.BigIntegerField(index=True)
    resolved_ms = peewee.BigIntegerField(null=True, index=True)
    acknowledged = peewee.IntegerField()
    document = peewee.TextField()

    class Meta:
        table_name = "alerts"


class AlertStep(_Table):
    id = peewee.AutoField()
    alert_id = peewee.BigIntegerField(index=True)
    at_ms = peewee.BigIntegerField(index=True)
    kind = peewee.CharField(max_length=16)
    actor = peewee.CharField(max_length=80)
    reason = peewee.TextField()
    severity = peewee.CharField(max_length=16)

    class Meta:
        table_name = "alert_events"


class AlertSilence(_Table):
    id = peewee.AutoField()
    rule = peewee.CharField(max_length=32)
    subject = peewee.CharField(max_length=80)
    alert_id = peewee.BigIntegerField(null=True)
    until_ms = peewee.BigIntegerField(index=True)
    actor = peewee.CharField(max_length=80)
    at_ms = peewee.BigIntegerField()
    reason = peewee.TextField()

    class Meta:
        table_name = "alert_silences"


class AlertMemory(_Table):
    """What the engine remembers, in one row; ``boot_id`` tells whose monotonic clock it is."""

    name = peewee.CharField(max_length=16, primary_key=True)
    boot_id = peewee.CharField(max_length=40)
    at_ms = peewee.BigIntegerField()
    document = peewee.TextField()

    class Meta:
        table_name = "alert_memory"


class Notification(_Table):
    """One notice for one channel; ``event`` makes sure that it is queued once."""

    id = peewee.AutoField()
    channel = peewee.CharField(max_length=40)
    event = peewee.CharField(max_length=60)
    alert_id = peewee.BigIntegerField(index=True)
    kind = peewee.CharField(max_length=16)
    state = peewee.CharField(max_length=8, index=True)
    attempts = peewee.IntegerField()
    queued_ms = peewee.BigIntegerField()
    due_ms = peewee.BigIntegerField()
    ended_ms = peewee.BigIntegerField(null=True, index=True)
    error = peewee.TextField()
    document = peewee.TextField()

    class Meta:
        table_name = "notifications"
        indexes = (
            (("channel", "event"), True),
            (("channel", "state"), False),
            (("channel", "id"), False),
        )


class HealthRecord(_Table):
    id = peewee.AutoField()
    process = peewee.CharField(max_length=64)
    at_ms = peewee.BigIntegerField(index=True)
    status = peewee.CharField(max_length=16)
    score = peewee.DoubleField(null=True)
    checks = peewee.TextField()

    class Meta:
        table_name = "health_history"
        indexes = ((("process", "at_ms"), False),)


class ConfigText(_Table):
    """``packed`` is the text, compressed by zlib."""

    id = peewee.AutoField()
    collector = peewee.CharField(max_length=64)
    revision = peewee.CharField(max_length=16)
    at_ms = peewee.BigIntegerField()
    origin = peewee.CharField(max_length=16)
    actor = peewee.CharField(max_length=80)
    comment = peewee.TextField()
    size_bytes = peewee.IntegerField()
    packed = peewee.BlobField()

    class Meta:
        table_name = "config_texts"
        indexes = ((("collector", "id"), False), (("collector", "revision"), False))


TABLES = (
    User,
    Session,
    ApiToken,
    SetupToken,
    AuditEntry,
    Restart,
    Incarnation,
    DesiredState,
    PendingCommand,
    IdempotentAnswer,
    RecoveryDecision,
    RecoveryMemory,
    MaintenanceWindow,
    AlertRecord,
    AlertStep,
    AlertSilence,
    AlertMemory,
    Notification,
    HealthRecord,
    ConfigText,
)
