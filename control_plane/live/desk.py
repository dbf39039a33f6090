"""Answers what clients ask for; see ``docs/live.md`` for the protocol."""

from collections.abc import Callable, Mapping
from typing import Final

from control_plane.live.board import Board, Refused
from control_plane.live.connection import Connection
from control_plane.live.frames import Mode
from control_plane.live.groups import Group, Subscription
from control_plane.live.limits import (
    CLOSE_BAD_FRAME,
    CLOSE_RATE,
    MAX_BAD_FRAMES,
    STRIKE_WINDOW_S,
    STRIKES,
    USER_MESSAGES_BURST,
    USER_MESSAGES_PER_S,
    TokenBucket,
)
from control_plane.live.requests import (
    BadFrame,
    Get,
    Hello,
    Ping,
    Request,
    Subscribe,
    Unsubscribe,
    Update,
    read_request,
)
from control_plane.live.topics import Topic

_MAX_USERS: Final = 1000

Times = Callable[[], Mapping[str, object]]


class Desk:
    """One function for each word of the protocol; used by the hub's thread only."""

    def __init__(self, board: Board, times: Times) -> None:
        self._board = board
        self._users: dict[str, TokenBucket] = {}
        """The one that spoke longest ago comes first."""
        self.times = times
        """What time it is, and when the plant was last seen; goes with pongs."""

    def answer(self, connection: Connection, text: str, mono: float) -> None:
        """Do what one frame of a client asks for, or say why not."""
        if not connection.allowance.messages.take(1.0, mono):
            self._strike(connection, mono)
            return
        if not self._bucket_of(connection.visitor.user, mono).take(1.0, mono):
            # Perhaps it is another panel of this user that asks too much.
            _refuse(connection, None, Refused("rate_limited", "too many messages of you", 1000))
            return
        try:
            request = read_request(text)
        except BadFrame as exc:
            self._bad_frame(connection, exc.request_id, Refused("bad_request", exc.reason), mono)
            return
        connection.greeted = True
        try:
            self._do(connection, request, mono)
        except Refused as exc:
            if exc.code in ("rate_limited", "too_many_subs"):
                # No bad frame: a client that has lost a message may ask again in good faith.
                _refuse(connection, request.id, exc)
            else:
                self._bad_frame(connection, request.id, exc, mono)

    def _bucket_of(self, user: str, mono: float) -> TokenBucket:
        bucket = self._users.pop(user, None) or TokenBucket(
            USER_MESSAGES_PER_S, USER_MESSAGES_BURST, mono
        )
        self._users[user] = bucket
        if len(self._users) > _MAX_USERS:
            del self._users[next(iter(self._users))]
        return bucket

    def _do(self, connection: Connection, request: Request, mono: float) -> None:
        match request:
            case Hello():
                self._hello(connection, request)
            case Subscribe():
                self._subscribe(connection, request, mono)
            case Update():
                self._update(connection, request, mono)
            case Unsubscribe():
                self._unsubscribe(connection, request, mono)
            case Get():
                self._get(connection, request, mono)
            case Ping():
                pong = {"id": request.id, "type": "pong", "t": request.t, **self.times()}
                connection.write_json(pong)

    def _hello(self, connection: Connection, request: Hello) -> None:
        wanted = request.features
        connection.mode = Mode.ZIP if wanted.zip else Mode.BATCH if wanted.batch else Mode.PLAIN
        resume = request.resume
        recovered = resume is not None and resume.epoch == self._board.epoch
        if resume is not None and recovered:
            connection.resume = dict(resume.seq)
        _acknowledge(connection, request.id, epoch=self._board.epoch, recovered=recovered)

    def _subscribe(self, connection: Connection, request: Subscribe, mono: float) -> None:
        topic = self._topic(connection, request.topic)
        group = self._board.join(connection, topic, request, mono)
        subscription = connection.subscriptions[group.sub]
        try:
            since = self._known(connection, request, group)
            self._tell(subscription, request.id, since, mono)
        except Refused:
            if not subscription.is_told:
                self._board.leave(subscription, mono)
            raise

    def _known(self, connection: Connection, request: Subscribe, group: Group) -> int | None:
        """Return up to which number the client has been told in a former connection."""
        if request.since is not None and request.epoch == self._board.epoch_of(group):
            return request.since
        if group.producer is None:
            return connection.resume.pop(request.topic, None)
        return None

    def _tell(
        self, subscription: Subscription, request_id: object, since: int | None, mono: float
    ) -> None:
        """Acknowledge, and bring the client from where it is to now."""
        connection, group = subscription.connection, subscription.group
        changes = None if since is None else group.feed.since(since, group.matches)
        if changes is None and not connection.allowance.snapshots.take(1.0, mono):
            raise Refused(
                "rate_limited", "too many snapshots", connection.allowance.snapshots.wait_ms(1.0)
            )
        subscription.is_told, subscription.is_lagging = True, False
        _acknowledge(
            connection,
            request_id,
            topic=group.topic.name,
            sub=group.sub,
            epoch=self._board.epoch_of(group),
            seq=group.seq,
            recovered=changes is not None,
        )
        if since is None or changes is None:
            connection.write_burst(group.snapshot())
        else:
            group.tell(connection, changes, since)

    def _update(self, connection: Connection, request: Update, mono: float) -> None:
        old = connection.subscriptions.get(request.sub)
        if old is None:
            raise Refused("bad_request", f"sub: you have no subscription {request.sub}")
        group = self._board.join(connection, old.group.topic, request, mono)
        if group is not old.group:
            self._board.leave(old, mono)
        self._tell(connection.subscriptions[group.sub], request.id, None, mono)

    def _unsubscribe(self, connection: Connection, request: Unsubscribe, mono: float) -> None:
        if request.topic is None and request.sub is None:
            raise Refused("bad_request", "unsubscribe from a topic or from a sub")
        if request.topic is not None:
            self._topic(connection, request.topic)
        for each in list(connection.subscriptions.values()):
            if request.sub in (None, each.group.sub) and request.topic in (
                None,
                each.group.topic.name,
            ):
                self._board.leave(each, mono)
        _acknowledge(connection, request.id, topic=request.topic, sub=request.sub)

    def _get(self, connection: Connection, request: Get, mono: float) -> None:
        subscription = connection.subscriptions.get(request.sub)
        if subscription is None:
            raise Refused("bad_request", f"sub: you have no subscription {request.sub}")
        subscription.group.flush(mono)
        self._tell(subscription, request.id, None, mono)

    def _topic(self, connection: Connection, name: str) -> Topic:
        topic = self._board.topics.get(name)
        if topic is None:
            known = ", ".join(self._board.topics)
            raise Refused("unknown_topic", f"topics are: {known}")
        allowed = connection.visitor.topics
        if allowed is not None and name not in allowed:
            raise Refused("forbidden", f"your role may not listen to {name}")
        return topic

    def _strike(self, connection: Connection, mono: float) -> None:
        """Too fast: warn; who is warned too often is sent away."""
        strikes = connection.allowance.strikes
        if strikes and mono - strikes[-1] < 1.0:
            return  # What is already on its way when the warning comes is no new offence.
        strikes.append(mono)
        if len(strikes) == STRIKES and mono - strikes[0] <= STRIKE_WINDOW_S:
            connection.close(CLOSE_RATE, mono, "too many messages")
            return
        wait_ms = connection.allowance.messages.wait_ms(10.0)
        _refuse(connection, None, Refused("rate_limited", "too many messages", wait_ms))

    def _bad_frame(
        self, connection: Connection, request_id: object, refused: Refused, mono: float
    ) -> None:
        connection.allowance.bad_frames += 1
        _refuse(connection, request_id, refused)
        if connection.allowance.bad_frames >= MAX_BAD_FRAMES:
            connection.close(CLOSE_BAD_FRAME, mono, "too many frames that make no sense")


def _acknowledge(connection: Connection, request_id: object, **facts: object) -> None:
    connection.write_json({"id": request_id, "type": "ack", "ok": True, **facts})


def _refuse(connection: Connection, request_id: object, refused: Refused) -> None:
    error: dict[str, object] = {
        "id": request_id,
        "type": "error",
        "ok": False,
        "code": refused.code,
        "message": refused.reason,
    }
    if refused.retry_ms is not None:
        error["retry_ms"] = refused.retry_ms
    connection.write_json(error)
