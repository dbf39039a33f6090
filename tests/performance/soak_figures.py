"""What the parts of an installation cost while it runs, and whether any of it grows."""

import contextlib
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_ROLES = (
    ("control_plane", "control plane"),
    ("historian", "historian"),
    ("supervisor.supervisord", "supervisord"),
    ("collectors", "collectors"),
)
_SUMS = ("processes", "rss_mb", "descriptors", "threads")
_DIRECTORIES = ("spool", "history", "log", "run")


@dataclass(slots=True)
class Sums:
    """Of all processes of one role at one moment."""

    processes: int = 0
    rss_mb: float = 0.0
    descriptors: int = 0
    threads: int = 0
    cpu_s: float = 0.0


@dataclass(slots=True)
class Figures:
    """Every look at an installation, in order."""

    home: Path
    at_s: list[float] = field(default_factory=list)
    roles: dict[str, list[Sums]] = field(default_factory=lambda: defaultdict(list))
    sizes_mb: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def look(self) -> None:
        """Add how things are now; processes that end meanwhile are left out."""
        self.at_s.append(time.monotonic())
        found = {role: Sums() for _, role in _ROLES}
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
                role = self._role(command)
                if role is None:
                    continue
                with process.oneshot():
                    sums, cpu = found[role], process.cpu_times()
                    sums.processes += 1
                    sums.rss_mb += process.memory_info().rss / 1e6
                    sums.descriptors += process.num_fds()
                    sums.threads += process.num_threads()
                    sums.cpu_s += cpu.user + cpu.system
            except psutil.Error:
                continue
        for role, sums in found.items():
            self.roles[role].append(sums)
        for name in _DIRECTORIES:
            self.sizes_mb[name].append(_size_mb((self.home / name).rglob("*")))
        self.sizes_mb["state.db"].append(_size_mb(self.home.glob("state.db*")))

    def _role(self, command: str) -> str | None:
        if str(self.home) not in command:
            return None
        return next((role for part, role in _ROLES if part in command), None)

    def table(self) -> list[str]:
        """Return a line a figure: the first third's median, the last third's, the most."""
        lines = [f"{'':28}{'first third':>12}{'last third':>12}{'most':>12}"]
        for role, all_ in self.roles.items():
            lines += [_line(f"{role} {what}", [getattr(s, what) for s in all_]) for what in _SUMS]
        lines += [_line(f"{name} MB", sizes) for name, sizes in self.sizes_mb.items()]
        span_s = self.at_s[-1] - self.at_s[0]
        for role, all_ in self.roles.items():
            # A restart begins at 0 again, so only what was added counts.
            steps = [max(0.0, b.cpu_s - a.cpu_s) for a, b in itertools.pairwise(all_)]
            lines.append(f"{f'{role} % of a core':28}{100 * sum(steps) / span_s:36.1f}")
        return lines


def _line(name: str, values: list[float]) -> str:
    third = max(1, len(values) // 3)
    first, last = statistics.median(values[:third]), statistics.median(values[-third:])
    return f"{name:28}{first:12.1f}{last:12.1f}{max(values):12.1f}"


def _size_mb(paths: Iterable[Path]) -> float:
    size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size if path.is_file() else 0
    return size / 1e6
