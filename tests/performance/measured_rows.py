"""Rows of measurements, aligned, each with what is said about its target."""

import json
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Statistic = Literal["median", "p99", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    statistic: Statistic
    limit: float


@dataclass(frozen=True, slots=True)
class Row:
    """Samples of one figure in ``unit``; a row without a target is the peer of another one."""

    what: str
    samples: Sequence[float]
    unit: str
    target: Target | None = None

    def value(self, statistic: Statistic) -> float:
        match statistic:
            case "median":
                return statistics.median(self.samples)
            case "p99":
                # Nearest rank: with fewer than 100 samples this is the largest.
                return sorted(self.samples)[math.ceil(0.99 * len(self.samples)) - 1]
            case "max":
                return max(self.samples)

    def is_met(self) -> bool:
        return self.target is None or self.value(self.target.statistic) <= self.target.limit

    def verdict(self) -> str:
        if self.target is None:
            return ""
        said = "met" if self.is_met() else "MISSED"
        return f"{said:6}  {self.target.statistic} <= {self.target.limit:g} {self.unit}"


def p99_at_most(limit: float) -> Target:
    return Target(statistic="p99", limit=limit)


def median_at_most(limit: float) -> Target:
    return Target(statistic="median", limit=limit)


def max_at_most(limit: float) -> Target:
    return Target(statistic="max", limit=limit)


FIGURES_FILE = "BENCH_FIGURES"
"""Environment variable: rows are added to this file, too, a JSON object a line."""


def print_table(sections: Sequence[tuple[str, Sequence[Row]]]) -> None:
    """Print every section, then one line that names the targets that were missed."""
    _write_figures(sections)
    head = f"{'n':>5}{'median':>10}{'p99':>10}{'max':>10}"
    for title, rows in sections:
        print(f"\n{title:<52}{head}")
        for row in rows:
            figures = "".join(f"{row.value(s):10.2f}" for s in ("median", "p99", "max"))
            line = f"  {row.what:<50}{len(row.samples):5}{figures} {row.unit:<3}  {row.verdict()}"
            print(line.rstrip())
    judged = [row for _, rows in sections for row in rows if row.target is not None]
    missed = [row.what.strip() for row in judged if not row.is_met()]
    said = f"{len(judged) - len(missed)} of {len(judged)} targets met"
    print(f"\n{said}{'; missed: ' + '; '.join(missed) if missed else ''}")


def _write_figures(sections: Sequence[tuple[str, Sequence[Row]]]) -> None:
    path = os.environ.get(FIGURES_FILE)
    if not path:
        return
    with Path(path).open("a", encoding="utf-8") as file:
        for title, rows in sections:
            for row in rows:
                facts = {
                    "section": title,
                    "what": row.what.strip(),
                    "unit": row.unit,
                    "n": len(row.samples),
                    **{s: round(row.value(s), 4) for s in ("median", "p99", "max")},
                    "target": None if row.target is None else row.verdict().split("  ", 1)[1],
                    "met": row.is_met(),
                }
                file.write(json.dumps(facts) + "\n")
