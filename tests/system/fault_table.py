"""The table of docs/fault-matrix.md, made from a run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fault_list import Fault
from fault_run import Outcome

TABLE: Final = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
_HEAD: Final = """# Fault matrix

Written by `make fault-matrix` from a run of `tests/system/test_fault_matrix_system.py`. `make test`
makes the same faults, and fails if one is seen too late, told twice or never, or answered by the
wrong action. Everything is real: supervisord, control plane, collectors, simulated devices on TCP,
SQLite, VictoriaMetrics, a webhook that counts what it is told.

The limits are scaled by `health.toml` and `alerts.toml`, most of them to a tenth: a device may be
silent for 6 s, data may be missing for 12 s, heartbeats for 5 s. *Built in* is when people are told
at the latest with the limits that are built in. Seconds count from the fault to the arrival of the
notice, and from the mending (from the fault where nobody mends it) to the arrival of its end, which
comes when a process has lasted: 6 s here, 600 s built in.

| fault | alert | told after | at most | built in | recovery | process | over after |
|---|---|---|---|---|---|---|---|
"""


def table_of(outcomes: Sequence[Outcome]) -> str:
    """Return the page."""
    return _HEAD + "".join(_row(outcome) for outcome in outcomes)


def rows_of(page: str) -> list[str]:
    """Return the faults that a page names."""
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    return [cells[1].strip() for cells in rows[1:]]


def _row(outcome: Outcome) -> str:
    fault = outcome.fault
    cells = [
        fault.what,
        f"`{fault.rule}`",
        _seconds(outcome.detected_s),
        f"{fault.within_s:g} s",
        fault.published,
        _actions(outcome),
        _process(fault, outcome),
        _seconds(outcome.resolved_s),
    ]
    return f"| {' | '.join(cells)} |\n"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def _actions(outcome: Outcome) -> str:
    counted = Counter(action for action, _ in outcome.actions)
    told = [f"{name} × {count}" if count > 1 else name for name, count in counted.items()]
    return ", ".join(told) or "none"


def _process(fault: Fault, outcome: Outcome) -> str:
    if fault.name not in outcome.renewed:
        return "the same"
    return "restarted" if "restart_process" in fault.actions else "restarted by supervisord"
