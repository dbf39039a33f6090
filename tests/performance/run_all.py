"""Run the benches, all or those named, and write docs/benchmarks.md and docs/benchmarks.json.

``python tests/performance/run_all.py [NAME …]``; NAME is ``modbus`` for ``bench_modbus.py``. What
the files say of a bench that was left out stays.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from measured_rows import FIGURES_FILE

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RECORD = ROOT / "docs" / "benchmarks.json"
_DEADLINE_S = 1800


def main() -> int:
    benches = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    wanted = sys.argv[1:] or list(benches)
    if unknown := sorted(set(wanted) - set(benches)):
        print(f"no such bench: {', '.join(unknown)}; there are: {', '.join(benches)}")
        return 2
    record: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    failed = []
    for name in wanted:
        print(f"== {name}", flush=True)
        record[name] = run_bench(benches[name])
        if record[name]["exit_code"] != 0:
            failed.append(name)
        # At once, as the others may take long, and somebody may stop them.
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        PAGE.write_text(page(record), encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def run_bench(path: Path) -> dict[str, Any]:
    """Run one bench, show what it prints, and return what is known of it."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as figures:
        process = subprocess.Popen(
            [sys.executable, str(path)],
            env=os.environ | {FIGURES_FILE: figures.name},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
        code = process.wait(_DEADLINE_S)
        rows = [json.loads(line) for line in figures]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_code": code,
        "took_s": round(time.monotonic() - began),
        "machine": machine(),
        "output": lines,
        "rows": rows,
    }


def machine() -> str:
    """Return what decides about speed."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.split(": ", 1)[1] for line in info.splitlines() if line.startswith("model name")]
    facts = (
        models[0] if models else platform.machine(),
        f"{psutil.cpu_count()} cores",
        f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
    )
    return ", ".join(facts)


def page(record: dict[str, Any]) -> str:
    """Return the page; what was promised and not reached comes first."""
    parts = [
        "# Benchmarks\n",
        "Written by `make bench`, see tests/performance. Each figure stands beside a peer or the "
        "raw library, measured in the same run; machines differ, so look at the ratios.\n",
        "## Goals missed\n",
        *_missed(record),
    ]
    for name, bench in sorted(record.items()):
        ended = "" if bench["exit_code"] == 0 else f", **ended with {bench['exit_code']}**"
        parts += [
            f"\n## {name}\n",
            f"{bench['at']}, {bench['took_s']} s{ended}; {bench['machine']}\n",
            "```text",
            *bench["output"],
            "```",
        ]
    return "\n".join(parts) + "\n"


def _missed(record: dict[str, Any]) -> list[str]:
    rows = [
        f"| {name} | {row['what']} | {row['target']} | {row['median']:g} / {row['p99']:g} / "
        f"{row['max']:g} {row['unit']} |"
        for name, bench in sorted(record.items())
        for row in bench["rows"]
        if not row["met"]
    ]
    if not rows:
        return ["None of those that the benches judge."]
    return ["| bench | figure | goal | median / p99 / most |", "|---|---|---|---|", *rows]


if __name__ == "__main__":
    sys.exit(main())
