"""Random tokens: given out once, kept only as hashes."""

import hashlib
import secrets

API_TOKEN_PREFIX = "daq_"
"""By this prefix scanners find leaked tokens."""

_BYTES = 32


def new_token(prefix: str = "") -> str:
    """Return 256 random bits as text that is safe in a URL and a header."""
    return prefix + secrets.token_urlsafe(_BYTES)


def token_hash(token: str) -> str:
    """Return what is stored; a fast hash is enough because the token is random."""
    return hashlib.sha256(token.encode()).hexdigest()
