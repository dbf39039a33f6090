"""Commands from standard input, if that is a pipe: supervisord writes them there."""

import asyncio
import os
import stat
from collections.abc import Callable
from typing import Any

from collectors.contract.commands import MAX_COMMAND_BYTES

_STDIN = 0


class LineReader(asyncio.Protocol):
    """Cuts a stream into lines of bounded length.

    Args:
        take_line: Gets each line without its end; ``None`` stands for one that is too long.
    """

    def __init__(self, take_line: Callable[[bytes | None], None]) -> None:
        self._take_line = take_line
        self._rest = b""
        self._is_too_long = False

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._is_too_long or len(line) > MAX_COMMAND_BYTES:
                self._take_line(None)
                self._is_too_long = False
            elif line.strip():
                self._take_line(line)
        if len(rest) > MAX_COMMAND_BYTES:
            self._is_too_long, rest = True, b""
        self._rest = rest


async def read_commands(
    take_line: Callable[[bytes | None], None], descriptor: int = _STDIN
) -> asyncio.BaseTransport | None:
    """Pass on each line that comes; return what to close at the end.

    A terminal, a file or nothing at all gives no commands, and the end of the pipe ends nothing.
    """
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return None
        stream: Any = os.fdopen(os.dup(descriptor), "rb", buffering=0)
    except OSError:
        return None
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: LineReader(take_line), stream)
    return transport
