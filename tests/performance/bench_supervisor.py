"""Print what supervision costs: deaths noticed, looks, starts, additions and stops.

Run with ``python tests/performance/bench_supervisor.py``; it takes two minutes. Each figure stands
beside its peer, mostly supervisord without the plugin and with as many programs, in the same run,
so that the difference shows on a busy machine too. A p99 of fewer than 100 samples is the largest.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from measured_rows import Row, max_at_most, median_at_most, p99_at_most, print_table
from supervisor_calls import (
    STOP_LIMIT_S,
    Additions,
    Costs,
    Starts,
    Stop,
    add_collectors,
    add_programs,
    add_with_supervisorctl,
    bulk_start,
    cost_of,
    idle_percent,
    polled_percent,
    stock_polled_percent,
    stock_start,
)
from supervisor_deaths import (
    Deaths,
    deaths_at_browser,
    deaths_on_stock,
    deaths_with_plugin,
)
from supervisor_node import PYTHON_SLEEPER, Node, running_node

_PROGRAMS = 100
_MANY_PROGRAMS = 500
_ROUNDS = 3

Section = tuple[str, Sequence[Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Figures of supervisord without the plugin."""

    deaths: Deaths
    looks: Costs
    polled_percent: list[float]
    additions: Additions
    stop_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Figures of supervisord with the plugin, and of stock calls to it."""

    deaths: Deaths
    looks: Costs
    stock_looks: Costs
    idle_percent: list[float]
    polled_percent: list[float]
    starts: Starts
    stock_starts: Starts
    additions: Additions
    checked_additions: Additions
    stop_s: float


def main() -> None:
    _tell("stop of programs in Python without the plugin")
    with running_node(_PROGRAMS, plugin=False, command=PYTHON_SLEEPER) as slow:
        # It takes a minute, which it sleeps; so everything else goes on meanwhile.
        stock_python_stop = Stop(slow)
        _tell(f"{_PROGRAMS} programs without the plugin")
        stock = _measure_stock()
        _tell(f"{_PROGRAMS} programs with the plugin")
        ours = _measure_ours()
        _tell("stop of programs in Python with the plugin")
        with running_node(_PROGRAMS, plugin=True, command=PYTHON_SLEEPER) as node:
            python_stop_s = Stop(node).seconds()
        _tell(f"{_MANY_PROGRAMS} programs with the plugin")
        with running_node(_MANY_PROGRAMS, plugin=True) as many:
            many_looks = _looks(many, 5), _stock_looks(many, 5)
        _tell("the demonstration")
        at_browser = deaths_at_browser()
        _tell("the end of the first stop")
        stock_python_stop_s = stock_python_stop.seconds()
    print_table(
        [
            *_deaths(ours, stock, at_browser),
            *_looks_and_polling(ours, stock, many_looks),
            *_changes(ours, stock),
            _stops(ours.stop_s, stock.stop_s, python_stop_s, stock_python_stop_s),
        ]
    )


def _tell(part: str) -> None:
    print(f"measuring: {part}", file=sys.stderr, flush=True)


def _measure_stock() -> Stock:
    with running_node(_PROGRAMS, plugin=False, listener=True) as node:
        return Stock(
            deaths=deaths_on_stock(node, 8),
            looks=_stock_looks(node, 20),
            polled_percent=[stock_polled_percent(node, 5)],
            additions=add_with_supervisorctl(node, _ROUNDS),
            stop_s=Stop(node).seconds(),
        )


def _measure_ours() -> Ours:
    with running_node(_PROGRAMS, plugin=True) as node:
        looks, stock_looks = _looks(node, 20), _stock_looks(node, 20)
        polled = [polled_percent(node, 10)]
        idle = [idle_percent(node, 5)]
        deaths = deaths_with_plugin(node, _PROGRAMS)
        node.wait_until_running()
        starts, stock_starts = Starts(), Starts()
        for _ in range(_ROUNDS):
            bulk_start(node, _PROGRAMS, starts)
            stock_start(node, _PROGRAMS, stock_starts)
        return Ours(
            deaths=deaths,
            looks=looks,
            stock_looks=stock_looks,
            polled_percent=polled,
            idle_percent=idle,
            starts=starts,
            stock_starts=stock_starts,
            additions=add_programs(node, 2 * _ROUNDS),
            checked_additions=add_collectors(node, _ROUNDS),
            stop_s=Stop(node).seconds(),
        )


def _looks(node: Node, calls: int) -> Costs:
    return cost_of(node, node.client().processes, calls=calls)


def _stock_looks(node: Node, calls: int) -> Costs:
    return cost_of(node, node.stock().supervisor.getAllProcessInfo, calls=calls)


def _deaths(ours: Ours, stock: Stock, at_browser: Deaths) -> list[Section]:
    bare = [
        Row("event at a client (waitEvents)", ours.deaths.seen_ms, "ms", p99_at_most(20)),
        Row("  stock: event at an [eventlistener]", stock.deaths.seen_ms, "ms"),
        Row("next pid at a client", ours.deaths.restarted_ms, "ms", p99_at_most(60)),
        Row("  stock: next process exists", stock.deaths.restarted_ms, "ms"),
    ]
    demo = [
        Row("message at a WebSocket", at_browser.seen_ms, "ms", p99_at_most(50)),
        Row("next pid at a WebSocket", at_browser.restarted_ms, "ms"),
    ]
    return [
        (f"kill -9 of one of {_PROGRAMS} programs", bare),
        ("kill -9 of a collector of the demonstration", demo),
    ]


def _looks_and_polling(ours: Ours, stock: Stock, many: tuple[Costs, Costs]) -> list[Section]:
    looks = [
        *_look_rows(_PROGRAMS, ours.looks, ours.stock_looks, 2),
        Row("  stock: getAllProcessInfo without the plugin", stock.looks.wall_ms, "ms"),
        Row("  CPU of that", stock.looks.cpu_ms, "ms"),
        *_look_rows(_MANY_PROGRAMS, *many, 15),
    ]
    polling = [
        Row("two looks a second and a long poll", ours.polled_percent, "%", max_at_most(1)),
        Row("  nobody asks", ours.idle_percent, "%"),
        Row("  stock: two getAllProcessInfo a second", stock.polled_percent, "%"),
    ]
    return [
        ("one look at all programs", looks),
        (f"CPU of supervisord with {_PROGRAMS} programs", polling),
    ]


def _look_rows(count: int, ours: Costs, stock: Costs, limit_ms: float) -> list[Row]:
    return [
        Row(f"{count}: processes()", ours.wall_ms, "ms", median_at_most(limit_ms)),
        Row("  CPU of supervisord", ours.cpu_ms, "ms"),
        Row("  stock: getAllProcessInfo, same supervisord", stock.wall_ms, "ms"),
        Row("  CPU of that", stock.cpu_ms, "ms"),
    ]


def _changes(ours: Ours, stock: Stock) -> list[Section]:
    starts = [
        Row("ProcessManager.bulk", ours.starts.total_s, "s", median_at_most(2)),
        Row("  getState of another client", ours.starts.others_ms, "ms", max_at_most(100)),
        Row("  stock: startAllProcesses", ours.stock_starts.total_s, "s"),
        Row("  getState of another client", ours.stock_starts.others_ms, "ms"),
    ]
    changed = ours.additions.changed_pids + ours.checked_additions.changed_pids
    additions = [
        Row("write, reread, add_program", ours.additions.wall_ms, "ms", median_at_most(150)),
        Row("  with the parser's check before", ours.checked_additions.wall_ms, "ms"),
        Row("  stock: supervisorctl update", stock.additions.wall_ms, "ms"),
        Row("pids of other programs that changed", [changed], "", max_at_most(0)),
    ]
    return [
        (f"start of {_PROGRAMS} stopped programs", starts),
        (f"one program more than {_PROGRAMS}, until its process exists", additions),
    ]


def _stops(ours_s: float, stock_s: float, python_s: float, stock_python_s: float) -> Section:
    given_up = ", given up" if stock_python_s >= STOP_LIMIT_S else ""
    return f"SIGTERM to supervisord until its end, {_PROGRAMS} programs", [
        Row("sleep", [ours_s], "s", median_at_most(3)),
        Row("  stock", [stock_s], "s"),
        Row("Python with a handler", [python_s], "s", median_at_most(3)),
        Row(f"  stock{given_up}", [stock_python_s], "s"),
    ]


if __name__ == "__main__":
    main()
