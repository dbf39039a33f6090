"""Files that a collector file points to: certificates, keys, passwords."""

import stat
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def _readable_file(text: str) -> str:
    path = Path(text)
    if not path.is_absolute():
        raise PydanticCustomError("relative_path", "{path} is not absolute", {"path": text})
    try:
        with path.open("rb"):
            pass
    except OSError as exc:
        params = {"path": text, "reason": exc.strerror or str(exc)}
        raise PydanticCustomError("missing_file", "{path}: {reason}", params) from None
    return text


def _secret_file(text: str) -> str:
    if Path(_readable_file(text)).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PydanticCustomError("open_secret", "others can read {path}", {"path": text})
    return text


ReadableFile = Annotated[str, AfterValidator(_readable_file)]
SecretFile = Annotated[str, AfterValidator(_secret_file)]
"""One that only its owner can read."""
