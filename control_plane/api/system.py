"""The installation itself: services, this machine, scheduled jobs."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from control_plane.api.identity import actor_with
from control_plane.api.parameters import whole_number
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.storage import StorageView, StoreLedger
from control_plane.monitor import ServiceStatus
from control_plane.telemetry.host_usage import sample_host
from control_plane.telemetry.storage_status import look_at_storage
from control_plane.version import VERSION

_OLD_NEWS_S = 10.0
_MAX_LEDGERS = 5000


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
    def system() -> Response:
        actor_with(Permission.VIEW)
        return jsonify(
            version=VERSION,
            started_at=plane.started_at.isoformat().replace("+00:00", "Z"),
            services=[_service(service) for service in plane.monitor.picture().services],
            host=asdict(sample_host(plane.console.settings.home)),
            scheduler=[
                {"id": id_, "next_run_at": at.isoformat().replace("+00:00", "Z") if at else None}
                for id_, at in plane.scheduler.next_runs().items()
            ],
            live_clients=plane.hub.client_count,
        )

    @blueprint.get("/api/v1/system/storage")
    def storage() -> Response:
        actor_with(Permission.VIEW)
        limit = whole_number("limit", 100, _MAX_LEDGERS)
        return jsonify(_storage(look_at_storage(plane.console.settings.home), limit))

    return blueprint


def _storage(view: StorageView | None, limit: int) -> dict[str, object]:
    """Return the sums of every store, and the ledgers that want most to be looked at."""
    if view is None:
        return {"age_s": None, "records_missing": None, "stores": [], "ledgers": [], "count": 0}
    worst = sorted(view.ledgers, key=lambda each: each.trouble, reverse=True)[:limit]
    return {
        "age_s": round(view.age_s, 1),
        "records_missing": view.records_missing,
        "stores": [
            asdict(each) | {"total": _counts(view.total(each.name))} for each in view.stores
        ],
        "ledgers": [_counts(each) for each in worst],
        "count": len(view.ledgers),
    }


def _counts(ledger: StoreLedger) -> dict[str, object]:
    """Leave out what a sum has no name for."""
    return {key: value for key, value in asdict(ledger).items() if key != "collector" or value}


def _service(service: ServiceStatus) -> dict[str, object]:
    return {
        "name": service.info.name,
        "status": service.info.status,
        "supervisor_state": service.info.state,
        "pid": service.info.pid,
        "cpu_percent": service.cpu_percent,
        "memory_mb": service.memory_mb,
        "uptime_seconds": None if service.uptime_s is None else round(service.uptime_s, 1),
    }
