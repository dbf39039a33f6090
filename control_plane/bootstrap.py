"""The composition root: builds every part once, starts them in order, stops them in reverse."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors.contract.store_urls import StoreUrlError
from collectors.history.read import HistoryReader
from collectors.history.readers import open_reader
from control_plane.alert_parts import AlertParts, Watched, build_alerts
from control_plane.audit_commands import CHECK_EVERY_S
from control_plane.clock import Clock, SystemClock
from control_plane.console import Console, build_console
from control_plane.errors import SettingsError, StorageError
from control_plane.live.hub import Hub
from control_plane.live.seats import SeatLimits
from control_plane.log_integrity import SEAL_EVERY_S
from control_plane.log_streams import LogListeners, LogStreams
from control_plane.monitor import Monitor, Picture
from control_plane.observation_parts import ObservationParts
from control_plane.recovery.service import RecoveryService
from control_plane.recovery_parts import build_recovery
from control_plane.scheduler import Job, Scheduler
from control_plane.settings import Settings
from control_plane.storage.audit_seal import ANCHOR_EVERY_S
from control_plane.storage.process_history import ProcessHistory
from control_plane.supervisor.program_files import SERVICES


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


@contextlib.contextmanager
def running(settings: Settings, clock: Clock | None = None) -> Iterator[ControlPlane]:
    """Run the control plane's threads for the length of the ``with`` block.

    Raises:
        HomeUnusable, StorageError.
    """
    clock = clock or SystemClock()
    console = build_console(settings, clock, lambda: monitor.wake())  # noqa: PLW0108 - built below
    process_history = ProcessHistory(console.database)
    hub = Hub(_seats(settings), clock.now)
    observation = ObservationParts(console, process_history, hub)
    monitor = observation.monitor
    log_streams = LogStreams(
        console.logs, lambda name: name in SERVICES or name in monitor.picture().processes
    )
    hub.add_stream(log_streams)
    log_listeners = LogListeners(console.audit, console.logs.secrets.redactor)
    hub.tell_of_listeners(log_listeners.note)
    recovery = build_recovery(console)
    monitor.tell(lambda picture: recovery.consider(list(picture.processes.values())))
    watched = Watched(
        monitor=monitor,
        recovery=recovery,
        hub=hub,
        gate=console.gate,
        audit=console.audit_commands,
        logs=console.log_integrity,
    )
    alerts = build_alerts(settings, console.database, console.audit, clock, watched)
    scheduler = Scheduler(_jobs(console, monitor, process_history, alerts))
    monitor.tell(lambda picture: console.collector_configs.notice(_file_revisions(picture)))
    monitor.tell(lambda _: scheduler.check_clock(clock.now(), clock.monotonic()))
    monitor.tell(
        lambda _: scheduler.keep_interval("health_check", console.limits.of("").check_interval)
    )
    with contextlib.ExitStack() as stack:
        stack.callback(console.database.close)
        stack.callback(_anchor_at_the_end, console)
        stack.callback(console.nodes.close)
        stack.callback(recovery.stop)
        observation.start()
        stack.callback(observation.stop)
        alerts.start()
        stack.callback(alerts.stop)
        _finish_interrupted(console)
        scheduler.start()
        stack.callback(scheduler.stop)
        stack.callback(log_streams.stop)
        log_listeners.start()
        stack.callback(log_listeners.stop)
        hub.start()
        stack.callback(hub.stop)
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


def _finish_interrupted(console: Console) -> None:
    """Bring commands to their end that the last control plane died amid.

    Not waited for: a process may take its time to stop, and people want to see that.
    """
    if interrupted := console.process_commands.interrupted():
        threading.Thread(
            target=console.process_commands.finish,
            args=(interrupted,),
            name="interrupted-commands",
            daemon=True,
        ).start()


def _file_revisions(picture: Picture) -> dict[str, str]:
    return {
        name: status.file_revision
        for name, status in picture.processes.items()
        if status.file_revision is not None
    }


def _seats(settings: Settings) -> SeatLimits:
    return SeatLimits(
        clients=settings.max_live_clients,
        per_user=settings.max_live_per_user,
        per_address=settings.max_live_per_address,
    )


def _history(settings: Settings) -> HistoryReader:
    try:
        return open_reader(settings.reader, settings.home)
    except StoreUrlError as exc:
        rule = f"a store whose token is there ({exc})"
        raise SettingsError(variable="DAQ_READER", value=settings.reader.name, rule=rule) from exc


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
        Job(id="audit_check", run=console.audit_commands.watch, every_s=CHECK_EVERY_S),
        Job(id="audit_anchor", run=lambda: _anchor_audit(console), every_s=ANCHOR_EVERY_S),
        Job(
            id="history_retention",
            run=lambda: history.prune(now(), keep),
            daily_utc="02:40",
        ),
        Job(id="alert_retention", run=lambda: alerts.prune(now(), keep), daily_utc="02:50"),
        Job(id="log_seals", run=console.log_integrity.seal, every_s=SEAL_EVERY_S),
        Job(id="log_verification", run=console.log_integrity.check_daily, daily_utc="03:20"),
        Job(id="database_checkpoint", run=console.database.checkpoint, daily_utc="03:10"),
    )


def _anchor_audit(console: Console) -> None:
    console.audit.note_further_refusals()
    console.audit.trail.anchor_the_end(console.clock.now())


def _anchor_at_the_end(console: Console) -> None:
    with contextlib.suppress(StorageError):
        _anchor_audit(console)
