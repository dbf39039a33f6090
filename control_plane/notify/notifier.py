"""Sends what is queued, each channel in a thread of its own: a slow one holds up no other.

The queue is in the state database, so a notice survives a crash; it is sent at least once, and its
key lets a receiver drop a repetition.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from collectors.contract.config_problems import ConfigProblem
from control_plane.clock import Clock
from control_plane.domain.alerts import Alert, AlertEvent, AlertEventKind
from control_plane.errors import UnknownChannel
from control_plane.notify.channel_file import FILE_NAME, Channel, ChannelList, read_channel_file
from control_plane.notify.message import trial_message
from control_plane.notify.policy import is_told, name_of
from control_plane.notify.senders import send
from control_plane.notify.worker import Describe, Worker
from control_plane.storage.notifications import NewNotice, Notifications

log = logging.getLogger(__name__)

_ALERT: Final = TypeAdapter(Alert)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """How a channel does: ``last_error`` is of the newest attempt, ``None`` if that went well."""

    channel: Channel
    queued: int
    last_error: str | None


class Notifier:
    """Usable from any thread, but :meth:`refresh` by one only."""

    def __init__(
        self, home: Path, queue: Notifications, clock: Clock, describe: Describe, sender: str
    ) -> None:
        self._home = home
        self._queue = queue
        self._clock = clock
        self._describe = describe
        self._sender = sender
        self._list = ChannelList(channels={}, problems=())
        self._stamps: dict[Path, tuple[int, int, int] | None] = {}
        """Of the channel file and every secret that it names."""
        self._workers: dict[str, Worker] = {}
        self._queued = 0

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        return self._list.problems

    def states(self) -> list[ChannelState]:
        """Return how each channel does.

        Raises:
            StorageError.
        """
        queued = self._queue.queued()
        return [
            ChannelState(
                channel=channel,
                queued=queued.get(name, 0),
                last_error=worker.last_error if (worker := self._workers.get(name)) else None,
            )
            for name, channel in self._list.channels.items()
        ]

    def queued_count(self) -> int:
        """Return how many notices waited when somebody last looked."""
        return self._queued

    def refresh(self) -> None:
        """Take a changed channel file or secret over, and count the queue."""
        stamps = {file: _stamp_of(file) for file in self._stamps}
        if stamps != self._stamps or not stamps:
            self._list = read_channel_file(self._home)
            files = (self._home / FILE_NAME, *self._list.secret_files)
            # As they were before they were read, where we looked: a change meanwhile is seen next.
            self._stamps = {file: stamps.get(file) or _stamp_of(file) for file in files}
            for problem in self._list.problems:
                log.error("channel cannot be used", extra={"problem": problem.text()})
            self._follow(self._list.channels)
        queued = self._queue.queued()
        if not self._list.problems:
            for gone in queued.keys() - self._workers.keys():
                self._queue.abandon(gone, self._clock.now())
        self._queued = sum(queued.values())

    def stop(self) -> None:
        """End all threads; what is queued is sent after the next start."""
        self._follow({})

    def queue(self, events: Sequence[AlertEvent]) -> None:
        """Queue what the channels are to hear; part of the caller's transaction.

        Raises:
            StorageError.
        """
        self._queue.queue(self._notices(events), self._clock.now())

    def keep(self, events: Sequence[AlertEvent]) -> None:
        """Have people told although the queue cannot be used; :meth:`queue` follows when it can.

        What was told meanwhile is not told again, unless we crash before it is written down.
        """
        for notice in self._notices(events):
            if (worker := self._workers.get(notice.channel)) is not None:
                worker.keep(notice)
                worker.wake()

    def _notices(self, events: Sequence[AlertEvent]) -> list[NewNotice]:
        now = self._clock.now()
        return [
            NewNotice(
                channel=channel.name,
                event=name_of(event),
                alert_id=event.alert.id,
                kind=event.kind.value,
                due=now if _is_over(event) else now + timedelta(seconds=channel.entry.delay_s),
                document=_ALERT.dump_json(event.alert).decode(),
            )
            for event in events
            for channel in self._list.channels.values()
            if channel.entry.enabled and is_told(event, channel.entry.min_severity)
        ]

    def wake(self) -> None:
        """Look into the queue now, which has all that was kept; after the transaction of
        :meth:`queue`."""
        for worker in list(self._workers.values()):
            worker.is_queued()

    def test(self, name: str) -> Channel:
        """Send a test message at once, past the queue.

        Raises:
            UnknownChannel: none of this name, or its entry cannot be used.
            NotifyFailed: with the other side's own words.
        """
        channel = read_channel_file(self._home).channels.get(name)
        if channel is None:
            raise UnknownChannel(name=name)
        now = self._clock.now()
        send(channel, trial_message(name, channel.entry.language, self._sender, now))
        return channel

    def _follow(self, channels: Mapping[str, Channel]) -> None:
        for name, worker in list(self._workers.items()):
            if channels.get(name) is not worker.channel:
                worker.stop()
        for name, worker in list(self._workers.items()):
            if channels.get(name) is not worker.channel:
                worker.join()
                del self._workers[name]
        for name, channel in channels.items():
            if channel.entry.enabled and name not in self._workers:
                worker = Worker(channel, self._queue, self._clock, self._describe, self._sender)
                self._workers[name] = worker
                worker.start()


def _is_over(event: AlertEvent) -> bool:
    return event.kind is AlertEventKind.RESOLVED


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ctime_ns
