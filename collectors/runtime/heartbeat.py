"""Build the collector's heartbeat and write it each second, from the work loop itself."""

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from collectors.contract import wire
from collectors.contract.config_types import PROTOCOLS, AnyDevice
from collectors.contract.heartbeat import (
    INTERVAL_S,
    ConnectionStatus,
    Heartbeat,
    write_heartbeat,
)
from collectors.runtime import start_gate
from collectors.runtime.vitals import LagProbe, RateMeter, Vitals, rss_bytes

_JOIN_CHANGES_S = 0.02
"""Two hundred devices that connect at once cost one write, not two hundred."""
_BETWEEN_EARLY_S = 0.1
"""Many devices that come and go would ask for a beat each."""
_AT_ONCE = 10
"""Devices of which the status is made before others have their turn."""

_log = logging.getLogger(__name__)


class Beater:
    """Writes the heartbeat file each second, and at once when a connection changes."""

    def __init__(self, path: Path, vitals: Vitals) -> None:
        self._path = path
        self._vitals = vitals
        self._meter = RateMeter(time.monotonic())
        self._lag = LagProbe()
        self._sequence = 0
        self._samples_per_s = 0.0
        self._next_mono = 0.0
        self._regular: asyncio.TimerHandle | None = None
        self._early: asyncio.TimerHandle | None = None
        self._next_early_mono = 0.0
        self._under_way: set[asyncio.Task[None]] = set()
        self._cannot_write = False

    def start(self) -> None:
        """Write the first beat; with it the start is over, and another collector may begin."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lag.start()
        self._next_mono = asyncio.get_running_loop().time() + INTERVAL_S
        self._regular = asyncio.get_running_loop().call_at(self._next_mono, self._beat_regularly)
        self._write(list(self._connections()))
        start_gate.leave()

    def beat_soon(self) -> None:
        """Write before the next regular beat; several calls within 20 ms give one beat.

        Ten times a second at most.
        """
        if self._early is None:
            loop = asyncio.get_running_loop()
            at_mono = max(loop.time() + _JOIN_CHANGES_S, self._next_early_mono)
            self._early = loop.call_at(at_mono, self._beat_early)
            self._next_early_mono = at_mono + _BETWEEN_EARLY_S

    def stop(self) -> None:
        """Write the last beat, which tells that nothing is connected any more."""
        self._lag.stop()
        for handle in (self._regular, self._early, *self._under_way):
            if handle is not None:
                handle.cancel()
        self._write(list(self._connections()))

    def _beat_regularly(self) -> None:
        loop = asyncio.get_running_loop()
        self._samples_per_s = self._meter.rate(loop.time(), self._vitals.totals.good_samples)
        self._begin()
        # An absolute grid, but no burst of beats after the loop was held up.
        self._next_mono = max(self._next_mono + INTERVAL_S, loop.time())
        self._regular = loop.call_at(self._next_mono, self._beat_regularly)

    def _beat_early(self) -> None:
        self._early = None
        self._begin()

    def _begin(self) -> None:
        task = asyncio.create_task(self._beat(), name="heartbeat")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _beat(self) -> None:
        config = self._vitals.config
        connections: list[bytes] = []
        for text in self._connections():
            connections.append(text)
            if len(connections) % _AT_ONCE == 0:
                # All at once, two hundred devices would make the others 3 ms late.
                await asyncio.sleep(0)
                if self._vitals.config is not config:
                    return  # a reload asks for a beat by itself
        self._write(connections)

    def _connections(self) -> Iterator[bytes]:
        """Return the encoded status of each device, made when it is taken."""
        for device in self._vitals.config.devices:
            yield wire.encode(connection_of(self._vitals, device, time.monotonic()))

    def _write(self, connections: Sequence[bytes]) -> None:
        self._sequence += 1
        beat = build(
            self._vitals,
            sequence=self._sequence,
            samples_per_s=self._samples_per_s,
            loop_lag_ms=self._lag.take_ms(),
        )
        try:
            write_heartbeat(self._path, beat, connections)
        except OSError as exc:
            if not self._cannot_write:
                _log.error("heartbeat cannot be written", extra={"reason": str(exc)})
            self._cannot_write = True
            return
        if self._cannot_write:
            _log.info("heartbeat can be written again")
        self._cannot_write = False


def build(vitals: Vitals, *, sequence: int, samples_per_s: float, loop_lag_ms: float) -> Heartbeat:
    """Return the heartbeat of this moment, but for the connections."""
    config = vitals.config
    states = [task.state for task in vitals.devices.values()]
    return Heartbeat(
        collector=config.name,
        protocol=config.protocol,
        pid=os.getpid(),
        started_at=vitals.started_at,
        sequence=sequence,
        sent_at=datetime.now(UTC),
        config_revision=vitals.config_revision,
        samples=vitals.totals.samples,
        good_samples=vitals.totals.good_samples,
        samples_per_s=samples_per_s,
        expected_samples_per_s=vitals.expected_samples_per_s,
        shortest_interval_s=vitals.shortest_interval_s(),
        longest_interval_s=vitals.longest_interval_s(),
        last_data_time=_from_ns(vitals.totals.last_good_ns),
        late_cycles=vitals.retired_late_cycles + sum(s.late_cycles for s in states),
        skipped_cycles=vitals.retired_skipped_cycles + sum(s.skipped_cycles for s in states),
        connection_resets=vitals.connection_resets,
        cache_clears=vitals.cache_clears,
        frequency_factor=vitals.frequency_factor,
        suppressed_samples=vitals.totals.suppressed_samples,
        groups=tuple(punctuality.timing() for punctuality in vitals.punctualities),
        last_reload=vitals.last_reload,
        commands=tuple(vitals.outcomes),
        rss_bytes=rss_bytes(),
        loop_lag_ms=loop_lag_ms,
        spool=vitals.spool_status(),
        held_until=vitals.held_until,
        quarantined=vitals.is_quarantined,
    )


def connection_of(vitals: Vitals, device: AnyDevice, now_mono: float) -> ConnectionStatus:
    """Return what there is to tell of one device."""
    task = vitals.devices.get(device.id)
    if task is None:
        return _untried(vitals, device)
    state = task.state
    waiting_s = None
    if state.next_attempt_mono is not None and not state.is_connected:
        waiting_s = round(max(0.0, state.next_attempt_mono - now_mono), 2)
    return ConnectionStatus(
        device_id=device.id,
        device_ip=device.host,
        device_port=device.port,
        protocol_type=PROTOCOLS[vitals.config.protocol].word,
        is_connected=state.is_connected,
        since=state.since,
        last_connect_time=state.last_connect_time,
        last_good_at=_from_ns(state.traffic.last_good_ns),
        connection_errors=state.connection_errors,
        last_error=state.last_error,
        last_error_at=state.last_error_at,
        round_trip_ms=state.traffic.round_trip_ms,
        requests=state.traffic.requests,
        request_errors=state.traffic.errors,
        points=task.point_count,
        bad_points=task.bad_points,
        frozen_points=task.frozen_points,
        shortest_interval_s=task.shortest_interval_s,
        next_attempt_in_s=waiting_s,
        is_parked=state.is_parked,
        reconnects=max(0, state.connects - 1),
        late_cycles=state.late_cycles,
        skipped_cycles=state.skipped_cycles,
        lost_changes=state.traffic.lost_changes,
    )


def _untried(vitals: Vitals, device: AnyDevice) -> ConnectionStatus:
    # A collector that is held, or has just begun, has no task for it yet; no device at all would
    # look like a good state.
    return ConnectionStatus(
        device_id=device.id,
        device_ip=device.host,
        device_port=device.port,
        protocol_type=PROTOCOLS[vitals.config.protocol].word,
        points=vitals.point_counts[device.id],
        bad_points=vitals.point_counts[device.id],
        shortest_interval_s=vitals.shortest_interval_s(device.id),
    )


def _from_ns(at_ns: int | None) -> datetime | None:
    return None if at_ns is None else datetime.fromtimestamp(at_ns / 1e9, UTC)
