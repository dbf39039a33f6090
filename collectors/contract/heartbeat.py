"""The sign of life of a collector: one JSON file, replaced atomically each second.

The file is written from the collector's work loop, so a loop that hangs stops beating. Readers
judge its age by the file's own age on this machine, never by comparing clocks of two machines.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from collectors.contract import wire
from collectors.contract.commands import CommandOutcome

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION = 1
"""Raised only when a reader of the version before would go wrong: new keys are added freely, and
an old reader passes over them."""
INTERVAL_S = 1.0
"""A collector beats this often, and at once when a connection is made or lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatus:
    """The link to one device.

    Attributes:
        device_id: As in the configuration file.
        device_ip: Host name or address as configured.
        device_port: TCP port.
        protocol_type: ``modbus``, ``opcua`` or ``mitsubishi``.
        is_connected: True between a successful connect and the first sign of loss.
        since: When ``is_connected`` last changed.
        last_connect_time: Last successful connect.
        last_good_at: Last transaction that the device answered without an error.
        connection_errors: Failed connects, losses and time-outs since the process started.
        last_error: Newest error in words; stays after recovery, see ``last_error_at``.
        round_trip_ms: Median time of the last 100 requests.
        requests: Requests since the process started; ``request_errors`` of them failed.
        points: Configured points; ``bad_points`` of them have no usable value now.
        frozen_points: Points that are read and do not change for as long as ``frozen_after_s``.
        shortest_interval_s: Of the device's poll groups; the scale on which its silence is judged.
        next_attempt_in_s: Seconds until the next connect while disconnected.
        is_parked: Several requests in a row got no answer, so that the device is asked rarely and
            does not delay others behind the same gateway.
        reconnects: Connects after the first one.
        late_cycles, skipped_cycles: As in :class:`Heartbeat`, of this device.
        lost_changes: Changes that a subscription lost on the way here.
    """

    device_id: str
    device_ip: str
    device_port: int
    protocol_type: str
    is_connected: bool = False
    since: datetime | None = None
    last_connect_time: datetime | None = None
    last_good_at: datetime | None = None
    connection_errors: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None
    round_trip_ms: float | None = None
    requests: int = 0
    request_errors: int = 0
    points: int = 0
    bad_points: int = 0
    frozen_points: int = 0
    shortest_interval_s: float = 1.0
    next_attempt_in_s: float | None = None
    is_parked: bool = False
    reconnects: int = 0
    late_cycles: int = 0
    skipped_cycles: int = 0
    lost_changes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTiming:
    """How punctual the cycles of one interval were, over all devices, in the last minute.

    Attributes:
        group_id: As in the configuration file.
        interval_s: What is kept now; longer than configured while the frequency is reduced.
        cycles: How many the figures are of; with none they are ``None``.
        late_p50_ms, late_p99_ms: Start of a cycle after its due time.
        read_p99_ms: How long one cycle of one device took.
    """

    group_id: str
    interval_s: float
    cycles: int = 0
    late_p50_ms: float | None = None
    late_p99_ms: float | None = None
    read_p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadOutcome:
    """The last time that the configuration file was read while the collector ran.

    Attributes:
        accepted: False keeps the old configuration in force.
        revision: Of the file that was read; empty if it could not be.
        problem: The first thing that was wrong, with file, key and remedy; empty if accepted.
    """

    at: datetime
    accepted: bool
    revision: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStatus:
    """The collector's own queue on disk. ``samples_in`` counts since the process started."""

    samples_in: int = 0
    samples_dropped: int = 0
    backlog_bytes: int = 0
    last_sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """All that a collector says about itself.

    Attributes:
        sequence: Counts beats of this process from 1.
        config_revision: Hash of the file that is in force; proves a reload.
        samples: Readings since the process started; ``good_samples`` of them good or uncertain.
        samples_per_s: Good samples a second over the last 10 s.
        expected_samples_per_s: What the configuration asks for.
        shortest_interval_s, longest_interval_s: Of all poll groups; the scales of ages and rates.
        last_data_time: Receive time of the newest good sample.
        late_cycles: Cycles that started more than 10 % of their interval late.
        skipped_cycles: Cycles left out because the one before had not ended.
        connection_resets: Resets done on request; proves a reset.
        cache_clears: Clearings done on request; proves one.
        frequency_factor: Groups are read so many times more slowly than configured.
        suppressed_samples: Good readings within their deadband, which were not stored.
        groups: Punctuality by poll group.
        last_reload: Of the configuration file; ``None`` if there was none.
        commands: The newest outcomes, oldest first.
        rss_bytes: Memory of the process.
        loop_lag_ms: Worst delay of the work loop since the last beat.
        held_until: The collector has crashed lately and does not connect before this moment.
        quarantined: It has crashed too often, does not connect at all and is about to end; stays
            true in the last beat until somebody starts the collector.
    """

    schema_version: int = SCHEMA_VERSION
    collector: str
    protocol: str
    pid: int
    started_at: datetime
    sequence: int
    sent_at: datetime
    interval_s: float = INTERVAL_S
    config_revision: str
    connections: tuple[ConnectionStatus, ...] = ()
    samples: int = 0
    good_samples: int = 0
    samples_per_s: float = 0.0
    expected_samples_per_s: float = 0.0
    shortest_interval_s: float = 1.0
    longest_interval_s: float = 1.0
    last_data_time: datetime | None = None
    late_cycles: int = 0
    skipped_cycles: int = 0
    connection_resets: int = 0
    cache_clears: int = 0
    frequency_factor: float = 1.0
    suppressed_samples: int = 0
    groups: tuple[GroupTiming, ...] = ()
    last_reload: ReloadOutcome | None = None
    commands: tuple[CommandOutcome, ...] = ()
    rss_bytes: int = 0
    loop_lag_ms: float = 0.0
    spool: SpoolStatus = field(default_factory=SpoolStatus)
    held_until: datetime | None = None
    quarantined: bool = False


class HeartbeatError(Exception):
    """The heartbeat file exists but cannot be understood."""


def heartbeat_path(home: Path, collector: str) -> Path:
    """Return where ``collector`` keeps its heartbeat below ``DAQ_HOME``."""
    return home / "run" / "heartbeat" / f"{collector}.json"


def write_heartbeat(path: Path, beat: Heartbeat, connections: Sequence[bytes]) -> None:
    """Replace the file in one step, so that a reader sees the old beat or the new one.

    Args:
        beat: Without its connections.
        connections: Of each its encoded :class:`ConnectionStatus`. Who has hundreds encodes them
            a few at a time, so as not to hold up acquisition.

    Raises:
        OSError: the directory is missing or the disk is full.
    """
    temporary = path.with_suffix(".tmp")
    head, key, rest = wire.encode(beat).partition(b'"connections":[')
    temporary.write_bytes(b"".join((head, key, b",".join(connections), rest)))
    os.replace(temporary, path)  # noqa: PTH105 - same call, one object fewer each second


def read_heartbeat(path: Path) -> Heartbeat | None:
    """Return the newest beat, or ``None`` if there has never been one.

    Raises:
        HeartbeatError: not a heartbeat, or of a schema version that this program does not know.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise HeartbeatError(f"{path}: {exc.strerror}") from exc
    return parse_heartbeat(text, str(path))


def parse_heartbeat(text: str | bytes, where: str) -> Heartbeat:
    """Return the beat in ``text``; ``where`` is named in errors.

    Raises:
        HeartbeatError: see :func:`read_heartbeat`.
    """
    # A collector only writes heartbeats, and has no room for pydantic.
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        beat = _reader().validate_json(text)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise HeartbeatError(f"{where}: {first['loc']}: {first['msg']}") from exc
    if beat.schema_version != SCHEMA_VERSION:
        raise HeartbeatError(
            f"{where}: schema version {beat.schema_version}, this program reads {SCHEMA_VERSION}"
        )
    return beat


@cache
def _reader() -> TypeAdapter[Heartbeat]:
    from pydantic import TypeAdapter  # noqa: PLC0415 - as in parse_heartbeat

    return TypeAdapter(Heartbeat)
