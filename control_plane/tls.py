"""TLS of the panel: what it is served with, and how this machine asks its own panel."""

import ssl
import urllib.request
from pathlib import Path
from typing import Any

from control_plane.errors import SettingsError

HANDSHAKE_S = 10.0
_OTHERS_MAY_READ = 0o007


class _HandshakeInTime(ssl.SSLContext):
    """Ends a handshake that takes too long: each holds a thread meanwhile."""

    def wrap_socket(self, sock: Any, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        sock.settimeout(HANDSHAKE_S)
        wrapped = super().wrap_socket(sock, *arguments, **options)
        wrapped.settimeout(None)
        return wrapped


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a server that speaks TLS 1.2 and 1.3.

    Raises:
        SettingsError: a file cannot be used; names it and the reason.
    """
    try:
        if key.stat().st_mode & _OTHERS_MAY_READ:
            rule = "a file that nobody but owner and group may read (chmod o= FILE)"
            raise SettingsError(variable="DAQ_TLS_KEY", value=str(key), rule=rule)
        context = _HandshakeInTime(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(cert, key)
    except OSError as exc:  # ssl.SSLError is one, too
        reason = exc.strerror or str(exc)
        rule = f"a PEM certificate chain and its key in {key} without a password ({reason})"
        raise SettingsError(variable="DAQ_TLS_CERT", value=str(cert), rule=rule) from None
    return context


class ServerContexts:
    """The present context: files that were renewed hold for the next connection."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (cert, key)
        self._stamp = self._look()
        self._context = server_context(cert, key)

    def present(self) -> ssl.SSLContext:
        stamp = self._look()
        if stamp != self._stamp:
            try:
                self._context = server_context(*self._files)
            except SettingsError:
                return self._context  # renewed only by half; the next connection asks again
            self._stamp = stamp
        return self._context

    def _look(self) -> tuple[int, ...]:
        try:
            return tuple(file.stat().st_mtime_ns for file in self._files)
        except OSError:
            return ()


def own_panel(cert: Path | None) -> urllib.request.OpenerDirector:
    """Return what asks our own panel: never through a proxy, which would look for 127.0.0.1 on
    its own machine. With TLS it must show our certificate, whatever name that is for."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if cert is not None:
        context = ssl.create_default_context(cafile=str(cert))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)
