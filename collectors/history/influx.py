"""The sink for InfluxDB 2, and for every server with its ``/api/v2/write``.

Of influxdb-client only the synchronous write of ready-made bytes is used: its batching keeps
points in memory without bound, shares one thread among all servers and forgets what it holds when
the process ends. Waiting and trying again is the historian's work, see ``drain``.
"""

from __future__ import annotations

import email.utils
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from influxdb_client import InfluxDBClient, WritePrecision
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.write_api import SYNCHRONOUS, WriteApi
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError, ReadTimeoutError

from collectors.contract.store_urls import StoreUrl
from collectors.history.line_protocol import INFLUX, Dialect, encode_lines
from collectors.history.spool_reader import Record
from collectors.history.store import Appended, Refusal, StoreUnavailable

LINES_A_POST = 10_000
_CONNECT_TIMEOUT_MS = 3_000
_ANSWER_TIMEOUT_MS = 10_000
_REPLAY_WINDOW_S = 30.0
_MOST_WORDS = 500
_OF_THE_DATA = (400, 413, 422)
"""Statuses that speak of what was sent; all others speak of the server or of our rights there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxTarget:
    """Where to write. The token is no part of ``repr``, so that no log can show it.

    Attributes:
        url: Scheme, host, port and, behind a proxy or a cluster, a path.
        ca_file: Certificates to trust instead of the system's.
    """

    url: str
    org: str = ""
    bucket: str = ""
    token: str = field(default="", repr=False)
    ca_file: Path | None = None

    @classmethod
    def of(cls, url: StoreUrl, environ: Mapping[str, str]) -> Self:
        """Return where a URL of ``DAQ_STORES`` points to.

        Raises:
            StoreUrlError: its token is not where the URL says.
        """
        return cls(
            url=url.url,
            org=url.org,
            bucket=url.bucket,
            token=url.token(environ),
            ca_file=url.ca_file,
        )


class Refused(Exception):
    """The server will never take these lines, in its own words."""


class LineWriter:
    """Posts lines to one server; waits for 3 s to connect and 10 s for the answer."""

    def __init__(self, target: InfluxTarget) -> None:
        self._target = target
        self._client: InfluxDBClient | None = None
        self._api: WriteApi | None = None

    def post(self, lines: Sequence[str]) -> None:
        """Write ``lines``, of which each has a value and a time in ns.

        Raises:
            Refused: at least one of them is not acceptable; others may have been stored.
            StoreUnavailable: the server does not answer, or cannot take anything now.
        """
        data = "\n".join(lines).encode()
        target = self._target
        try:
            self._opened().write(target.bucket, target.org, data, write_precision=WritePrecision.NS)
        except ApiException as exc:
            words = words_of(exc)
            if exc.status in _OF_THE_DATA:
                raise Refused(words) from exc
            raise StoreUnavailable(words, retry_after_s=_retry_after_s(exc)) from exc
        except (HTTPError, OSError, UnicodeError) as exc:
            reason = f"{type(exc).__name__}: {exc}"
            # A server that is only slow has forgotten nothing.
            was_cut = not isinstance(exc, ReadTimeoutError)
            raise StoreUnavailable(reason[:_MOST_WORDS], was_cut=was_cut) from exc

    def close(self) -> None:
        """Close the connections; the next post opens new ones."""
        client, self._client, self._api = self._client, None, None
        if client is not None:
            client.close()

    def _opened(self) -> WriteApi:
        if self._api is None:
            target = self._target
            self._client = InfluxDBClient(
                url=target.url,
                token=target.token or None,
                org=target.org,
                timeout=(_CONNECT_TIMEOUT_MS, _ANSWER_TIMEOUT_MS),
                enable_gzip=False,
                retries=False,
                ssl_ca_cert=str(target.ca_file) if target.ca_file else None,
            )
            self._api = self._client.write_api(write_options=SYNCHRONOUS)
        return self._api


class InfluxStore:
    """Writes samples to one bucket, whatever its size, and finds the lines it does not take."""

    replay_window_s = _REPLAY_WINDOW_S

    def __init__(self, name: str, target: InfluxTarget, dialect: Dialect = INFLUX) -> None:
        self.name = name
        self._writer = LineWriter(target)
        self._dialect = dialect

    def append(self, collector: str, records: Sequence[Record]) -> Appended:
        lines: list[str] = []
        starts: list[int] = []
        words: dict[int, str] = {}
        for record in records:
            start = len(lines)
            starts.append(start)
            encoded = encode_lines(collector, record.batch, self._dialect)
            words.update({start + at: reason for at, reason in encoded.refusals.items()})
            lines += encoded.lines
        for at in range(0, len(lines), LINES_A_POST):
            self._write(lines, at, min(at + LINES_A_POST, len(lines)), words)
        refusals = []
        for at, reason in sorted(words.items()):
            number = bisect_right(starts, at) - 1
            record = records[number]
            sample = record.batch.samples()[at - starts[number]]
            refusals.append(Refusal(record.sequence, sample, reason))
        return Appended(len(lines) - len(words), refusals)

    def sync(self) -> None:
        """Do nothing: InfluxDB has synced its write-ahead log before it confirms."""

    def boot_id(self) -> str | None:
        return None

    def close(self) -> None:
        self._writer.close()

    def _write(self, lines: list[str], first: int, end: int, words: dict[int, str]) -> None:
        """Post ``lines[first:end]``; halve what is refused until single lines are left.

        Lines that were stored with a refused one are sent again; that overwrites them unchanged.
        """
        sendable = [line for line in lines[first:end] if line]
        if not sendable:
            return
        try:
            self._writer.post(sendable)
        except Refused as exc:
            if end - first == 1:
                words[first] = str(exc)
                return
            middle = (first + end) // 2
            self._write(lines, first, middle, words)
            self._write(lines, middle, end, words)


def words_of(exc: InfluxDBError) -> str:
    """Return the server's sentence; never headers, which can hold secrets."""
    if exc.response is None:
        text, status = str(getattr(exc, "reason", exc)), ""
    else:
        message, status = exc.message, f"HTTP {getattr(exc, 'status', '?')}: "
        text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
    return f"{status}{' '.join(text.split())}"[:_MOST_WORDS]


def _retry_after_s(exc: InfluxDBError) -> float | None:
    """Return the pause that the server asked for: seconds or a date (RFC 9110, 10.2.3)."""
    text = str(exc.retry_after or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, at.timestamp() - time.time())
