"""A command that is sent twice under one ``Idempotency-Key`` is done once.

A client that got no answer repeats its request with the same key and gets the first answer.
"""

import functools
import hashlib
import re
from collections.abc import Callable

from flask import Response, g, request

from control_plane.clock import Clock
from control_plane.errors import BadInput
from control_plane.storage.idempotent_answers import Answer, IdempotentAnswers

_KEY = re.compile(r"[\x21-\x7e]{1,64}")

Route = Callable[..., Response]


def once(answers: IdempotentAnswers, clock: Clock) -> Callable[[Route], Route]:
    """Return a decorator of routes by which a repeated key gets the first answer.

    Errors are not remembered: they may be repeated with the same key.
    """

    def decorate(route: Route) -> Route:
        @functools.wraps(route)
        def wrapped(*args: object, **kwargs: object) -> Response:
            key = request.headers.get("Idempotency-Key")
            if key is None:
                return route(*args, **kwargs)
            if _KEY.fullmatch(key) is None:
                raise BadInput.of("Idempotency-Key", "not_key")
            actor: str = g.actor.name
            known = answers.begin(actor, key, _fingerprint(), clock.now())
            if known is not None:
                replay = Response(known.body, known.status)
                replay.headers["Content-Type"] = known.content_type
                replay.headers["Idempotent-Replay"] = "true"
                return replay
            try:
                response = route(*args, **kwargs)
            except Exception:
                answers.forget(actor, key)
                raise
            answers.end(actor, key, _answer(response))
            return response

        wrapped.is_done_once = True  # type: ignore[attr-defined] # for the description of the API
        return wrapped

    return decorate


def _fingerprint() -> str:
    """What must be equal for a request to be the same one; also what it is based on."""
    based_on = request.headers.get("If-Match", "")
    head = f"{request.method} {request.full_path}\n{based_on}\n"
    return hashlib.sha256(head.encode() + request.get_data(cache=True)).hexdigest()


def _answer(response: Response) -> Answer:
    return Answer(
        status=response.status_code,
        content_type=response.headers["Content-Type"],
        body=response.get_data(as_text=True),
    )
