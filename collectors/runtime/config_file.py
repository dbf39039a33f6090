"""Load the collector's file in a process of its own.

Parsing 200,000 points takes three seconds and 300 MB, and pydantic 13 MB for good. In a process of
its own that neither holds up acquisition nor stays in this process's memory: what comes back is
packed.
"""

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from collectors.contract.config_error import ConfigError, ConfigProblem
from collectors.runtime.packed_config import PackedConfig

_LOADER = "collectors.runtime.config_loader"

_log = logging.getLogger(__name__)


def log_problems(problems: Sequence[ConfigProblem]) -> None:
    """Write one line for each thing that is wrong in the configuration file."""
    for problem in problems:
        _log.error(
            "configuration refused",
            extra={
                "file": problem.file,
                "line": problem.line,
                "key": problem.key,
                "code": problem.code,
                "problem": problem.message(),
                "remedy": problem.remedy(),
            },
        )


def load_in_fork(path: Path) -> PackedConfig:
    """Load in a copy of this process, which has no other threads yet.

    Raises:
        ConfigError: the file cannot be used.
    """
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        with suppress(OSError), os.fdopen(sink, "wb") as stream:
            stream.write(import_module(_LOADER).attempt(path))
        os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return _result_of(answer)


async def load_beside(path: Path) -> PackedConfig:
    """Load in a new process, while this one goes on; errors as :func:`load_in_fork`."""
    command = (sys.executable, "-m", _LOADER, str(path))
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        answer, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    return _result_of(answer)


def _result_of(answer: bytes) -> PackedConfig:
    """Unpickle what a process that we started ourselves has written."""
    result = pickle.loads(answer)
    if isinstance(result, PackedConfig):
        return result
    raise ConfigError(result)
