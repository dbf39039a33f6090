"""One table from error to HTTP status; every error answer is RFC 9457 problem JSON."""

import json
import logging
from pathlib import Path

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from collectors.contract.config_problems import ConfigError
from collectors.contract.messages import DEFAULT_LANGUAGE, LANGUAGES, sentence
from collectors.history.read import HistoryError
from collectors.points_table.problems import TableError
from control_plane import errors
from control_plane.outages import Outages

log = logging.getLogger(__name__)
_OUTAGES = "outages"

STATUS: dict[type[errors.ControlPlaneError], int] = {
    errors.BadRequest: 400,
    errors.BadInput: 400,
    errors.NotAuthenticated: 401,
    errors.BadCredentials: 401,
    errors.NotPermitted: 403,
    errors.CsrfRejected: 403,
    errors.BadSetupToken: 403,
    errors.UnknownProcess: 404,
    errors.UnknownUser: 404,
    errors.UnknownToken: 404,
    errors.UnknownSession: 404,
    errors.UnknownNode: 404,
    errors.UnknownExport: 404,
    errors.UnknownAlert: 404,
    errors.UnknownSilence: 404,
    errors.UnknownChannel: 404,
    errors.UnknownRevision: 404,
    errors.Busy: 409,
    errors.CollectorExists: 409,
    errors.NotRunning: 409,
    errors.ExportCancelled: 409,
    errors.KeyInUse: 409,
    errors.UserExists: 409,
    errors.RevisionConflict: 412,
    errors.UnsupportedMedia: 415,
    errors.InvalidProgramFile: 422,
    errors.LastAdmin: 409,
    errors.WeakPassword: 422,
    errors.BadMaintenance: 422,
    errors.BadExpiry: 422,
    errors.ExportTooLarge: 422,
    errors.SignalNotAllowed: 422,
    errors.RevisionRequired: 428,
    errors.RateLimited: 429,
    errors.ClientBanned: 429,
    errors.UpgradeRequired: 426,
    errors.TooManyConnections: 429,
    errors.TooManyExports: 429,
    errors.LogsUnreadable: 500,
    errors.SupervisorFault: 502,
    errors.NotifyFailed: 502,
    errors.SupervisorUnreachable: 503,
    errors.NodeUnreachable: 503,
    errors.StorageError: 503,
    errors.TooManyClients: 503,
}


_SPOKEN = (400, 404, 405, 408, 413, 415)
"""Refusals of the HTTP server that have a sentence of their own (``http.STATUS``)."""


def language_of_request() -> str:
    """Return the first language of the client's list that we have; English if there is none."""
    for wanted, quality in request.accept_languages:
        for language in LANGUAGES:
            if quality > 0 and wanted.lower().split("-")[0] == language.lower().split("-")[0]:
                return language
    return DEFAULT_LANGUAGE


def status_of(kind: type[Exception]) -> int:
    """Return the HTTP status of an error."""
    if issubclass(kind, ConfigError | TableError):
        return 422
    return next((STATUS[each] for each in kind.__mro__ if each in STATUS), 500)


def problem(
    status: int, code: str, detail: str, extra: dict[str, object] | None = None
) -> Response:
    """Return an ``application/problem+json`` answer."""
    body = {
        "type": f"/problems/{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
        **(extra or {}),
    }
    response = Response(json.dumps(body), status, mimetype="application/problem+json")
    if "retry_after_s" in body:
        response.headers["Retry-After"] = str(body["retry_after_s"])
    return response


def register_error_handlers(app: Flask) -> None:
    """Let every exception of the API become a problem answer."""
    app.extensions[_OUTAGES] = Outages(log)
    app.after_request(_note_success)
    app.register_error_handler(errors.ControlPlaneError, _control_plane_error)
    app.register_error_handler(errors.BadInput, _bad_input)
    app.register_error_handler(ConfigError, _config_error)
    app.register_error_handler(TableError, _table_error)
    app.register_error_handler(HistoryError, _history_error)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(Exception, _unexpected)


def _outages() -> Outages:
    outages: Outages = current_app.extensions[_OUTAGES]
    return outages


def _note_success(response: Response) -> Response:
    if response.status_code < 500:
        _outages().works(str(request.endpoint))
    return response


def _control_plane_error(exc: errors.ControlPlaneError) -> Response:
    status = status_of(type(exc))
    if status >= 500:
        # A plant's panels ask every second: it is said once for each kind of failure.
        where, error = str(request.endpoint), str(exc)
        _outages().failed(exc.code, where, "request failed", path=request.path, error=error)
    extra = {"retry_after_s": exc.params["retry_after_s"]} if status == 429 else {}
    return problem(status, exc.code, exc.message(language_of_request()), extra)


def _config_error(exc: ConfigError) -> Response:
    language = language_of_request()
    problems = [
        {
            "key": each.key,
            "line": each.line,
            "code": each.code,
            "message": each.message(language),
            "remedy": each.remedy(language),
        }
        for each in exc.problems
    ]
    name = Path(exc.problems[0].file).stem
    facts = {"name": name, "count": len(problems)}
    detail = sentence("control_plane", "problem.invalid_config", facts, language)
    return problem(422, "invalid_config", detail, {"problems": problems})


def _table_error(exc: TableError) -> Response:
    language = language_of_request()
    problems = [
        {"row": each.row, "column": each.column, "message": each.text(language)}
        for each in exc.problems
    ]
    facts = {"count": len(problems)}
    detail = sentence("control_plane", "problem.invalid_table", facts, language)
    return problem(422, "invalid_table", detail, {"problems": problems})


def _history_error(exc: HistoryError) -> Response:
    return _control_plane_error(errors.StorageError(reason=str(exc)))


def _bad_input(exc: errors.BadInput) -> Response:
    language = language_of_request()
    said = zip(exc.problems, exc.sentences(language), strict=True)
    found = [{"field": field, "code": kind, "message": text} for (field, kind, _), text in said]
    return problem(400, exc.code, exc.message(language), {"problems": found})


def _http_exception(exc: HTTPException) -> Response:
    status = exc.code or 500
    code = f"http.{status}" if status in _SPOKEN else "http.other"
    facts = {"method": request.method, "path": request.path, "status": status}
    detail = sentence("control_plane", code, facts, language_of_request())
    response = problem(status, (exc.name or "error").lower().replace(" ", "_"), detail)
    for name, value in exc.get_headers():
        if name != "Content-Type":  # Allow and Retry-After, say
            response.headers[name] = value
    return response


def _unexpected(exc: Exception) -> Response:
    what = f"{type(exc).__name__} {request.endpoint}"
    message, path = "request failed unexpectedly", request.path
    _outages().failed(what, str(request.endpoint), message, exc, path=path)
    error = errors.ControlPlaneError()
    return problem(500, error.code, error.message(language_of_request()))
