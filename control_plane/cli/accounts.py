"""Commands for users and tokens."""

import getpass
import sys

import click

from control_plane.auth.permissions import Role
from control_plane.cli.root import cli, console_of, me
from control_plane.settings import console_language
from control_plane.texts import Text, table, texts_in

_t: Text = texts_in(console_language())


@cli.group(help=_t("cli.help.user"))
def user() -> None:
    pass


_role_option = click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.VIEWER.value,
    show_default=True,
    help=_t("cli.help.role"),
)


@user.command("add", help=_t("cli.help.user_add"))
@click.argument("name")
@_role_option
@click.pass_context
def user_add(context: click.Context, name: str, role: str) -> None:
    console_of(context).account_commands.add_user(me(), name, Role(role), _ask_password())
    click.echo(_t("cli.user_added", name=name, role=role))


@user.command("passwd", help=_t("cli.help.user_passwd"))
@click.argument("name")
@click.pass_context
def user_passwd(context: click.Context, name: str) -> None:
    console_of(context).account_commands.set_password(me(), name, _ask_password())
    click.echo(_t("cli.password_set", name=name))


@user.command("list", help=_t("cli.help.user_list"))
@click.pass_context
def user_list(context: click.Context) -> None:
    users = console_of(context).accounts.users()
    head = [_t(f"cli.column.{column}") for column in ("user", "role", "created")]
    click.echo(table(head, [[u.name, u.role, f"{u.created_at:%Y-%m-%d %H:%MZ}"] for u in users]))


def _ask_password() -> str:
    """Never an argument: those are visible to every user of the machine."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password: str = click.prompt(
        _t("cli.password"), hide_input=True, confirmation_prompt=_t("cli.password_again")
    )
    return password


@cli.group(help=_t("cli.help.token"))
def token() -> None:
    pass


@token.command("create", help=_t("cli.help.token_create"))
@_role_option
@click.option("--name", default="", help=_t("cli.help.token_name"))
@click.pass_context
def token_create(context: click.Context, role: str, name: str) -> None:
    console = console_of(context)
    name = name or f"{getpass.getuser()}-{console.clock.now():%Y%m%d-%H%M%S-%f}"
    click.echo(console.account_commands.create_token(me(), name, Role(role)))
