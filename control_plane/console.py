"""The parts without threads, which the command line and the running control plane share."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collectors.contract.heartbeat import Heartbeat, HeartbeatError, parse_heartbeat
from collectors.contract.ledger import ledger_path
from control_plane.account_commands import AccountCommands
from control_plane.audit_commands import AuditCommands
from control_plane.auditor import Auditor
from control_plane.auth.gate import Gate
from control_plane.auth.permissions import Actor, Role
from control_plane.backup.restore import refuse_half_restored
from control_plane.clock import Clock, SystemClock
from control_plane.collector_changes import CollectorChanges
from control_plane.collector_configs import CollectorConfigs
from control_plane.device_commands import DeviceCommands
from control_plane.domain.node import LOCAL_NODE, program_and_node
from control_plane.errors import ControlPlaneError, HomeUnusable, InvalidProgramFile
from control_plane.limits_file import LimitsFile
from control_plane.log_integrity import LogIntegrity
from control_plane.logs.known_secrets import KnownSecrets
from control_plane.maintenance import MaintenanceCommands
from control_plane.operations import CollectorFacts, CommandMemory, ProcessCommands
from control_plane.program_logs import ProgramLogs
from control_plane.settings import Settings
from control_plane.storage.accounts import Accounts
from control_plane.storage.api_tokens import ApiTokens
from control_plane.storage.audit import AuditTrail
from control_plane.storage.audit_seal import AuditSeal
from control_plane.storage.config_revisions import ConfigRevisions
from control_plane.storage.database import StateDatabase
from control_plane.storage.desired_states import DesiredStates
from control_plane.storage.pending_commands import PendingCommands
from control_plane.storage.recovery import MaintenanceWindows
from control_plane.supervisor.nodes import Nodes
from control_plane.supervisor.program_changes import ProgramChanges
from control_plane.supervisor.program_files import check_program_name, may_be_collector
from control_plane.supervisor.transport import UnixAddress
from control_plane.telemetry.heartbeats import latest_heartbeat

log = logging.getLogger(__name__)

_GATE = Actor(name="gate", role=Role.VIEWER, origin="control-plane")
_DIRECTORIES = ("run", "run/heartbeat", "run/lock", "log", "spool", "history", "collectors.d")


def prepare_home(home: Path) -> None:
    """Create the directories of an installation, for their owner only.

    Raises:
        HomeUnusable: names the directory and the reason.
    """
    try:
        home.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name in _DIRECTORIES:
            (home / name).mkdir(mode=0o750, parents=True, exist_ok=True)
        probe = home / "run" / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as exc:
        raise HomeUnusable(path=str(home), reason=exc.strerror or str(exc)) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """All that the command line needs, control plane up or down."""

    settings: Settings
    clock: Clock
    nodes: Nodes
    logs: ProgramLogs
    log_integrity: LogIntegrity
    limits: LimitsFile
    database: StateDatabase
    audit: Auditor
    audit_commands: AuditCommands
    desired: DesiredStates
    accounts: Accounts
    tokens: ApiTokens
    gate: Gate
    account_commands: AccountCommands
    process_commands: ProcessCommands
    device_commands: DeviceCommands
    maintenance: MaintenanceCommands
    collector_changes: CollectorChanges
    collector_configs: CollectorConfigs
    applied_migrations: tuple[str, ...]


def build_console(
    settings: Settings, clock: Clock | None = None, wake: Callable[[], None] = lambda: None
) -> Console:
    """Build the parts that need no thread, with the schema up to date.

    Raises:
        HomeUnusable, StorageError.
    """
    clock = clock or SystemClock()
    prepare_home(settings.home)
    refuse_half_restored(settings.home)
    database = StateDatabase(settings.database_url)
    applied = database.migrate(settings.home / "run")
    nodes = Nodes(
        UnixAddress(settings.socket_path),
        settings.home / "nodes.toml",
        settings.installation_id,
        settings.home / "run" / "lock",
        _forget_crashes(settings),
    )
    local = nodes.local
    audit = Auditor(_audit_trail(settings, database, clock), clock)
    desired = DesiredStates(database)
    accounts, tokens = Accounts(database), ApiTokens(database)
    memory = CommandMemory(audit=audit, desired=desired, pending=PendingCommands(database))
    facts = _facts(settings, nodes)
    changes = CollectorChanges(
        settings.home,
        local.client,
        ProgramChanges(settings.home, local.client, local.manager),
        audit,
        desired,
        clock,
    )
    gate = Gate(_ban_noted_by(audit), clock.monotonic)
    return Console(
        settings=settings,
        clock=clock,
        nodes=nodes,
        logs=ProgramLogs(settings.log_dir, nodes, KnownSecrets(settings.home)),
        log_integrity=LogIntegrity(settings.home, settings.log_dir, audit, clock),
        limits=LimitsFile(settings.home / "health.toml"),
        database=database,
        audit=audit,
        audit_commands=AuditCommands(audit),
        desired=desired,
        accounts=accounts,
        tokens=tokens,
        gate=gate,
        account_commands=AccountCommands(accounts, tokens, gate, audit, clock),
        process_commands=ProcessCommands(nodes, memory, clock, facts, wake),
        device_commands=DeviceCommands(nodes, audit, clock, facts),
        maintenance=MaintenanceCommands(
            MaintenanceWindows(database), audit, clock, facts.is_collector
        ),
        collector_changes=changes,
        collector_configs=CollectorConfigs(
            settings.collectors_dir, changes, ConfigRevisions(database), audit, clock
        ),
        applied_migrations=tuple(applied),
    )


def _audit_trail(settings: Settings, database: StateDatabase, clock: Clock) -> AuditTrail:
    trail = AuditTrail(database, AuditSeal(settings.home))
    trail.begin(clock.now())
    return trail


def _ban_noted_by(audit: Auditor) -> Callable[[str, str, float], None]:
    def note(address: str, reason: str, seconds: float) -> None:
        log.warning("client banned", extra={"address": address, "reason": reason})
        detail = f"{reason}, {seconds:.0f} s"
        audit.note(_GATE, "client.ban", address, "done", detail)

    return note


def _facts(settings: Settings, nodes: Nodes) -> CollectorFacts:
    def is_collector(name: str) -> bool:
        program, node = program_and_node(name)
        if node != LOCAL_NODE:
            return node in nodes.remote() and may_be_collector(program)
        try:
            check_program_name(name, "collector")
        except InvalidProgramFile:
            return False
        return (settings.collectors_dir / f"{name}.toml").is_file()

    def latest_beat(name: str) -> Heartbeat | None:
        if program_and_node(name)[1] == LOCAL_NODE:
            seen = latest_heartbeat(settings.home, name)
            return seen.beat if seen else None
        try:
            program = nodes.of(name).client.plugin.stats().programs.get(name)
            text = program.heartbeat if program else None
            return parse_heartbeat(text, name) if text is not None else None
        except (ControlPlaneError, HeartbeatError):
            return None

    return CollectorFacts(is_collector=is_collector, latest_beat=latest_beat)


def _forget_crashes(settings: Settings) -> Callable[[str], None]:
    """Whoever starts a collector has seen that it crashed: its own limit counts anew."""

    def forget(name: str) -> None:
        with contextlib.suppress(OSError):
            ledger_path(settings.home, name).unlink(missing_ok=True)

    return forget
