"""The truth log: what a simulator served, one JSON object a line, for comparison with history."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulators.memory import Values
from simulators.waveforms import Value

_FLUSH_AFTER_S = 0.1
_FLUSH_LINES = 1000
DEFAULT_MAX_BYTES = 256_000_000


class TruthLog:
    """Appends lines to ``path``, at the latest 0.1 s after they were recorded and on close.

    Without a path it forgets them. Use it inside a running event loop. When the file has grown to
    half of ``max_bytes`` it becomes ``path`` + ``.1``, in the place of the one before.

    Raises:
        OSError: the file cannot be opened or written.
    """

    def __init__(self, path: Path | None, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes // 2
        self._file = None if path is None else path.open("ab", buffering=0)
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()

    def served(
        self, *, t_ns: int, device: str, unit: int | None, values: Values, spoilt: Sequence[str]
    ) -> None:
        """Record an answered read at ``t_ns``, ns since the Unix epoch.

        ``spoilt`` names the faults that made it an answer which nobody may believe.
        """
        line = {"t_ns": t_ns, "device": device, "unit": unit, "values": values}
        self._append(line | {"spoilt": spoilt} if spoilt else line)

    def written(
        self, *, t_ns: int, device: str, unit: int | None, values: Mapping[str, Value]
    ) -> None:
        """Record what signals hold after a client wrote to them."""
        self._append({"t_ns": t_ns, "device": device, "unit": unit, "write": values})

    def updated(self, *, device: str, source_ns: int, values: Values, status: int = 0) -> None:
        """Record new OPC UA values with exactly the source timestamp given to the server.

        ``status`` is their OPC UA status code.
        """
        line = {"source_ns": source_ns, "device": device, "values": values}
        self._append(line | {"status": status} if status else line)

    def node_written(
        self, *, device: str, t_ns: int, source_ns: int, values: Mapping[str, Value | None]
    ) -> None:
        """Record what a client wrote to OPC UA nodes, and its source timestamp."""
        line = {"t_ns": t_ns, "device": device, "source_ns": source_ns, "write": values}
        self._append(line)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._file is not None and self._lines:
            self._file.write("".join(self._lines).encode())
            if self._file.tell() >= self._max_bytes:
                self._turn_over()
        self._lines.clear()

    def _turn_over(self) -> None:
        assert self._path is not None
        assert self._file is not None
        self._file.close()
        self._path.replace(f"{self._path}.1")
        self._file = self._path.open("ab", buffering=0)

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            text = json.dumps(line, ensure_ascii=False, allow_nan=False)
        except ValueError:
            text = json.dumps(_without_nan(line), ensure_ascii=False, allow_nan=False)
        self._lines.append(text + "\n")
        if len(self._lines) >= _FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER_S, self.flush)


def _without_nan(line: Mapping[str, Any]) -> dict[str, Any]:
    """Replace NaN and infinity, which JSON does not have, by null."""
    return {
        key: _without_nan(entry)
        if isinstance(entry, dict)
        else None
        if isinstance(entry, float) and not math.isfinite(entry)
        else entry
        for key, entry in line.items()
    }
