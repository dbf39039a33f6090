"""Password hashing with argon2id; at most two at a time, because each takes 64 MB."""

import functools
import threading

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from control_plane.errors import WeakPassword

MINIMUM_LENGTH = 10
_MAXIMUM_LENGTH = 256
_hasher = PasswordHasher()
_slots = threading.BoundedSemaphore(2)


@functools.cache
def _hash_of_nobody() -> str:
    return _hasher.hash("nobody has this password")


def hash_password(password: str) -> str:
    """Return the hash to store.

    Raises:
        WeakPassword: shorter than 10 or longer than 256 characters.
    """
    if not MINIMUM_LENGTH <= len(password) <= _MAXIMUM_LENGTH:
        raise WeakPassword(minimum=MINIMUM_LENGTH)
    with _slots:
        return _hasher.hash(password)


def verify_password(password: str, stored_hash: str | None) -> bool:
    """Compare; without a stored hash it takes as long, so that user names cannot be probed."""
    with _slots:
        try:
            return _hasher.verify(
                stored_hash or _hash_of_nobody(), password[:_MAXIMUM_LENGTH]
            ) and (stored_hash is not None)
        except (Argon2Error, InvalidHashError):
            return False
