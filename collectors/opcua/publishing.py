"""Keep requests waiting at the server, so that it can send what changes at any time."""

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any, Final

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import (
    BadNoSubscription,
    BadRequestTimeout,
    BadTimeout,
    BadTooManyPublishRequests,
    UaStatusCodeError,
)

from collectors.opcua.codec import DamagedAnswer, Publication, publish_response
from collectors.opcua.session import Session
from collectors.runtime.driver import ConnectionLost, Traffic

_PUBLISH: Final = ua.FourByteNodeId(ua.Int32(ObjectIds.PublishRequest_Encoding_DefaultBinary))
_AHEAD: Final = 3
"""Requests that wait at the server beyond one for each subscription: with a single one a server
cannot send while an answer is on its way (one held 38,000 of 50,000 changes a second)."""
_MOST: Final = 20

Sink = Callable[[Publication, int], None]
"""Takes what came, and when: ns since the Unix epoch."""


class Publisher:
    """The Publish requests of one session. All of it happens in callbacks of the event loop."""

    def __init__(self, session: Session, traffic: Traffic) -> None:
        self._session = session
        self._traffic = traffic
        self._sinks: dict[int, Sink] = {}
        self._acknowledgements: list[tuple[int, int]] = []
        self._waiting = 0
        self._most = _MOST
        self._failures = 0
        self._is_closed = False

    def add(self, subscription_id: int, sink: Sink) -> None:
        """Send what comes for a subscription to ``sink`` from now on.

        Raises:
            ConnectionLost: there is no connection.
        """
        self._sinks[subscription_id] = sink
        self._fill()

    def remove(self, subscription_id: int) -> None:
        self._sinks.pop(subscription_id, None)

    def close(self) -> None:
        """Take no notice of what still comes."""
        self._is_closed = True
        self._sinks.clear()

    def _fill(self) -> None:
        while self._waiting < min(len(self._sinks) + _AHEAD, self._most):
            self._post()

    def _post(self) -> None:
        taken, self._acknowledgements = self._acknowledgements, []
        body = struct.pack("<i", len(taken)) + b"".join(struct.pack("<II", *ack) for ack in taken)
        self._session.post(_PUBLISH, body).add_done_callback(self._answered)
        self._waiting += 1

    def _answered(self, answer: "asyncio.Future[Any]") -> None:
        self._waiting -= 1
        if answer.cancelled() or answer.exception() is not None or self._is_closed:
            return  # the session notices the loss of its connection
        received_ns = time.time_ns()
        try:
            self._take(bytes(answer.result()), received_ns)
            if self._sinks:
                self._fill()
        except (UaStatusCodeError, DamagedAnswer, ConnectionLost) as exc:
            self.close()
            self._session.give_up(ConnectionLost(str(exc) or type(exc).__name__))

    def _take(self, data: bytes, received_ns: int) -> None:
        try:
            publication = publish_response(data)
        except BadTooManyPublishRequests:
            self._most = max(1, self._waiting)
            return
        except BadNoSubscription as exc:
            self._end_all(exc.code, received_ns)
            return
        except (BadTimeout, BadRequestTimeout):
            self._failures += 1
            if self._failures > _MOST:
                raise
            return
        self._failures = 0
        self._traffic.heard(received_ns)
        number = publication.subscription_id
        if not publication.is_keep_alive:
            self._acknowledgements.append((number, publication.sequence_number))
        sink = self._sinks.get(number)
        if sink is not None:
            sink(publication, received_ns)

    def _end_all(self, status: int, received_ns: int) -> None:
        sinks, self._sinks = self._sinks, {}
        for number, sink in sinks.items():
            sink(
                Publication(subscription_id=number, sequence_number=0, ended=status),
                received_ns,
            )
