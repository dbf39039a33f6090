"""Builds the Flask application around a running control plane."""

from flask import Flask, Response, g, request

from control_plane.api.alerts import alerts_blueprint
from control_plane.api.audit import audit_blueprint
from control_plane.api.channels import channels_blueprint
from control_plane.api.collectors import collectors_blueprint
from control_plane.api.commands import commands_blueprint
from control_plane.api.documentation import documentation_blueprint
from control_plane.api.endpoint import declaration_of, require_declarations
from control_plane.api.errors import register_error_handlers
from control_plane.api.health import health_blueprint
from control_plane.api.history import history_blueprint
from control_plane.api.identity import identify
from control_plane.api.live import register_live_channel, without_compression
from control_plane.api.log_integrity import log_integrity_blueprint
from control_plane.api.logs import logs_blueprint
from control_plane.api.metrics import metrics_blueprint
from control_plane.api.nodes import nodes_blueprint
from control_plane.api.panel import panel_blueprint
from control_plane.api.people import people_blueprint
from control_plane.api.processes import processes_blueprint
from control_plane.api.proxies import from_the_network
from control_plane.api.recovery import recovery_blueprint
from control_plane.api.session import session_blueprint
from control_plane.api.silences import silences_blueprint
from control_plane.api.simulators import simulators_blueprint
from control_plane.api.system import system_blueprint
from control_plane.bootstrap import ControlPlane

MAX_BODY_BYTES = 1 << 20
MAX_CONFIG_BYTES = 4 << 20
"""A collector's file with 20,000 points, or a table of them."""
_BLUEPRINTS = (
    session_blueprint,
    people_blueprint,
    audit_blueprint,
    processes_blueprint,
    logs_blueprint,
    log_integrity_blueprint,
    commands_blueprint,
    collectors_blueprint,
    health_blueprint,
    history_blueprint,
    system_blueprint,
    nodes_blueprint,
    recovery_blueprint,
    alerts_blueprint,
    silences_blueprint,
    simulators_blueprint,
    metrics_blueprint,
    channels_blueprint,
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def body_limit(path: str) -> int:
    """Return how many bytes the body of a request for ``path`` may have."""
    return MAX_CONFIG_BYTES if path.startswith("/api/v1/collectors") else MAX_BODY_BYTES


def create_app(plane: ControlPlane) -> Flask:
    """Return the application: API, live channel and panel."""
    app = Flask("control_plane", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    register_error_handlers(app)

    @app.before_request
    def know_the_sender() -> None:
        """Deny by default: below /api strangers get what is declared as open, and no more."""
        request.max_content_length = body_limit(request.path)
        view = app.view_functions.get(request.endpoint or "")
        declaration = declaration_of(view)
        is_open = declaration is not None and declaration.permission is None
        if request.path.startswith("/api/") and not is_open:
            g.actor = identify(plane)

    @app.after_request
    def add_security_headers(response: Response) -> Response:
        for name, value in _SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        if request.path.startswith("/api/"):
            response.headers["Cache-Control"] = "no-store"
        return response

    for blueprint in _BLUEPRINTS:
        app.register_blueprint(blueprint(plane))
    app.register_blueprint(documentation_blueprint())
    register_live_channel(app, plane)
    app.register_blueprint(panel_blueprint())
    require_declarations(app)
    outside = from_the_network(app, plane.console.settings)
    app.wsgi_app = without_compression(outside)  # type: ignore[method-assign, assignment]
    return app
