"""Files that a collector file points to: certificates, keys, passwords."""

import stat
from pathlib import Path
from typing import Annotated

from collectors.contract.limits import Checked, Fault, Rejected


def _check_readable(text: str) -> None:
    path = Path(text)
    if not path.is_absolute():
        raise Rejected(Fault("relative_path", {"path": text}))
    try:
        # Before it is opened: a named pipe would hold us up until somebody writes to it.
        if path.exists() and not path.is_file():
            raise Rejected(Fault("not_a_file", {"path": text}))
        with path.open("rb"):
            pass
    except OSError as exc:
        params = {"path": text, "reason": exc.strerror or str(exc)}
        raise Rejected(Fault("missing_file", params)) from None


def _check_secret(text: str) -> None:
    _check_readable(text)
    if Path(text).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Rejected(Fault("open_secret", {"path": text}))


ReadableFile = Annotated[str, Checked(_check_readable)]
SecretFile = Annotated[str, Checked(_check_secret)]
"""One that only its owner can read."""
