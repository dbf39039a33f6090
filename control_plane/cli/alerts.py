"""``daqplane alerts`` and ``daqplane channel``."""

import json
import sys

import click

from control_plane.alert_commands import try_channel
from control_plane.alert_parts import build_notifier
from control_plane.alerting.texts import advice_for, message_of, rule_name
from control_plane.alerting.view import alert_json
from control_plane.cli.root import cli, console_of, me, settings_of
from control_plane.domain.alerts import Alert
from control_plane.notify.channel_file import ChannelList, read_channel_file
from control_plane.settings import console_language
from control_plane.storage.alerts import AlertFilter, Alerts
from control_plane.texts import Text, duration, table, texts_in

_t: Text = texts_in(console_language())
_as_json = click.option("--json", "as_json", is_flag=True, help=_t("cli.help.json"))


@cli.command("alerts", help=_t("cli.help.alerts"))
@click.option("--all", "also_over", is_flag=True, help=_t("cli.help.alerts.all"))
@_as_json
@click.pass_context
def alerts_command(context: click.Context, also_over: bool, as_json: bool) -> None:
    console = console_of(context)
    kept, language = Alerts(console.database), console_language()
    found = kept.past(AlertFilter()) if also_over else list(reversed(kept.open()))
    if as_json:
        dumped = [alert_json(alert, language) for alert in found]
        click.echo(json.dumps(dumped, indent=2, ensure_ascii=False))
    elif not found:
        click.echo(_t("cli.no_alerts"))
    else:
        columns = ("severity", "alarm_state", "since", "subject", "alert")
        head = [_t(f"cli.column.{column}") for column in columns]
        now = console.clock.now()
        lasts = [duration((now - alert.since).total_seconds()) for alert in found]
        click.echo(table(head, [_row(a, age) for a, age in zip(found, lasts, strict=True)]))
        for alert in found:
            if alert.is_open:
                _explain(alert, language)
    sys.exit(3 if any(alert.is_open for alert in found) else 0)


def _row(alert: Alert, age: str) -> list[str]:
    return [
        _t(f"cli.severity.{alert.severity}"),
        _t(f"cli.alarm.{alert.alarm_state}"),
        age,
        alert.subject.name,
        rule_name(alert.rule, console_language()),
    ]


def _explain(alert: Alert, language: str) -> None:
    click.echo(f"  {alert.subject.name}: {message_of(alert, language)}")
    for advice in advice_for(alert, language):
        click.echo(f"    → {advice}")


@cli.group("channel", help=_t("cli.help.channel"))
def channel_group() -> None:
    """Channels by which alerts are told."""


@channel_group.command("list", help=_t("cli.help.channel.list"))
@_as_json
@click.pass_context
def list_channels(context: click.Context, as_json: bool) -> None:
    listed = read_channel_file(settings_of(context).home)
    rows = [
        (c.name, c.entry.kind, _t(f"cli.severity.{c.entry.min_severity}"), c.target)
        for c in listed.channels.values()
    ]
    if as_json:
        click.echo(json.dumps(_dumped(listed), indent=2, ensure_ascii=False))
    elif rows:
        head = [_t(f"cli.column.{c}") for c in ("channel", "kind", "severity", "target")]
        click.echo(table(head, rows))
    else:
        click.echo(_t("cli.no_channels"))
    for problem in listed.problems:
        click.echo(problem.text(console_language()), err=True)
    sys.exit(3 if listed.problems else 0)


def _dumped(listed: ChannelList) -> list[dict[str, object]]:
    return [
        {
            "name": channel.name,
            "kind": channel.entry.kind,
            "enabled": channel.entry.enabled,
            "min_severity": channel.entry.min_severity,
            "target": channel.target,
        }
        for channel in listed.channels.values()
    ]


@channel_group.command("test", help=_t("cli.help.channel.test"))
@click.argument("name")
@click.pass_context
def test_channel(context: click.Context, name: str) -> None:
    console = console_of(context)
    notifier = build_notifier(console.settings.home, console.database, console.clock)
    channel = try_channel(notifier, console.audit, me(), name)
    click.echo(_t("cli.channel_sent", name=name, target=channel.target))
