"""Whether the panel could listen where it is to."""

import errno
import socket

from control_plane.errors import PortInUse, SettingsError


def check_port(host: str, port: int) -> None:
    """Raise unless a socket can be bound there.

    Raises:
        PortInUse: somebody else has it, or it needs rights.
        SettingsError: it is no address of this machine.
    """
    try:
        ((family, kind, _, _, address), *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as exc:
        rule = "a name or address of this machine"
        raise SettingsError(variable="DAQ_HTTP_HOST", value=host, rule=rule) from exc
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as exc:
            if exc.errno == errno.EADDRNOTAVAIL:
                rule = "an address of this machine"
                raise SettingsError(variable="DAQ_HTTP_HOST", value=host, rule=rule) from exc
            raise PortInUse(host=host, port=port, reason=exc.strerror) from exc
