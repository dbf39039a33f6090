"""Believes what a proxy says of the client, if the proxy is one of those in the settings.

Others may write what they like into these headers, so they are taken away before anybody reads
them.
"""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from flask import Flask

from control_plane.settings import Network, Settings

_HEADERS: Final = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_REAL_IP",
)
Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def from_the_network(app: Flask, settings: Settings) -> WsgiApp:
    """Return ``app`` as the network may ask it: by which names, and through whom."""
    if settings.hosts:
        own = (settings.http_host, "localhost", "127.0.0.1", "[::1]")
        app.config["TRUSTED_HOSTS"] = [*settings.hosts, *own]
    return behind_proxies(app.wsgi_app, settings.trusted_proxies)


def behind_proxies(app: WsgiApp, trusted: Sequence[Network]) -> WsgiApp:
    """Return ``app`` that sees the client's address and scheme instead of the proxy's."""

    def wrapped(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        said = {name: environ.pop(name, "") for name in _HEADERS}
        peer = _address(environ.get("REMOTE_ADDR", ""))
        if peer is not None and _is_in(peer, trusted):
            chain = said["HTTP_X_FORWARDED_FOR"].split(",")
            environ["REMOTE_ADDR"] = str(_client(peer, chain, trusted))
            # The nearest proxy speaks last.
            scheme = said["HTTP_X_FORWARDED_PROTO"].rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
        return app(environ, start_response)

    return wrapped


def _client(
    peer: IPv4Address | IPv6Address, chain: Sequence[str], trusted: Sequence[Network]
) -> IPv4Address | IPv6Address:
    """Return the last address that no trusted proxy has; what is before it, anybody may claim."""
    client = peer
    for text in reversed(chain):
        address = _address(text)
        if address is None:
            return client
        client = address
        if not _is_in(address, trusted):
            return client
    return client


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
