"""``daqplane status``."""

import json
import sys
from collections.abc import Sequence
from datetime import timedelta

import click
from pydantic import TypeAdapter

from control_plane.cli.nodes import look_at_all, why_unreachable
from control_plane.cli.root import cli, console_of
from control_plane.console import Console
from control_plane.domain.health import HealthStatus
from control_plane.domain.observation import Round
from control_plane.domain.process import ProcessStatus
from control_plane.errors import UnknownProcess
from control_plane.process_view import judge_collector, view_collector
from control_plane.settings import Settings, console_language
from control_plane.storage.process_history import ProcessHistory
from control_plane.texts import Text, duration, table, texts_in

_t: Text = texts_in(console_language())
_GOOD = (HealthStatus.HEALTHY, HealthStatus.STOPPED)


@cli.command(help=_t("cli.help.status"))
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help=_t("cli.help.json"))
@click.pass_context
def status(context: click.Context, name: str | None, as_json: bool) -> None:
    console = console_of(context)
    rounds = look_at_all(console)
    found = _judge(console, rounds)
    if name is not None:
        found = [each for each in found if each.name == name]
        if not found:
            raise UnknownProcess(name=name)
    if as_json:
        dumped = TypeAdapter(list[ProcessStatus]).dump_python(found, mode="json")
        click.echo(json.dumps(dumped[0] if name else dumped, indent=2, ensure_ascii=False))
    else:
        for view in (seen.node for seen in rounds if not seen.node.reachable):
            click.echo(why_unreachable(view))
        _print_status(console.settings, found, detailed=name is not None)
    sys.exit(0 if all(each.health.status in _GOOD for each in found) else 3)


def _judge(console: Console, rounds: Sequence[Round]) -> list[ProcessStatus]:
    history = ProcessHistory(console.database)
    since = console.clock.now() - timedelta(days=1)
    return [
        view_collector(
            each,
            judge_collector(each, None, console.limits.of(each.file.name)),
            len(history.restarts(each.file.name, since)),
            console.limits.of(each.file.name),
            console.settings.home,
        )
        for seen in rounds
        for each in seen.collectors
    ]


def _print_status(settings: Settings, found: list[ProcessStatus], *, detailed: bool) -> None:
    if not found:
        click.echo(_t("cli.no_collectors", directory=settings.collectors_dir))
        return
    columns = (
        "name", "process", "pid", "health", "score", "devices", "rate", "age", "memory",
        "uptime", "restarts",
    )  # fmt: skip
    head = [_t(f"cli.column.{column}") for column in columns]
    click.echo(table(head, [_row(each) for each in found]))
    for each in found:
        said: set[str] = set()
        for check in each.health.checks:
            if check.code in said:
                continue  # One reason can blind several checks.
            said.add(check.code)
            # What was stopped on purpose has nothing to explain, and what cannot be known adds
            # nothing to a fault that can.
            silent = HealthStatus.HEALTHY, _unknown_beside_a_fault(each)
            normal = check.status in silent or each.desired == "stop"
            if detailed or not normal:
                word = _t(f"cli.health.{check.status}")
                text = _t(f"check.{check.code}", **check.params)
                click.echo(f"  {each.name}: {check.check_type} {word}: {text}")
                for advice in check.recommendations if not normal else ():
                    click.echo(f"    → {_t(f'recommendation.{advice}')}")


def _unknown_beside_a_fault(each: ProcessStatus) -> HealthStatus | None:
    return HealthStatus.UNKNOWN if each.health.status is HealthStatus.CRITICAL else None


def _row(each: ProcessStatus) -> list[str]:
    link = each.connection_status
    age_s = (
        (each.observed_at - each.last_data_time).total_seconds() if each.last_data_time else None
    )
    return [
        each.name,
        each.supervisor_state.value,
        str(each.pid or "-"),
        _t(f"cli.health.{each.health.status}"),
        "-" if each.health_score is None else f"{each.health_score:.0f}",
        f"{link.devices_connected}/{link.devices_total}" if link else "-",
        f"{each.data_collection_rate:.1f}/{each.expected_rate:.1f}",
        duration(age_s),
        "-" if each.memory_mb is None else f"{each.memory_mb:.0f}",
        duration(each.uptime_seconds),
        str(each.restart_count),
    ]
