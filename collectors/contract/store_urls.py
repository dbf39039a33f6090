"""Where samples are stored: the URLs in ``DAQ_STORES``, separated by spaces or commas.

==============================================  ===============================================
``embedded:``                                   SQLite files below ``DAQ_HOME/history``
``influx2+https://HOST:PORT/?org=O&bucket=B``   InfluxDB 2
``vm+http://HOST:PORT``                         VictoriaMetrics
``vm+http://INSERT:8480/insert/0/influx?read=http://SELECT:8481/select/0/prometheus``   its cluster
==============================================  ===============================================

A token is named, never written here: ``token_file=/path`` or ``token_env=NAME``. ``ca_file=/path``
has the certificates to trust instead of the system's.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

EMBEDDED = "embedded"
INFLUX2 = "influx2"
VICTORIA = "vm"
DEFAULT_STORES = "embedded:"

_LOCAL = (EMBEDDED,)
"""Kinds that live below DAQ_HOME and have no more to say than ``KIND:``."""

_SCHEMES = "embedded:, influx2+http(s)://HOST:PORT/?org=ORG&bucket=BUCKET, vm+http(s)://HOST:PORT"
_KEYS = {
    INFLUX2: ("org", "bucket", "token_file", "token_env", "ca_file"),
    VICTORIA: ("read", "token_file", "token_env", "ca_file"),
}
_NEEDED = {INFLUX2: ("org", "bucket"), VICTORIA: ()}
_MOST_NAME = 100
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class StoreUrlError(ValueError):
    """A URL of a store that cannot be used; the message says which, why and what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUrl:
    """One store.

    Attributes:
        name: Names its cursor files, its dead letters and its figures; follows from the URL.
        kind: ``embedded``, ``influx2`` or ``vm``.
        url: ``http://HOST:PORT/PATH`` that is written to, empty for the embedded store.
        read_url: The same for reading.
    """

    name: str
    kind: str
    url: str = ""
    read_url: str = ""
    org: str = ""
    bucket: str = ""
    token_file: Path | None = None
    token_env: str = ""
    ca_file: Path | None = None

    def token(self, environ: Mapping[str, str] | None = None) -> str:
        """Return the token, empty if none is named.

        Raises:
            StoreUrlError: it is named, but not there.
        """
        if self.token_env:
            token = (os.environ if environ is None else environ).get(self.token_env, "").strip()
            if not token:
                raise StoreUrlError(f"{self.name}: the variable {self.token_env} has no token")
            return token
        if self.token_file is None:
            return ""
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            raise StoreUrlError(f"{self.name}: token_file {self.token_file}: {reason}") from exc


def parse_stores(text: str) -> tuple[StoreUrl, ...]:
    """Return the stores of ``DAQ_STORES``; an empty text is the embedded one.

    Raises:
        StoreUrlError: a URL cannot be used, or two name one store.
    """
    stores = tuple(
        _parse(url) for url in re.split(r"[,\s]+", text.strip() or DEFAULT_STORES) if url
    )
    names = [store.name for store in stores]
    for name in names:
        if names.count(name) > 1:
            raise StoreUrlError(f"DAQ_STORES names {name} twice; leave one out")
    return stores


def reader_of(stores: Sequence[StoreUrl], name: str) -> StoreUrl:
    """Return the store that charts read: ``DAQ_READER``, or the first if that is empty.

    Raises:
        StoreUrlError: there is none of this name.
    """
    for store in stores:
        if name in ("", store.name):
            return store
    names = ", ".join(store.name for store in stores)
    raise StoreUrlError(f"DAQ_READER {name!r} is none of the stores; use one of: {names}")


def _parse(text: str) -> StoreUrl:
    kind, colon, rest = text.partition(":")
    if kind in _LOCAL and colon and not rest:
        return StoreUrl(name=kind, kind=kind)
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as exc:
        raise StoreUrlError(f"DAQ_STORES: {_shown(text)!r}: {exc}") from exc
    kind, _, scheme = url.scheme.partition("+")
    if kind not in _KEYS or scheme not in ("http", "https") or not url.hostname:
        raise StoreUrlError(f"DAQ_STORES: {_shown(text)!r} is no store; use one of: {_SCHEMES}")
    if url.username is not None or url.password is not None:
        rule = "name a file with token_file= or a variable with token_env="
        raise StoreUrlError(f"DAQ_STORES: {_shown(text)!r} holds a password; {rule}")
    query = _query(kind, text, url.query)
    base = f"{scheme}://{url.netloc}{url.path.rstrip('/')}"
    named = (kind, url.hostname, str(port or ""), url.path, query.get("bucket", ""))
    return StoreUrl(
        name=_name("-".join(part.strip("/") for part in named if part.strip("/"))),
        kind=kind,
        url=base,
        read_url=query.get("read", base).rstrip("/"),
        org=query.get("org", ""),
        bucket=query.get("bucket", ""),
        token_file=Path(query["token_file"]) if "token_file" in query else None,
        token_env=query.get("token_env", ""),
        ca_file=Path(query["ca_file"]) if "ca_file" in query else None,
    )


def _name(text: str) -> str:
    """Return a name that can be part of a file's name; different for different texts."""
    name = _NOT_IN_A_NAME.sub("-", text.replace("/", "-"))
    if name == text.replace("/", "-") and len(name) <= _MOST_NAME:
        return name
    return f"{name[:_MOST_NAME]}-{zlib.crc32(text.encode()):08x}"


def _query(kind: str, text: str, query: str) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(found.keys() - set(_KEYS[kind])):
        known = ", ".join(_KEYS[kind])
        raise StoreUrlError(
            f"DAQ_STORES: {_shown(text)!r}: unknown {unknown[0]!r}; known are {known}"
        )
    if missing := [key for key in _NEEDED[kind] if not found.get(key)]:
        raise StoreUrlError(f"DAQ_STORES: {_shown(text)!r} lacks {' and '.join(missing)}")
    return found


def _shown(text: str) -> str:
    """Return a URL without what could be a secret."""
    url, mark, query = text.partition("?")
    keys = "&".join(part.partition("=")[0] + "=…" for part in query.split("&") if part)
    return re.sub(r"//[^/@]*@", "//…@", url) + mark + keys
