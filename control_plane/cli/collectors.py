"""Commands for collectors: what supervisord does with them, their logs and their files."""

import json
import sys
from pathlib import Path

import click

from collectors.contract.config import load_collector
from collectors.contract.points import Value
from control_plane.cli.root import cli, console_of, me
from control_plane.device_commands import sentence_of
from control_plane.operations import SIGNALS
from control_plane.settings import console_language
from control_plane.supervisor.process_manager import Action, CommandResult
from control_plane.texts import Text, texts_in

_t: Text = texts_in(console_language())


def _add_process_command(action: Action) -> None:
    @cli.command(action, help=_t(f"cli.help.{action}"))
    @click.argument("name")
    @click.pass_context
    def command(context: click.Context, name: str) -> None:
        _report(console_of(context).process_commands.command(me(), action, name))


for _action in ("start", "stop", "restart"):
    _add_process_command(_action)


@cli.command(help=_t("cli.help.signal"))
@click.argument("signal_name", metavar="SIGNAL", type=click.Choice(SIGNALS))
@click.argument("name")
@click.pass_context
def signal(context: click.Context, signal_name: str, name: str) -> None:
    _report(console_of(context).process_commands.signal(me(), name, signal_name))


@cli.command("reset-connection", help=_t("cli.help.reset_connection"))
@click.argument("name")
@click.pass_context
def reset_connection(context: click.Context, name: str) -> None:
    _report(console_of(context).process_commands.reset_connection(me(), name))


# A negative number is no option.
@cli.command(help=_t("cli.help.write"), context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("device")
@click.argument("point")
@click.argument("value")
@click.pass_context
def write(context: click.Context, name: str, device: str, point: str, value: str) -> None:
    commands = console_of(context).device_commands
    written = commands.write(me(), name, device, point, _value_of(value))
    click.echo(
        _t(
            "cli.written",
            process=name,
            device=device,
            point=point,
            outcome=_t(f"cli.outcome.{written.outcome}"),
            duration_ms=round(written.duration_ms),
            detail=sentence_of(written, console_language()),
        )
    )
    sys.exit(0 if written.outcome == "done" else 1)


def _value_of(text: str) -> Value:
    """Read ``true``, ``5`` and ``2.5`` as what they look like; everything else is text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _report(result: CommandResult) -> None:
    click.echo(
        _t(
            "cli.command_result",
            process=result.process,
            action=_t(f"cli.action.{result.action}"),
            outcome=_t(f"cli.outcome.{result.outcome}"),
            duration_ms=round(result.duration_ms),
            detail=_t(f"command.{result.detail}", pid_after=result.pid_after),
        )
    )
    sys.exit(0 if result.outcome == "done" else 1)


@cli.command(help=_t("cli.help.check"))
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    config = load_collector(file)
    click.echo(
        _t(
            "cli.check_ok",
            file=file,
            protocol=config.protocol,
            devices=len(config.devices),
            points=sum(len(device.points) for device in config.devices),
        )
    )


@cli.command(help=_t("cli.help.apply"))
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def apply(context: click.Context, file: Path) -> None:
    applied = console_of(context).collector_configs.apply_file(me(), file)
    click.echo(_t(f"cli.applied.{applied.outcome}", name=applied.name, revision=applied.revision))
    sys.exit(1 if applied.outcome == "not_reloaded" else 0)


@cli.command(help=_t("cli.help.remove"))
@click.argument("name")
@click.pass_context
def remove(context: click.Context, name: str) -> None:
    kept = console_of(context).collector_configs.remove(me(), name, None)
    click.echo(_t("cli.removed", name=name, kept=kept))
