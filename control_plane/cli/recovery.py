"""``daqplane why`` and ``daqplane maintenance``."""

import sys
from datetime import timedelta

import click

from control_plane.cli.root import cli, console_of, me
from control_plane.domain.recovery import DecisionRecord
from control_plane.settings import console_language
from control_plane.storage.recovery import RecoveryDecisions
from control_plane.texts import Text, texts_in

_t: Text = texts_in(console_language())


@cli.command(help=_t("cli.help.why"))
@click.argument("name", required=False)
@click.option(
    "-n", "--lines", type=click.IntRange(1, 1000), default=20, help=_t("cli.help.why_lines")
)
@click.pass_context
def why(context: click.Context, name: str | None, lines: int) -> None:
    found = RecoveryDecisions(console_of(context).database).newest(name, lines)
    if not found:
        click.echo(_t("cli.no_decisions"))
    for record in reversed(found):
        click.echo(_line(record))


def _line(record: DecisionRecord) -> str:
    decision = record.decision
    at = f"{record.at:%Y-%m-%d %H:%M:%S}Z"
    cause = _t(f"recovery.{decision.rule}", **decision.facts)
    if decision.guard is not None:
        done = _t(f"recovery.action.{decision.action}", **decision.facts)
        done += f" ({_t(f'recovery.guard.{decision.guard}', **decision.facts)})"
    else:
        done = _t(f"recovery.action.{decision.action}", **decision.facts)
        if record.outcome not in ("none", "done"):
            done += f" [{record.outcome}]"
    return f"{at} {decision.process}: {cause} → {done}"


@cli.group(help=_t("cli.help.maintenance"))
def maintenance() -> None:
    pass


@maintenance.command("on", help=_t("cli.help.maintenance_on"))
@click.argument("name")
@click.option("--minutes", type=click.FloatRange(0, 43_200, min_open=True), required=True)
@click.option("--reason", required=True)
@click.pass_context
def maintenance_on(context: click.Context, name: str, minutes: float, reason: str) -> None:
    console = console_of(context)
    until = console.clock.now() + timedelta(minutes=minutes)
    window = console.maintenance.begin(me(), name, until, reason)
    click.echo(_t("cli.maintenance", name=name, until=f"{window.until:%Y-%m-%d %H:%MZ}"))


@maintenance.command("off", help=_t("cli.help.maintenance_off"))
@click.argument("name")
@click.pass_context
def maintenance_off(context: click.Context, name: str) -> None:
    console_of(context).maintenance.end(me(), name)
    click.echo(_t("cli.maintenance_ended", name=name))


@maintenance.command("list", help=_t("cli.help.maintenance_list"))
@click.pass_context
def maintenance_list(context: click.Context) -> None:
    windows = console_of(context).maintenance.present()
    for window in windows:
        until = f"{window.until:%Y-%m-%d %H:%MZ}"
        click.echo(f"{window.process}  {until}  {window.actor}  {window.reason}")
    sys.exit(0)
