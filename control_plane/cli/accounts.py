"""Commands for users, their sessions and API tokens."""

import getpass
import sys
from datetime import datetime, timedelta

import click

from control_plane.auth.permissions import Role
from control_plane.cli.root import cli, console_of, me
from control_plane.settings import console_language
from control_plane.texts import Text, table, texts_in

_t: Text = texts_in(console_language())
_role = click.Choice([role.value for role in Role])
_role_option = click.option(
    "--role", type=_role, default=Role.VIEWER.value, show_default=True, help=_t("cli.help.role")
)
_name = click.argument("name")


@cli.group(help=_t("cli.help.user"))
def user() -> None:
    pass


@user.command("add", help=_t("cli.help.user_add"))
@_name
@_role_option
@click.pass_context
def user_add(context: click.Context, name: str, role: str) -> None:
    console_of(context).account_commands.add_user(me(), name, Role(role), _ask_password())
    click.echo(_t("cli.user_added", name=name, role=role))


@user.command("passwd", help=_t("cli.help.user_passwd"))
@_name
@click.pass_context
def user_passwd(context: click.Context, name: str) -> None:
    console_of(context).account_commands.set_password(me(), name, _ask_password())
    click.echo(_t("cli.password_set", name=name))


@user.command("role", help=_t("cli.help.user_role"))
@_name
@click.argument("role", type=_role)
@click.pass_context
def user_role(context: click.Context, name: str, role: str) -> None:
    console_of(context).account_commands.set_role(me(), name, Role(role))
    click.echo(_t("cli.user_role_set", name=name, role=role))


@user.command("disable", help=_t("cli.help.user_disable"))
@_name
@click.pass_context
def user_disable(context: click.Context, name: str) -> None:
    console_of(context).account_commands.set_enabled(me(), name, enabled=False)
    click.echo(_t("cli.user_disabled", name=name))


@user.command("enable", help=_t("cli.help.user_enable"))
@_name
@click.pass_context
def user_enable(context: click.Context, name: str) -> None:
    console_of(context).account_commands.set_enabled(me(), name, enabled=True)
    click.echo(_t("cli.user_enabled", name=name))


@user.command("list", help=_t("cli.help.user_list"))
@click.pass_context
def user_list(context: click.Context) -> None:
    users = console_of(context).account_commands.users(me())
    head = [_t(f"cli.column.{column}") for column in ("user", "role", "created", "disabled")]
    rows = [[u.name, u.role, _minute(u.created_at), _minute(u.disabled_at)] for u in users]
    click.echo(table(head, rows))


@cli.group(help=_t("cli.help.session"))
def session() -> None:
    pass


@session.command("list", help=_t("cli.help.session_list"))
@click.pass_context
def session_list(context: click.Context) -> None:
    found = console_of(context).account_commands.sessions(me())
    head = [_t(f"cli.column.{column}") for column in ("session", "user", "from", "last_used")]
    click.echo(table(head, [[s.id, s.name, s.origin, _minute(s.last_used_at)] for s in found]))


@session.command("revoke", help=_t("cli.help.session_revoke"))
@click.argument("session_id")
@click.pass_context
def session_revoke(context: click.Context, session_id: str) -> None:
    console_of(context).account_commands.revoke_session(me(), session_id)
    click.echo(_t("cli.session_revoked", id=session_id))


@cli.group(help=_t("cli.help.token"))
def token() -> None:
    pass


@token.command("create", help=_t("cli.help.token_create"))
@_role_option
@click.option("--name", default="", help=_t("cli.help.token_name"))
@click.option("--days", type=click.IntRange(1, 3650), help=_t("cli.help.token_days"))
@click.pass_context
def token_create(context: click.Context, role: str, name: str, days: int | None) -> None:
    console = console_of(context)
    now = console.clock.now()
    name = name or f"{getpass.getuser()}-{now:%Y%m%d-%H%M%S-%f}"
    expires_at = None if days is None else now + timedelta(days=days)
    click.echo(console.account_commands.create_token(me(), name, Role(role), expires_at))


@token.command("list", help=_t("cli.help.token_list"))
@click.pass_context
def token_list(context: click.Context) -> None:
    found = console_of(context).account_commands.tokens(me())
    columns = ("token", "role", "created", "expires", "last_used")
    head = [_t(f"cli.column.{column}") for column in columns]
    rows = [
        [t.name, t.role, *map(_minute, (t.created_at, t.expires_at, t.last_used_at))] for t in found
    ]
    click.echo(table(head, rows))


@token.command("revoke", help=_t("cli.help.token_revoke"))
@_name
@click.pass_context
def token_revoke(context: click.Context, name: str) -> None:
    console_of(context).account_commands.revoke_token(me(), name)
    click.echo(_t("cli.token_revoked", name=name))


def _minute(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%MZ}"


def _ask_password() -> str:
    """Never an argument: those are visible to every user of the machine."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password: str = click.prompt(
        _t("cli.password"), hide_input=True, confirmation_prompt=_t("cli.password_again")
    )
    return password
