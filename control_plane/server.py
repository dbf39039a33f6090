"""Runs the control plane under gunicorn: one worker process, because the state lives in it."""

import contextlib
import io
import logging
import socket
import time
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from collectors.contract.log_format import start_json_logging
from control_plane.api.app import body_limit, create_app
from control_plane.bootstrap import ControlPlane, running
from control_plane.parent import end_with_parent
from control_plane.settings import Settings
from control_plane.tls import ServerContexts

_HTTP_THREADS = 16
"""Threads beside those that the live channel may hold, so that the API always has some."""
_GRACEFUL_S = 2
REQUEST_READ_S = 10.0
"""So long may head and body of a request take; each holds a thread meanwhile."""


class _Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """Ends live connections as soon as it is told to stop: each holds a thread that gunicorn
    would wait for. Ends a request, too, that does not come to its end in time."""

    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_by: dict[int, tuple[Any, float]] = {}
        """By file number, which TLS keeps: the connections whose request is being read, and until
        when (monotonic) that may last."""

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application = self.wsgi

        def with_whole_request(environ: dict[str, Any], start_response: Any) -> Any:
            # One byte more than is allowed lets the application refuse it.
            limit_bytes = body_limit(environ["PATH_INFO"])
            body = environ["wsgi.input"].read(limit_bytes + 1)
            environ["wsgi.input"] = io.BytesIO(body)
            # Of chunks nobody has told the length, and half of a body must not pass for all of it.
            if environ.pop("HTTP_TRANSFER_ENCODING", None) is not None:
                environ["CONTENT_LENGTH"] = str(len(body))
            if self._read_by.pop(environ["gunicorn.socket"].fileno(), None) is None:
                raise StopIteration  # it came too late; gunicorn closes the connection
            return application(environ, start_response)

        self.wsgi = with_whole_request

    def handle(self, conn: Any) -> Any:
        number = conn.sock.fileno()
        self._read_by[number] = (conn, time.monotonic() + REQUEST_READ_S)
        try:
            return super().handle(conn)
        finally:
            self._read_by.pop(number, None)

    def murder_pending(self) -> None:
        """Called by gunicorn's loop at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        for number, (conn, read_by) in list(self._read_by.items()):
            if read_by <= now and self._read_by.pop(number, None) is not None:
                # The thread that reads it sees the end of the connection at once. Of TLS, too, the
                # plain socket is ended: its own shutdown() would take away what that thread uses.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(conn.sock, socket.SHUT_RDWR)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.app.end_live_connections()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        self.app.end_live_connections()
        super().handle_quit(sig, frame)


class _Logger(Logger):  # type: ignore[misc] # gunicorn ships no types
    """Leaves the formatting to the root logger, so that every line is JSON."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn's interface
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
        self.access_log.disabled = True


class Server(BaseApplication):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn's application object; :meth:`run` returns when told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._plane: ControlPlane | None = None
        self._stack = contextlib.ExitStack()
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": f"{self._settings.http_host}:{self._settings.http_port}",
            "workers": 1,
            "worker_class": _Worker,
            "threads": self._settings.max_live_clients + _HTTP_THREADS,
            "worker_connections": self._settings.max_live_clients + 200,
            "graceful_timeout": _GRACEFUL_S,
            "timeout": 60,
            "keepalive": 15,
            "proc_name": "daqplane",
            "logger_class": _Logger,
            "control_socket_disable": True,
            # Whom to believe is in our own settings; gunicorn would believe all of this machine.
            "forwarded_allow_ips": "",
            # A worker that outlived its master would hold the port against the next one.
            "post_fork": lambda _server, _worker: end_with_parent(),
            "worker_exit": lambda _server, _worker: self._stack.close(),
        }
        for name, value in (options | self._tls_options()).items():
            self.cfg.set(name, value)

    def _tls_options(self) -> dict[str, Any]:
        cert, key = self._settings.tls_cert, self._settings.tls_key
        if cert is None or key is None:
            return {}
        contexts = ServerContexts(cert, key)
        return {
            "certfile": str(cert),
            "keyfile": str(key),
            "ssl_context": lambda _config, _default: contexts.present(),
        }

    def load(self) -> Any:
        """Called in the worker process: threads must not be started before the fork."""
        listener = start_json_logging("control-plane", "info")
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._stack.callback(listener.stop)
        self._plane = self._stack.enter_context(running(self._settings))
        return create_app(self._plane)

    def end_live_connections(self) -> None:
        if self._plane is not None:
            self._plane.hub.close()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, or until supervisord has died.

    An orphan would hold the port, so that the next ``daqplane run`` could not start.
    """
    end_with_parent()
    Server(settings).run()
