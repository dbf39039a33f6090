"""The composition root: builds every part once, starts them in order, stops them in reverse."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from collectors.contract.heartbeat import Heartbeat, HeartbeatError, parse_heartbeat
from collectors.contract.ledger import ledger_path
from collectors.contract.store_urls import StoreUrlError
from collectors.history.read import HistoryReader
from collectors.history.readers import open_reader
from control_plane.account_commands import AccountCommands
from control_plane.alert_parts import AlertParts, Watched, build_alerts
from control_plane.backup.restore import refuse_half_restored
from control_plane.chronicle import Chronicle
from control_plane.clock import Clock, SystemClock
from control_plane.collector_changes import CollectorChanges
from control_plane.device_commands import DeviceCommands
from control_plane.domain.node import LOCAL_NODE, Tier, program_and_node
from control_plane.errors import (
    ControlPlaneError,
    HomeUnusable,
    InvalidProgramFile,
    SettingsError,
)
from control_plane.limits_file import LimitsFile
from control_plane.live.hub import Hub
from control_plane.logs.known_secrets import KnownSecrets
from control_plane.maintenance import MaintenanceCommands
from control_plane.monitor import Judging, Monitor
from control_plane.node_watch import LOOK_TIMEOUT_S, Context, NodeWatches
from control_plane.observer import ObservedNode, Observer
from control_plane.operations import CollectorFacts, CommandMemory, ProcessCommands
from control_plane.program_logs import ProgramLogs
from control_plane.recovery.service import RecoveryHands, RecoveryService, RecoveryStores
from control_plane.recovery_actions import RecoveryActions
from control_plane.scheduler import Job, Scheduler
from control_plane.settings import Settings
from control_plane.storage.accounts import Accounts
from control_plane.storage.audit import AuditTrail
from control_plane.storage.collector_files import CollectorFiles
from control_plane.storage.database import StateDatabase
from control_plane.storage.desired_states import DesiredStates
from control_plane.storage.pending_commands import PendingCommands
from control_plane.storage.process_history import ProcessHistory
from control_plane.storage.recovery import (
    MaintenanceWindows,
    RecoveryDecisions,
    RecoveryMemories,
)
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.event_stream import EventStream
from control_plane.supervisor.nodes import Nodes
from control_plane.supervisor.program_changes import ProgramChanges
from control_plane.supervisor.program_files import check_program_name, may_be_collector
from control_plane.supervisor.transport import UnixAddress
from control_plane.telemetry.heartbeats import latest_heartbeat
from control_plane.telemetry.host_usage import is_disk_low
from control_plane.telemetry.local import LocalTelemetry

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
    """The parts without threads: all that the command line needs, control plane up or down."""

    settings: Settings
    clock: Clock
    nodes: Nodes
    logs: ProgramLogs
    limits: LimitsFile
    database: StateDatabase
    audit: AuditTrail
    desired: DesiredStates
    accounts: Accounts
    account_commands: AccountCommands
    process_commands: ProcessCommands
    device_commands: DeviceCommands
    maintenance: MaintenanceCommands
    collector_changes: CollectorChanges
    applied_migrations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """The running control plane, as the API sees it."""

    console: Console
    monitor: Monitor
    recovery: RecoveryService
    alerts: AlertParts
    scheduler: Scheduler
    hub: Hub
    history: HistoryReader
    started_at: datetime


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
    audit, desired, accounts = AuditTrail(database), DesiredStates(database), Accounts(database)
    memory = CommandMemory(audit=audit, desired=desired, pending=PendingCommands(database))
    facts = _facts(settings, nodes)
    return Console(
        settings=settings,
        clock=clock,
        nodes=nodes,
        logs=ProgramLogs(settings.log_dir, nodes, KnownSecrets(settings.home)),
        limits=LimitsFile(settings.home / "health.toml"),
        database=database,
        audit=audit,
        desired=desired,
        accounts=accounts,
        account_commands=AccountCommands(accounts, audit, clock),
        process_commands=ProcessCommands(nodes, memory, clock, facts, wake),
        device_commands=DeviceCommands(nodes, audit, clock, facts),
        maintenance=MaintenanceCommands(
            MaintenanceWindows(database), audit, clock, facts.is_collector
        ),
        collector_changes=CollectorChanges(
            settings.home,
            local.client,
            ProgramChanges(settings.home, local.client, local.manager),
            audit,
            desired,
            clock,
        ),
        applied_migrations=tuple(applied),
    )


@contextlib.contextmanager
def running(settings: Settings, clock: Clock | None = None) -> Iterator[ControlPlane]:
    """Run the control plane's threads for the length of the ``with`` block.

    Raises:
        HomeUnusable, StorageError.
    """
    clock = clock or SystemClock()
    console = build_console(settings, clock, lambda: monitor.wake())  # noqa: PLW0108 - built below
    process_history = ProcessHistory(console.database)
    hub = Hub(settings.max_live_clients, clock.now)
    # A connection of its own: a slow command must not hold up the look at everything else.
    observing = SupervisorClient(console.nodes.local.address, LOOK_TIMEOUT_S)
    observer = local_observer(console, observing)
    chronicle = Chronicle(process_history, console.audit, console.desired, clock)
    watches = NodeWatches(
        console.nodes,
        observing_context(console),
        on_change=lambda: monitor.wake(),  # noqa: PLW0108 - built below
        on_foreign_call=console.process_commands.adopt,
    )
    judging = Judging(limits=console.limits, home=settings.home)
    monitor = Monitor(judging, (observer, watches), process_history, chronicle, hub, clock)
    recovery = _recovery(console)
    monitor.tell(lambda picture: recovery.consider(list(picture.processes.values())))
    watched = Watched(monitor=monitor, recovery=recovery, hub=hub)
    alerts = build_alerts(settings, console.database, clock, watched)
    scheduler = Scheduler(_jobs(console, monitor, process_history, alerts))
    monitor.tell(lambda _: scheduler.check_clock(clock.now(), clock.monotonic()))
    with contextlib.ExitStack() as stack:
        stack.callback(console.database.close)
        stack.callback(console.nodes.close)
        stack.callback(observing.close)
        stack.callback(watches.stop)
        stack.callback(recovery.stop)
        monitor.start()
        stack.callback(monitor.stop)
        alerts.start()
        stack.callback(alerts.stop)
        address = console.nodes.local.address
        events = EventStream(address, monitor.wake, console.process_commands.adopt)
        events.start()
        stack.callback(events.stop)
        if interrupted := console.process_commands.interrupted():
            # Not waited for: a process may take its time to stop, and people want to see that.
            threading.Thread(
                target=console.process_commands.finish,
                args=(interrupted,),
                name="interrupted-commands",
                daemon=True,
            ).start()
        scheduler.start()
        stack.callback(scheduler.stop)
        stack.callback(hub.close)
        yield ControlPlane(
            console=console,
            monitor=monitor,
            recovery=recovery,
            alerts=alerts,
            scheduler=scheduler,
            hub=hub,
            history=_history(settings),
            started_at=clock.now(),
        )


def _recovery(console: Console) -> RecoveryService:
    settings, database = console.settings, console.database
    stores = RecoveryStores(
        decisions=RecoveryDecisions(database),
        memories=RecoveryMemories(database),
        maintenance=MaintenanceWindows(database),
    )
    actions = RecoveryActions(console.process_commands, console.device_commands, settings.log_dir)
    return RecoveryService(
        stores,
        console.limits,
        RecoveryHands(
            do=actions.do,
            under_way=console.process_commands.under_way,
            is_disk_low=lambda: is_disk_low(settings.home),
        ),
        console.clock,
    )


def _history(settings: Settings) -> HistoryReader:
    try:
        return open_reader(settings.reader, settings.home)
    except StoreUrlError as exc:
        rule = f"a store whose token is there ({exc})"
        raise SettingsError(variable="DAQ_READER", value=settings.reader.name, rule=rule) from exc


def observing_context(console: Console) -> Context:
    """Return what observers of other machines need."""
    return Context(
        clock=console.clock,
        secrets=console.logs.secrets,
        stopped_by_operators=console.desired.stopped,
        known_processes=ProcessHistory(console.database).known_processes,
    )


def local_observer(console: Console, client: SupervisorClient) -> Observer:
    """Return an observer of this machine."""
    settings, clock = console.settings, console.clock
    catalogue = CollectorFiles(settings.collectors_dir)
    return Observer(
        ObservedNode(
            name=LOCAL_NODE,
            address=console.nodes.local.address.label,
            stock_tier=Tier.PIDFD_POLL,
            client=client,
            telemetry=LocalTelemetry(settings.home, clock.monotonic),
            list_collectors=lambda _: catalogue.scan(),
            log_of=console.logs.reader,
        ),
        console.desired.stopped,
        clock,
    )


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


def _jobs(
    console: Console, monitor: Monitor, history: ProcessHistory, alerts: AlertParts
) -> tuple[Job, ...]:
    now = console.clock.now
    check_interval = console.limits.of("").check_interval
    keep = timedelta(days=console.settings.state_keep_days)
    return (
        Job(id="health_check", run=monitor.record_health, every_s=check_interval),
        Job(
            id="ended_sessions",
            run=lambda: console.accounts.remove_ended_sessions(now()),
            every_s=600,
        ),
        Job(
            id="history_retention",
            run=lambda: history.prune(now(), keep),
            daily_utc="02:40",
        ),
        Job(id="alert_retention", run=lambda: alerts.prune(now(), keep), daily_utc="02:50"),
        Job(id="database_checkpoint", run=console.database.checkpoint, daily_utc="03:10"),
    )
