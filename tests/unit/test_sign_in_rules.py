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
            attempts.check("user:alice", "address:a")
        except RateLimited as exc:
            waits.append(exc.params["retry_after_s"])
            time.now += exc.params["retry_after_s"]
        attempts.failed("user:alice", "address:a")
    assert waits == [5, 10, 20]


def test_one_address_cannot_lock_out_the_others() -> None:
    attempts = SignInAttempts(Time())
    for n in range(20):
        attempts.failed(f"user:{n}", "address:evil")
    with pytest.raises(RateLimited):
        attempts.check("user:alice", "address:evil")
    attempts.check("user:alice", "address:good")


def test_a_success_and_half_an_hour_both_forget() -> None:
    time = Time()
    attempts = SignInAttempts(time)
    for _ in range(9):
        attempts.failed("user:alice", "user:bob")
    attempts.succeeded("user:alice")
    attempts.check("user:alice")
    time.now += 1801
    attempts.check("user:bob")


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
