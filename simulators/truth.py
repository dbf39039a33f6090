"""The truth log: what a simulator served, one JSON object a line, for comparison with history."""

import asyncio
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulators.memory import Values
from simulators.waveforms import Value

_FLUSH_AFTER_S = 0.1


class TruthLog:
    """Appends lines to ``path``, at the latest 0.1 s after they were recorded and on close.

    Without a path it forgets them. Use it inside a running event loop.

    Raises:
        OSError: the file cannot be opened or written.
    """

    def __init__(self, path: Path | None) -> None:
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

    def served(self, *, t_ns: int, unit: int | None, values: Values) -> None:
        """Record an answered read at ``t_ns``, ns since the Unix epoch."""
        self._append({"t_ns": t_ns, "unit": unit, "values": values})

    def written(self, *, t_ns: int, unit: int | None, values: Values) -> None:
        """Record what signals hold after a client wrote to them."""
        self._append({"t_ns": t_ns, "unit": unit, "write": values})

    def updated(self, *, source_ns: int, values: Values) -> None:
        """Record new OPC UA values with exactly the source timestamp given to the server."""
        self._append({"source_ns": source_ns, "values": values})

    def node_written(
        self, *, t_ns: int, source_ns: int, values: Mapping[str, Value | None]
    ) -> None:
        """Record what a client wrote to OPC UA nodes, and its source timestamp."""
        self._append({"t_ns": t_ns, "source_ns": source_ns, "write": values})

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._file is not None and self._lines:
            self._file.write("".join(self._lines).encode())
        self._lines.clear()

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            text = json.dumps(line, ensure_ascii=False, allow_nan=False)
        except ValueError:
            text = json.dumps(_without_nan(line), ensure_ascii=False, allow_nan=False)
        self._lines.append(text + "\n")
        if self._timer is None:
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
