"""The files that were rotated away from the logs of a directory."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROTATED = re.compile(r"(?P<log>.+\.log)\.(?P<number>[1-9][0-9]{0,3})")
_BLOCK_BYTES: Final = 1 << 20

Identity = tuple[int, int, int]
"""Inode, size in bytes and time of the last writing in nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedFile:
    """A rotated file, open, so that a rotation meanwhile does not change what it is."""

    name: str
    fd: int
    identity: Identity

    def sha256(self) -> str:
        """Return the digest of all that it holds, in hexadecimal digits."""
        digest, offset = hashlib.sha256(), 0
        while block := os.pread(self.fd, _BLOCK_BYTES, offset):
            digest.update(block)
            offset += len(block)
        return digest.hexdigest()


def rotated_logs(log_dir: Path) -> list[str]:
    """Return the logs of which there are rotated files, by the name of the file in use.

    Raises:
        OSError: the directory cannot be read.
    """
    found = (_ROTATED.fullmatch(path.name) for path in log_dir.iterdir())
    return sorted({match["log"] for match in found if match})


def rotated_numbers(log_dir: Path, log: str) -> list[int]:
    """Return the numbers of a log's rotated files, 1 for the newest.

    Raises:
        OSError: the directory cannot be read.
    """
    matches = (_ROTATED.fullmatch(path.name) for path in log_dir.iterdir())
    return sorted(int(match["number"]) for match in matches if match and match["log"] == log)


@contextlib.contextmanager
def open_rotated(log_dir: Path, log: str) -> Iterator[list[RotatedFile]]:
    """Open all rotated files of a log, the newest first.

    In this order a rotation meanwhile can show a file twice, which counts once, but hide none.

    Raises:
        OSError: one is there and cannot be read.
    """
    numbers = rotated_numbers(log_dir, log)
    with contextlib.ExitStack() as stack:
        found: dict[int, RotatedFile] = {}
        number, last = 0, numbers[-1] if numbers else 0
        while number < last or (log_dir / f"{log}.{number + 1}").exists():
            number += 1
            name = f"{log}.{number}"
            with contextlib.suppress(FileNotFoundError):
                file = stack.enter_context((log_dir / name).open("rb"))
                status = os.fstat(file.fileno())
                identity = status.st_ino, status.st_size, status.st_mtime_ns
                rotated = RotatedFile(name=name, fd=file.fileno(), identity=identity)
                found.setdefault(status.st_ino, rotated)
        yield list(found.values())
