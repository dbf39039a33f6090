"""Commands for the installation as a whole: run, serve, doctor, db."""

import sys
from pathlib import Path

import click

from control_plane.cli.root import cli, console_of, settings_of
from control_plane.console import build_console
from control_plane.settings import console_language, with_tls
from control_plane.shipped import PANEL
from control_plane.texts import Text, texts_in

_t: Text = texts_in(console_language())
_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_tls_cert = click.option("--tls-cert", type=_file, help=_t("cli.help.tls_cert"))
_tls_key = click.option("--tls-key", type=_file, help=_t("cli.help.tls_key"))


@cli.command(help=_t("cli.help.run"))
@click.option("--demo", is_flag=True, help=_t("cli.help.demo"))
@_tls_cert
@_tls_key
@click.pass_context
def run(context: click.Context, demo: bool, tls_cert: Path | None, tls_key: Path | None) -> None:
    from control_plane.foreground import run_in_foreground  # noqa: PLC0415 - status stays quick

    def say(code: str, **params: object) -> None:
        click.echo(_t(f"cli.{code}", **params))

    settings = with_tls(settings_of(context), tls_cert, tls_key)
    sys.exit(run_in_foreground(settings, demo=demo, say=say))


@cli.command(help=_t("cli.help.serve"))
@_tls_cert
@_tls_key
@click.pass_context
def serve(context: click.Context, tls_cert: Path | None, tls_key: Path | None) -> None:
    from control_plane.server import serve as serve_forever  # noqa: PLC0415 - status stays quick

    serve_forever(with_tls(settings_of(context), tls_cert, tls_key))


@cli.command(help=_t("cli.help.doctor"))
@click.pass_context
def doctor(context: click.Context) -> None:
    from control_plane.doctor import examine_installation  # noqa: PLC0415

    failed = False
    for finding in examine_installation(console_of(context), PANEL):
        failed |= finding.level == "fail"
        level, text = _t(f"doctor.{finding.level}"), _t(f"doctor.{finding.code}", **finding.params)
        click.echo(f"{level:<5} {text}")
    sys.exit(1 if failed else 0)


@cli.group(help=_t("cli.help.db"))
def db() -> None:
    pass


@db.command("upgrade", help=_t("cli.help.db_upgrade"))
@click.pass_context
def db_upgrade(context: click.Context) -> None:
    settings = settings_of(context)
    applied = build_console(settings).applied_migrations
    if applied:
        click.echo(_t("cli.db_applied", names=", ".join(applied)))
    else:
        click.echo(_t("cli.db_current"))
