"""The installation itself: services, this machine, scheduled jobs."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, Field

from control_plane.api.endpoint import endpoint
from control_plane.api.parsing import Query
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.process import ProcessState, SupervisorState
from control_plane.domain.storage import StorageView, StoreLedger
from control_plane.monitor import ServiceStatus
from control_plane.telemetry.host_usage import HostUsage, sample_host
from control_plane.telemetry.storage_status import look_at_storage
from control_plane.version import VERSION

_OLD_NEWS_S = 10.0
_MAX_LEDGERS = 5000


class ServiceView(BaseModel):
    """One of our own programs."""

    name: str
    status: ProcessState
    supervisor_state: SupervisorState
    pid: int | None
    cpu_percent: float | None
    memory_mb: float | None
    uptime_seconds: float | None


class ScheduledJob(BaseModel):
    id: str
    next_run_at: datetime | None


class SystemState(BaseModel):
    version: str
    started_at: datetime
    services: list[ServiceView]
    host: HostUsage
    scheduler: list[ScheduledJob]
    live_clients: int


class LedgerQuery(Query):
    limit: Annotated[int, Field(ge=1, le=_MAX_LEDGERS)] = 100


class LedgerCounts(BaseModel):
    """What became of the records of all collectors in one store; ``records_missing`` is 0 as long
    as it balances."""

    store: str
    records_in: int
    records_stored: int
    records_queued: int
    records_dropped: int
    records_dead: int
    records_missing: int
    samples_stored: int
    samples_dropped: int
    samples_dead: int
    queued_bytes: int
    lag_s: float
    last_error: str | None


class Ledger(LedgerCounts):
    collector: str


class StoreState(BaseModel):
    name: str
    url: str
    error: str | None
    retry_in_s: float
    total: LedgerCounts


class StorageState(BaseModel):
    """The sums of every store, and of ``count`` ledgers those that want most to be looked at.
    ``age_s`` is since the historian said this; null if it never did."""

    age_s: float | None
    records_missing: int | None
    stores: list[StoreState]
    ledgers: list[Ledger]
    count: int


def system_blueprint(plane: ControlPlane) -> Blueprint:
    """The routes ``/healthz`` (open to all) and ``/api/v1/system``."""
    blueprint = Blueprint("system", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        # A monitor that no longer looks makes everything else on the page old news.
        alive = plane.monitor.picture_age_s() < _OLD_NEWS_S
        response = jsonify(status="ok" if alive else "stale", version=VERSION)
        response.status_code = 200 if alive else 503
        return response

    @blueprint.get("/api/v1/system")
    @endpoint(Permission.VIEW)
    def system() -> SystemState:
        """Show our own programs, this machine and what is scheduled."""
        return SystemState(
            version=VERSION,
            started_at=plane.started_at,
            services=[_service(service) for service in plane.monitor.picture().services],
            host=sample_host(plane.console.settings.home),
            scheduler=[
                ScheduledJob(id=id_, next_run_at=at)
                for id_, at in plane.scheduler.next_runs().items()
            ],
            live_clients=plane.hub.client_count,
        )

    @blueprint.get("/api/v1/system/storage")
    @endpoint(Permission.VIEW)
    def storage(query: LedgerQuery) -> StorageState:
        """Show what became of every record, store by store."""
        return _storage(look_at_storage(plane.console.settings.home), query.limit)

    return blueprint


def _storage(view: StorageView | None, limit: int) -> StorageState:
    if view is None:
        return StorageState(age_s=None, records_missing=None, stores=[], ledgers=[], count=0)
    worst = sorted(view.ledgers, key=lambda each: each.trouble, reverse=True)[:limit]
    return StorageState(
        age_s=round(view.age_s, 1),
        records_missing=view.records_missing,
        stores=[
            StoreState(**asdict(each), total=_total(view.total(each.name))) for each in view.stores
        ],
        ledgers=[Ledger(**asdict(each)) for each in worst],
        count=len(view.ledgers),
    )


def _total(ledger: StoreLedger) -> LedgerCounts:
    """Leave out what a sum has no name for."""
    facts: dict[str, Any] = asdict(ledger)
    del facts["collector"]
    return LedgerCounts(**facts)


def _service(service: ServiceStatus) -> ServiceView:
    return ServiceView(
        name=service.info.name,
        status=service.info.status,
        supervisor_state=service.info.state,
        pid=service.info.pid,
        cpu_percent=service.cpu_percent,
        memory_mb=service.memory_mb,
        uptime_seconds=None if service.uptime_s is None else round(service.uptime_s, 1),
    )
