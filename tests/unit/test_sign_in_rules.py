import pytest

from control_plane.auth.attempts import SignInAttempts
from control_plane.auth.passwords import hash_password, verify_password
from control_plane.auth.permissions import Actor, Permission, Role, require
from control_plane.errors import NotPermitted, RateLimited, WeakPassword


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_five_failures_are_free_and_then_the_wait_doubles() -> None:
    time = Time()
    attempts = SignInAttempts(time)
    waits = []
    for _ in range(8):
        try:
            attempts.begin("alice", "a")
        except RateLimited as exc:
            waits.append(exc.params["retry_after_s"])
            time.now += exc.params["retry_after_s"]
            attempts.begin("alice", "a")
    assert waits == [5, 10, 20]


def test_five_failures_lock_neither_another_address_nor_another_user() -> None:
    attempts = SignInAttempts(Time())
    for _ in range(5):
        attempts.begin("alice", "evil")
    with pytest.raises(RateLimited):
        attempts.begin("alice", "evil")
    attempts.begin("alice", "good")
    attempts.begin("bob", "evil")


def test_one_address_has_twenty_failures_with_whatever_names() -> None:
    attempts = SignInAttempts(Time())
    for n in range(20):
        attempts.begin(f"user{n}", "evil")
    with pytest.raises(RateLimited):
        attempts.begin("alice", "evil")
    attempts.begin("alice", "good")


def test_a_success_forgets_the_failures_of_that_user_at_that_address_alone() -> None:
    attempts = SignInAttempts(Time())
    for n in range(19):
        attempts.begin(f"user{n}", "a")
    attempts.begin("alice", "a")
    attempts.succeeded("alice", "a")
    attempts.begin("alice", "a")
    with pytest.raises(RateLimited):
        attempts.begin("alice", "a")


def test_half_an_hour_forgets() -> None:
    time = Time()
    attempts = SignInAttempts(time)
    for _ in range(5):
        attempts.begin("bob", "a")
    time.now += 1801
    for _ in range(5):
        attempts.begin("bob", "a")
    with pytest.raises(RateLimited):
        attempts.begin("bob", "a")


@pytest.mark.parametrize(
    ("role", "permission", "allowed"),
    [
        (Role.VIEWER, Permission.VIEW, True),
        (Role.VIEWER, Permission.COMMAND, False),
        (Role.OPERATOR, Permission.COMMAND, True),
        (Role.OPERATOR, Permission.ADMINISTER, False),
        (Role.ADMIN, Permission.ADMINISTER, True),
    ],
)
def test_roles(role: Role, permission: Permission, allowed: bool) -> None:
    actor = Actor(name="carol", role=role, origin="test")
    if allowed:
        require(actor, permission)
    else:
        with pytest.raises(NotPermitted):
            require(actor, permission)


def test_passwords_verify_and_short_ones_are_refused() -> None:
    hashed = hash_password("correct horse")
    assert hashed.startswith("$argon2id$")
    assert verify_password("correct horse", hashed)
    assert not verify_password("wrong horse!", hashed)
    assert not verify_password("correct horse", None)
    with pytest.raises(WeakPassword, match="10"):
        hash_password("short")
