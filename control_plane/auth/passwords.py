"""Password hashing with argon2id; at most two at a time, because each takes 64 MB.

Only few may wait for their turn: each holds a thread of the server, and guesses that come from
many addresses would otherwise hold them all.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from control_plane.errors import RateLimited, WeakPassword

MINIMUM_LENGTH = 10
_MAXIMUM_LENGTH = 256
_hasher = PasswordHasher()
_slots = threading.BoundedSemaphore(2)
_queue = threading.BoundedSemaphore(8)
_RETRY_AFTER_S = 2


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    if not _queue.acquire(blocking=False):
        raise RateLimited(retry_after_s=_RETRY_AFTER_S)
    try:
        with _slots:
            yield
    finally:
        _queue.release()


@functools.cache
def _hash_of_nobody() -> str:
    return _hasher.hash("nobody has this password")


def hash_password(password: str) -> str:
    """Return the hash to store.

    Raises:
        WeakPassword: shorter than 10 or longer than 256 characters.
        RateLimited: too many are being hashed.
    """
    if not MINIMUM_LENGTH <= len(password) <= _MAXIMUM_LENGTH:
        raise WeakPassword(minimum=MINIMUM_LENGTH)
    with _turn():
        return _hasher.hash(password)


def verify_password(password: str, stored_hash: str | None) -> bool:
    """Compare; without a stored hash it takes as long, so that user names cannot be probed.

    Raises:
        RateLimited: too many are being compared.
    """
    with _turn():
        try:
            return _hasher.verify(
                stored_hash or _hash_of_nobody(), password[:_MAXIMUM_LENGTH]
            ) and (stored_hash is not None)
        except (Argon2Error, InvalidHashError):
            return False
