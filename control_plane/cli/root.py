"""The group that all commands belong to, and what each of them needs."""

import getpass
import sys
from pathlib import Path
from typing import Any

import click

from collectors.contract.config_problems import ConfigError
from control_plane.auth.permissions import Actor, Role
from control_plane.console import Console, build_console
from control_plane.errors import ControlPlaneError
from control_plane.settings import Settings, console_language, load_settings
from control_plane.texts import Text, texts_in
from control_plane.version import VERSION

_t: Text = texts_in(console_language())


class _Group(click.Group):
    """Prints our errors as one sentence in the user's language instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ControlPlaneError as exc:
            click.echo(exc.message(console_language()), err=True)
            sys.exit(1)
        except ConfigError as exc:
            for problem in exc.problems:
                click.echo(problem.text(console_language()), err=True)
            sys.exit(1)


@click.group(cls=_Group, help=_t("cli.help.main"), context_settings={"max_content_width": 100})
@click.version_option(VERSION, prog_name="daqplane")
@click.option("--home", type=click.Path(path_type=Path), help=_t("cli.help.home"))
@click.pass_context
def cli(context: click.Context, home: Path | None) -> None:
    context.obj = home


def main() -> None:
    """Entry point of the console script."""
    cli()


def settings_of(context: click.Context) -> Settings:
    return load_settings(home=context.find_root().obj)


def console_of(context: click.Context) -> Console:
    return build_console(settings_of(context))


def me() -> Actor:
    """Whoever has this installation's files in hand may do everything; the audit names them."""
    return Actor(name=f"console:{getpass.getuser()}", role=Role.ADMIN, origin="console")
