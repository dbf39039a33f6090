"""``daqplane logs``: the lines of a log, and whether rotated logs are what they were."""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import click
from pydantic import TypeAdapter

from control_plane.cli.root import cli, console_of, me
from control_plane.clock import time_of
from control_plane.console import Console
from control_plane.domain.logs import LogEntry, LogFilter, LogLevel
from control_plane.domain.seals import SealReport
from control_plane.errors import BadRequest, UnknownProcess
from control_plane.logs.follower import Cursor
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.processor import LogProcessor
from control_plane.logs.runs import within
from control_plane.logs.search import LogSearch
from control_plane.settings import console_language
from control_plane.supervisor.program_files import SERVICES
from control_plane.texts import Text, texts_in

_t: Text = texts_in(console_language())
_FOLLOW_EVERY_S: Final = 0.2
_A_READ: Final = 2000
_SEARCH_S: Final = 600.0
_MOST_LINES: Final = 100_000
_REPORT = TypeAdapter(SealReport)


class _Logs(click.Group):
    """A group whose command may be left out: ``daqplane logs NAME`` shows that log."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.get_command(ctx, args[0]) is not None
        return super().resolve_command(ctx, args if known else ["show", *args])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Options of the command that is left out may come before the name.
        if args and args[0].startswith("-") and args[0] not in self.get_help_option_names(ctx):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@cli.group(cls=_Logs, help=_t("cli.help.logs"))
def logs() -> None:
    pass


@logs.command(help=_t("cli.help.logs"))
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help=_t("cli.help.follow"))
@click.option("-n", "--lines", type=click.IntRange(1, _MOST_LINES), help=_t("cli.help.lines"))
@click.option(
    "--level",
    type=click.Choice([level.value for level in LogLevel], case_sensitive=False),
    default=LogLevel.DEBUG.value,
    help=_t("cli.help.logs.level"),
)
@click.option("--grep", "pattern", default="", help=_t("cli.help.logs.grep"))
@click.option("--since", help=_t("cli.help.logs.since"))
@click.option("-p", "--previous", is_flag=True, help=_t("cli.help.logs.previous"))
@click.pass_context
def show(context: click.Context, /, name: str, *, follow: bool, **asked: Any) -> None:
    console = console_of(context)
    if not console.process_commands.is_collector(name) and name not in SERVICES:
        raise UnknownProcess(name=name)
    wanted = LogFilter(
        level=LogLevel(asked["level"].upper()),
        regex=asked["pattern"],
        start=_since(asked["since"], console.clock.now()),
    )
    if asked["previous"]:
        found = within(wanted, console.logs.runs(name), 1)
        if found is None:
            raise BadRequest(reason=_t("cli.no_previous_run", name=name))
        wanted, follow = found, False
    lines = asked["lines"] or (_MOST_LINES if asked["since"] else 50)
    try:
        place = _print_newest(console, name, LineFilter(wanted), lines)
        if follow:
            _follow(console, name, LineFilter(replace(wanted, start=None)), place)
    except (KeyboardInterrupt, BrokenPipeError):
        return


def _since(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        return time_of(text if "-" in text else f"-{text}", now)
    except (ValueError, OverflowError):
        raise BadRequest(reason="--since takes 15m, 2h, 1d or 2026-01-31T08:00:00Z") from None


def _print_newest(console: Console, name: str, lines: LineFilter, count: int) -> Cursor | None:
    """Print the newest wanted entries; return where the log ended."""
    with console.logs.book(name) as book:
        if not book.stretches:
            click.echo(_t("cli.no_log", name=name), err=True)
        redactor = console.logs.secrets.redactor()
        page = LogSearch(book, name, lines, redactor).before(None, count, _SEARCH_S)
    _print_entries(found.entry for found in page.found)
    return page.newer


def _follow(console: Console, name: str, lines: LineFilter, place: Cursor | None) -> None:
    log, processor = console.logs.reader(name), LogProcessor(console.logs.secrets.redactor)
    while True:
        read = log.tail(0) if place is None else log.after(place, _A_READ)
        if read.reset:
            click.echo(_t("cli.logs_lost"), err=True)
        _print_entries(processor.batch(name, read.lines).wanted(lines))
        if not read.lines:
            time.sleep(_FOLLOW_EVERY_S)
        place = read.cursor if read.readable else place


def _print_entries(entries: Iterable[LogEntry]) -> None:
    for entry in entries:
        at = f"{entry.timestamp:%Y-%m-%d %H:%M:%S.%f}"[:23] + "Z" if entry.timestamp else "-"
        facts = " ".join(f"{key}={value}" for key, value in entry.fields.items() if key != "logger")
        click.echo(f"{at} {entry.level:<8} {entry.message} {facts}".rstrip())
        if entry.exception_info:
            click.echo(entry.exception_info.rstrip())


@logs.command(help=_t("cli.help.logs.verify"))
@click.option("--newest", default="", help=_t("cli.help.logs.newest"))
@click.option("--json", "as_json", is_flag=True, help=_t("cli.help.json"))
@click.pass_context
def verify(context: click.Context, newest: str, as_json: bool) -> None:
    report = console_of(context).log_integrity.check(me(), newest)
    if as_json:
        click.echo(json.dumps(_REPORT.dump_python(report, mode="json"), indent=2))
    else:
        _print_report(report)
    sys.exit(1 if report.problems else 0)


def _print_report(report: SealReport) -> None:
    for problem in report.problems:
        at = f"{problem.sealed_at:%Y-%m-%d %H:%M:%S}Z" if problem.sealed_at else "-"
        facts = {"file": problem.file or problem.log, "number": problem.number or 0, "at": at}
        click.echo(_t(f"seal.{problem.kind}", **facts))
    for gap in report.gaps:
        at = f"{gap.seal.at:%Y-%m-%d %H:%M:%S}Z"
        click.echo(_t("cli.seals.gap", log=gap.seal.log, at=at, number=gap.number))
    megabytes = f"{report.bytes_checked / 1e6:.1f}"
    click.echo(_t("cli.seals.sound", files=report.files, megabytes=megabytes, seals=report.seals))
    click.echo(_t("cli.seals.unsealed", files=", ".join(report.unsealed) or "-"))
    if report.newest:
        click.echo(_t("cli.seals.newest", code=report.newest))
