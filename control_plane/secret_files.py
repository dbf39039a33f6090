"""Secrets in files of their own, which only their owner may read."""

import re
import stat
from pathlib import Path

from collectors.contract.config_problems import ConfigError

_OTHERS_MAY_READ = 0o077


def read_secret(secret: Path, file: str, key: str) -> str:
    """Return the only line of a file with mode 0600 or stricter.

    Raises:
        ConfigError: at ``key`` of the configuration ``file`` that names the secret.
    """
    try:
        mode = secret.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError.single(file, key, "not_a_file", {"path": str(secret)})
        text = secret.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not UTF-8"
        params = {"path": str(secret), "reason": reason}
        raise ConfigError.single(file, key, "missing_file", params) from None
    if mode & _OTHERS_MAY_READ:
        raise ConfigError.single(file, key, "open_secret", {"path": str(secret)})
    if not text or re.search(r"[\x00-\x1f\x7f]", text):
        raise ConfigError.single(file, key, "bad_secret", {"path": str(secret)})
    return text
