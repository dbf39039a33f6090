"""A command repeated under one key is done once, also when the control plane died in between."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask, Response, g, jsonify

from control_plane.api.errors import register_error_handlers
from control_plane.api.idempotency import once
from control_plane.auth.permissions import Actor, Role
from control_plane.clock import Clock
from control_plane.errors import Busy, KeyInUse
from control_plane.storage.database import StateDatabase
from control_plane.storage.idempotent_answers import KEPT, Answer, IdempotentAnswers

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
ANSWER = Answer(status=200, content_type="application/json", body='{"outcome": "完成"}')


class FixedClock(Clock):
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def test_a_key_answers_again_with_the_first_answer(database: StateDatabase) -> None:
    answers = IdempotentAnswers(database)
    assert answers.begin("bob", "k", "print", NOW) is None
    answers.end("bob", "k", ANSWER)
    assert IdempotentAnswers(database).begin("bob", "k", "print", NOW) == ANSWER
    assert answers.begin("alice", "k", "print", NOW) is None


def test_a_key_of_another_or_an_unanswered_request_is_refused(database: StateDatabase) -> None:
    answers = IdempotentAnswers(database)
    answers.begin("bob", "k", "print", NOW)
    with pytest.raises(KeyInUse):
        answers.begin("bob", "k", "print", NOW)
    answers.end("bob", "k", ANSWER)
    with pytest.raises(KeyInUse):
        answers.begin("bob", "k", "other", NOW)


def test_a_key_is_free_again_after_an_error_and_after_ten_minutes(database: StateDatabase) -> None:
    answers = IdempotentAnswers(database)
    answers.begin("bob", "k", "print", NOW)
    answers.forget("bob", "k")
    assert answers.begin("bob", "k", "other", NOW) is None
    later = NOW + KEPT + timedelta(seconds=1)
    assert answers.begin("bob", "k", "print", later) is None


@pytest.fixture
def app(database: StateDatabase) -> Callable[[], tuple[Flask, list[str]]]:
    def build() -> tuple[Flask, list[str]]:
        app, done = Flask("test"), []
        register_error_handlers(app)

        @app.before_request
        def sender() -> None:
            g.actor = Actor(name="bob", role=Role.OPERATOR, origin="::1")

        @app.post("/do/<what>")
        @once(IdempotentAnswers(database), FixedClock())
        def do(what: str) -> Response:
            if what == "fail":
                raise Busy(name="line1")
            done.append(what)
            return jsonify(count=len(done))

        return app, done

    return build


def test_the_same_command_for_another_state_or_with_other_options_is_another_one(
    app: Callable[[], tuple[Flask, list[str]]],
) -> None:
    key = {"Idempotency-Key": "abc", "If-Match": '"one"'}
    built, done = app()
    client = built.test_client()
    assert client.post("/do/it?dry=1", headers=key).status_code == 200
    for path, tag in (("/do/it?dry=1", '"two"'), ("/do/it", '"one"')):
        other = client.post(path, headers=key | {"If-Match": tag})
        assert (other.status_code, other.json["code"]) == (409, "key_in_use"), path
    assert client.post("/do/it?dry=1", headers=key).headers["Idempotent-Replay"] == "true"
    assert done == ["it"]


def test_the_route_runs_once_for_each_key_also_in_the_next_life(
    app: Callable[[], tuple[Flask, list[str]]],
) -> None:
    key = {"Idempotency-Key": "abc"}
    first, done = app()
    answers = [first.test_client().post("/do/it", headers=key) for _ in range(2)]
    assert [answer.json["count"] for answer in answers] == [1, 1]
    assert "Idempotent-Replay" not in answers[0].headers
    reborn, done_later = app()
    replay = reborn.test_client().post("/do/it", headers=key)
    assert (replay.json, replay.headers["Idempotent-Replay"]) == ({"count": 1}, "true")
    assert (done, done_later) == (["it"], [])


def test_errors_are_not_remembered_and_bad_keys_are_refused(
    app: Callable[[], tuple[Flask, list[str]]],
) -> None:
    client = app()[0].test_client()
    for _ in range(2):
        answer = client.post("/do/fail", headers={"Idempotency-Key": "abc"})
        assert (answer.status_code, answer.json["code"]) == (409, "busy")
    for bad in ("", "ä", "x" * 65, "a b"):
        assert client.post("/do/it", headers={"Idempotency-Key": bad}).status_code == 400
    assert [client.post("/do/it").json["count"] for _ in range(2)] == [1, 2]
