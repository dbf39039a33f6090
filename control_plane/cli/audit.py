"""Commands for the audit trail."""

import json
import sys
from datetime import UTC, datetime
from typing import IO

import click

from control_plane.audit_commands import AuditForm, entry_json
from control_plane.cli.root import cli, console_of, me
from control_plane.settings import console_language
from control_plane.storage.audit import AuditFilter
from control_plane.storage.audit_check import ChainReport
from control_plane.texts import Text, table, texts_in

_t: Text = texts_in(console_language())
_as_json = click.option("--json", "as_json", is_flag=True, help=_t("cli.help.json"))
_SHOWN_DETAIL = 60


@cli.group(help=_t("cli.help.audit"))
def audit() -> None:
    pass


@audit.command("list", help=_t("cli.help.audit_list"))
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--actor", help=_t("cli.help.audit_actor"))
@click.option("--action", help=_t("cli.help.audit_action"))
@click.option("--target", help=_t("cli.help.audit_target"))
@_as_json
@click.pass_context
def list_entries(
    context: click.Context,
    limit: int,
    actor: str | None,
    action: str | None,
    target: str | None,
    as_json: bool,
) -> None:
    wanted = AuditFilter(actor=actor, action=action, target=target)
    found = console_of(context).audit_commands.entries(me(), wanted, 2**31 - 1, limit)
    entries = [entry_json(row) for row in reversed(found)]
    if as_json:
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    columns = ("id", "at", "actor", "origin", "action", "target", "outcome", "detail")
    rows = [[_shown(entry[column]) for column in columns] for entry in entries]
    click.echo(table([_t(f"cli.audit.{column}") for column in columns], rows))


@audit.command("verify", help=_t("cli.help.audit_verify"))
@_as_json
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    report = console_of(context).audit_commands.verify(me())
    if as_json:
        facts = {name: getattr(report, name) for name in ("entries", "unanchored", "anchored_id")}
        problems = [[each.code, each.first_id, each.last_id] for each in report.problems]
        click.echo(json.dumps({"sound": report.is_sound, **facts, "problems": problems}))
    else:
        _tell(report)
    sys.exit(0 if report.is_sound else 1)


def _tell(report: ChainReport) -> None:
    for each in report.problems:
        params = {"first": each.first_id, "last": each.last_id}
        click.echo(_t(f"audit.{each.code}", **params), err=True)
    if not report.is_sound:
        click.echo(_t("cli.audit_broken", count=report.problem_count), err=True)
    else:
        click.echo(_t("cli.audit_sound", entries=report.entries))
    at = report.anchored_at or datetime.fromtimestamp(0, UTC)
    code = "cli.audit_anchored" if report.anchored_id else "cli.audit_no_anchor"
    click.echo(_t(code, id=report.anchored_id, at=f"{at:%Y-%m-%d %H:%MZ}", tail=report.unanchored))


@audit.command("export", help=_t("cli.help.audit_export"))
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv")
@click.argument("file", type=click.File("wb"), default="-")
@click.pass_context
def export(context: click.Context, form: AuditForm, file: IO[bytes]) -> None:
    for piece in console_of(context).audit_commands.export(me(), AuditFilter(), form):
        file.write(piece)


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_DETAIL else text[: _SHOWN_DETAIL - 1] + "…"
