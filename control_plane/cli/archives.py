"""``daqplane backup`` and ``daqplane restore``."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from control_plane.backup.archive import Progress
from control_plane.backup.create import back_up
from control_plane.backup.restore import check, restore
from control_plane.cli.root import cli, console_of, me, settings_of
from control_plane.clock import SystemClock
from control_plane.console import prepare_home
from control_plane.settings import console_language
from control_plane.texts import Text, texts_in

_t: Text = texts_in(console_language())
_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_as_json = click.option("--json", "as_json", is_flag=True, help=_t("cli.help.json"))


@cli.command("backup", help=_t("cli.help.backup"))
@_file
@click.option("--with-history", is_flag=True, help=_t("cli.help.with_history"))
@_as_json
@click.pass_context
def backup_command(context: click.Context, file: Path, with_history: bool, as_json: bool) -> None:
    console = console_of(context)
    with _bar(_t("cli.backup_progress")) as progress:
        report = back_up(
            console.settings,
            console.database,
            console.clock,
            file.absolute(),
            with_history=with_history,
            progress=progress,
        )
    console.audit.note(me(), "backup.create", file.name, "done")
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2, ensure_ascii=False))
    else:
        megabytes = f"{report.size_bytes / 1e6:.1f}"
        click.echo(_t("cli.backup_done", **asdict(report), megabytes=megabytes))
        for each in report.skipped:
            click.echo(_t("cli.backup_skipped", name=each.name, reason=each.reason), err=True)
    sys.exit(1 if report.skipped else 0)


@cli.command("restore", help=_t("cli.help.restore"))
@_file
@click.option("--check", "only_check", is_flag=True, help=_t("cli.help.check_backup"))
@_as_json
@click.pass_context
def restore_command(context: click.Context, file: Path, only_check: bool, as_json: bool) -> None:
    settings, clock = settings_of(context), SystemClock()
    label = _t("cli.check_progress") if only_check else _t("cli.restore_progress")
    with _bar(label) as progress:
        if only_check:
            manifest = check(file, progress)
            found, text = asdict(manifest), "cli.backup_whole"
            shown = found | {"file": file, "members": len(manifest.members)}
        else:
            prepare_home(settings.home)
            report = restore(settings, clock, file, actor=me().name, progress=progress)
            found, text, shown = asdict(report), "cli.restored", asdict(report)
    click.echo(json.dumps(found, indent=2) if as_json else _t(text, **shown))


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Progress]:
    """Show a progress bar on standard error if that is a terminal, nothing otherwise."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with click.progressbar(length=100, label=label, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            percent = 100 * done // total if total else 100
            if percent > bar.pos:
                bar.update(percent - bar.pos)

        yield progress
        bar.update(100 - bar.pos)
