"""A whole installation under random faults for a time: what grows, is lost, or becomes slow.

``python tests/performance/soak.py --minutes 20 --collectors 30 --panels 5`` runs simulated devices
of three protocols, a collector for each, and open panels. Meanwhile devices break in the ways in
which devices break, and collectors, historian and control plane get SIGKILL. At the end everything
must deliver again, no record may be missing, and the figures say whether anything grows.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

# Whichever of the bench's files is run or imported first makes the rest importable.
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

import psutil
from installation import Installation, free_port, wait_for
from soak_figures import Figures
from soak_panels import Panel
from soak_panels import line as panels_line
from soak_plant import Simulated, simulated_plant

from collectors.contract.historian_status import read_historian_status

_LOOK_S = 10.0
_FAULT_S = 8.0
_KILL_EVERY = 4
"""Each fourth fault is the death of a process, the others are of devices."""
_QUIET_S = 60.0
"""So long before the end nothing is broken any more."""
_RECOVERY_DEADLINE_S = 120.0
_MOST_KILLS = 2
"""Of one collector: a fourth crash in ten minutes would be taken for a crash loop."""


class Faults:
    """Breaks things at random, and remembers what."""

    def __init__(self, installation: Installation, plants: list[Simulated], seed: int) -> None:
        self._installation, self._plants, self._rng = installation, plants, random.Random(seed)
        self.done: Counter[str] = Counter()
        self._kills: Counter[str] = Counter()

    def one(self) -> None:
        if self._rng.randrange(_KILL_EVERY) == 0:
            target = self._rng.choice(["collector", "collector", "historian", "control plane"])
            self.done[f"kill -9 {target}"] += self._kill(target)
            return
        plant = self._rng.choice(self._plants)
        said = plant.break_one(self._rng, self._rng.uniform(1, _FAULT_S))
        self.done[said.split()[0]] += 1

    def _kill(self, target: str) -> int:
        """Return how many were killed: none if it is down already, or was killed often enough."""
        home = str(self._installation.home)
        wanted = {
            "historian": {"historian", home},
            "control plane": {"control_plane", "serve", home},
        }.get(target)
        if wanted is None:
            plant = self._rng.choice(self._plants)
            name = self._rng.choice(sorted(plant.collectors.values()))
            self._kills[name] += 1
            if self._kills[name] > _MOST_KILLS:
                return 0
            wanted = {f"{home}/collectors.d/{name}.toml"}
        for process in self._installation.processes_left():
            try:
                if wanted <= set(process.cmdline()):
                    process.kill()
                    return 1
            except psutil.Error:
                continue
        return 0


class Answers:
    """Asks the API ten times a second and remembers how long it took."""

    def __init__(self, installation: Installation) -> None:
        self._installation, self._stop = installation, threading.Event()
        self.took_ms: list[float] = []
        self.away = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            began = time.monotonic()
            try:
                self._installation.request("/api/v1/health")
            except (OSError, ValueError):
                self.away += 1
            else:
                self.took_ms.append((time.monotonic() - began) * 1e3)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def line(self) -> str:
        ordered = sorted(self.took_ms)
        p50, p99 = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
        return (
            f"API, {len(ordered)} answers: p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
            f"most {ordered[-1]:.0f} ms; {self.away} without an answer (control plane killed)"
        )


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="daq-soak-") as directory:
        root = Path(directory)
        home = root / "home"
        with simulated_plant(home, root, arguments.collectors) as plants:
            installation = Installation(home, free_port())
            installation.start()
            try:
                return _soak(installation, plants, arguments)
            finally:
                installation.stop()


def _soak(
    installation: Installation, plants: list[Simulated], arguments: argparse.Namespace
) -> int:
    count = sum(len(plant.collectors) for plant in plants)
    began = time.monotonic()
    wait_for(lambda: _delivering(installation) == count, "all deliver", _RECOVERY_DEADLINE_S)
    print(f"{count} collectors deliver after {time.monotonic() - began:.0f} s", flush=True)
    faults = Faults(installation, plants, arguments.seed)
    figures, answers = Figures(installation.home), Answers(installation)
    panels = [Panel(installation) for _ in range(arguments.panels)]
    try:
        _run(faults, figures, arguments)
        took_s = _until_delivering(installation, count)
    finally:
        answers.stop()
        for panel in panels:
            panel.stop()
    missing, samples = _ledger(installation)
    print(*figures.table(), sep="\n")
    print(answers.line())
    print(panels_line(panels))
    print("faults:", json.dumps(dict(faults.done.most_common())))
    print(f"all {count} deliver {took_s:.0f} s after the end of the faults")
    print(f"{samples} samples stored, {missing} records missing")
    return 0 if missing == 0 else 1


def _run(faults: Faults, figures: Figures, arguments: argparse.Namespace) -> None:
    end = time.monotonic() + arguments.minutes * 60
    next_look = 0.0
    while (now := time.monotonic()) < end:
        if now >= next_look:
            figures.look()
            next_look = now + _LOOK_S
        if now < end - _QUIET_S:
            faults.one()
        time.sleep(arguments.fault_every_s)


def _delivering(installation: Installation) -> int:
    try:
        processes = installation.request("/api/v1/processes")["processes"]
    except (OSError, KeyError, ValueError):
        return 0
    return sum(process["data_collection_rate"] > 0 for process in processes)


def _until_delivering(installation: Installation, count: int) -> float:
    began = time.monotonic()
    wait_for(lambda: _delivering(installation) == count, "all deliver", _RECOVERY_DEADLINE_S)
    return time.monotonic() - began


def _ledger(installation: Installation) -> tuple[int, int]:
    """Return the records missing and the samples stored, once the historian has caught up."""

    def caught_up() -> list[tuple[int, int]] | None:
        status = read_historian_status(installation.home / "run")
        ledgers = (
            [each for by in status.collectors.values() for each in by.values()] if status else []
        )
        if not ledgers or any(ledger.lag_s > 30 for ledger in ledgers):
            return None
        return [(ledger.missing, ledger.samples_stored) for ledger in ledgers]

    found = wait_for(caught_up, "the historian catches up", _RECOVERY_DEADLINE_S)
    return sum(missing for missing, _ in found), sum(stored for _, stored in found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--collectors", type=int, default=30)
    parser.add_argument("--panels", type=int, default=5)
    parser.add_argument("--fault-every-s", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
