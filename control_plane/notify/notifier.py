"""Sends what is queued, each channel in a thread of its own: a slow one holds up no other.

The queue is in the state database, so a notice survives a crash; it is sent at least once, and its
key lets a receiver drop a repetition.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from collectors.contract.config_problems import ConfigProblem
from control_plane.clock import Clock
from control_plane.domain.alerts import Alert, AlertEvent, AlertEventKind
from control_plane.errors import NotifyFailed, StorageError, UnknownChannel
from control_plane.notify.channel_file import FILE_NAME, Channel, ChannelList, read_channel_file
from control_plane.notify.message import Told, message_of, trial_message
from control_plane.notify.policy import MAX_ATTEMPTS, choose, is_told, name_of, next_attempt
from control_plane.notify.senders import send
from control_plane.storage.notifications import (
    DROPPED,
    FAILED,
    SENT,
    NewNotice,
    Notice,
    Notifications,
)

log = logging.getLogger(__name__)

_IDLE_S: Final = 60.0
_DATABASE_AWAY_S: Final = 5.0
_STOP_S: Final = 2.0
_ALERT: Final = TypeAdapter(Alert)

Describe = Callable[[Alert, str], Mapping[str, Any]]
"""From an alert and a language to what the API shows of it."""


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
        self._stamp: object = None
        self._workers: dict[str, _Worker] = {}
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
        """Take a changed channel file over, and count the queue."""
        path = self._home / FILE_NAME
        # A secret that changes takes effect with the next change of the file that names it.
        stamp = (stat.st_mtime_ns, stat.st_size) if (stat := _stat(path)) else ()
        if stamp != self._stamp:
            self._stamp = stamp
            self._list = read_channel_file(self._home)
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
        now = self._clock.now()
        notices = [
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
        self._queue.queue(notices, now)

    def wake(self) -> None:
        """Look into the queue now; called after the transaction of :meth:`queue`."""
        for worker in self._workers.values():
            worker.wake()

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
                worker = _Worker(channel, self._queue, self._clock, self._describe, self._sender)
                self._workers[name] = worker
                worker.start()


class _Worker:
    """The thread of one channel."""

    def __init__(
        self, channel: Channel, queue: Notifications, clock: Clock, describe: Describe, sender: str
    ) -> None:
        self.channel = channel
        self.last_error: str | None = None
        self._queue = queue
        self._clock = clock
        self._describe = describe
        self._sender = sender
        self._wake = threading.Event()
        self._stopping = threading.Event()
        # Whoever stops us does not wait for a server that hangs: its notice stays queued.
        self._thread = threading.Thread(
            target=self._run, name=f"notify-{channel.name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def join(self) -> None:
        self._thread.join(_STOP_S)

    def wake(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                pause_s = self._turn()
                failing = False
            except Exception as exc:
                # Whatever it was, the next notice must be tried.
                known = isinstance(exc, StorageError)
                if not failing:
                    log.error("queue of notices fails", exc_info=None if known else exc)
                failing, pause_s = True, _DATABASE_AWAY_S
            self._wake.wait(pause_s)

    def _turn(self) -> float:
        """Send what is due; return the seconds until there may be more to do."""
        name, now = self.channel.name, self._clock.now()
        due = self._queue.due(name, now)
        if not due:
            following = self._queue.next_due(name)
            if following is None:
                return _IDLE_S
            return min(_IDLE_S, max(0.05, (following - now).total_seconds()))
        oldest = min(notice.due for notice in due)
        ready_in_s = self.channel.entry.group_s - (now - oldest).total_seconds()
        if 0 < ready_in_s <= self.channel.entry.group_s:
            # Woken meanwhile or not: what comes until then goes out with it.
            self._stopping.wait(ready_in_s)
            return 0.0
        choice = choose(
            self._queue.waiting(name),
            {notice.id for notice in due},
            lambda alert_id: self._queue.was_sent(name, alert_id),
        )
        if choice.drop:
            self._queue.end([notice.id for notice in choice.drop], DROPPED, now)
        if choice.send:
            self._send(choice.send)
        return 0.0 if choice.send or choice.drop else 1.0

    def _send(self, notices: Sequence[Notice]) -> None:
        language, now = self.channel.entry.language, self._clock.now()
        told = [
            Told(
                kind=AlertEventKind(notice.kind),
                event=notice.event,
                alert=self._describe(_ALERT.validate_json(notice.document), language),
            )
            for notice in notices
        ]
        try:
            send(self.channel, message_of(told, language, self._sender, now))
        except NotifyFailed as exc:
            self._failed(notices, str(exc.params["reason"]))
            return
        if self.last_error is not None:
            log.info("channel works again", extra={"channel": self.channel.name})
        self.last_error = None
        self._queue.end([notice.id for notice in notices], SENT, self._clock.now())

    def _failed(self, notices: Sequence[Notice], reason: str) -> None:
        if reason != self.last_error:
            log.error(
                "channel could not send", extra={"channel": self.channel.name, "reason": reason}
            )
        self.last_error = reason
        now = self._clock.now()
        given_up = [n.id for n in notices if n.attempts + 1 >= MAX_ATTEMPTS]
        if given_up:
            self._queue.end(given_up, FAILED, now, reason)
        again = [n for n in notices if n.attempts + 1 < MAX_ATTEMPTS]
        if again:
            attempts = max(n.attempts for n in again) + 1
            due = next_attempt(now, attempts, random.random)
            self._queue.retry([n.id for n in again], now, due, reason)


def _is_over(event: AlertEvent) -> bool:
    return event.kind is AlertEventKind.RESOLVED


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        return None
