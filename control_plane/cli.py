"""The command line ``daqplane``; works on the installation's files, control plane up or down."""

import getpass
import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter

from collectors.contract.config import load_collector
from collectors.contract.config_problems import ConfigError
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import Console, build_console
from control_plane.domain.health import HealthStatus
from control_plane.domain.observation import SupervisorView
from control_plane.domain.process import ProcessStatus
from control_plane.errors import ControlPlaneError, UnknownProcess
from control_plane.logs.follower import read_after, read_tail
from control_plane.logs.parser import parse_line
from control_plane.observer import Observer
from control_plane.process_view import judge_collector, view_collector
from control_plane.settings import Settings, console_language, load_settings
from control_plane.storage.process_history import ProcessHistory
from control_plane.supervisor.process_manager import Action
from control_plane.texts import Text, duration, table, texts_in
from control_plane.version import VERSION

_t: Text = texts_in(console_language())
_FOLLOW_EVERY_S = 0.2
_GOOD = (HealthStatus.HEALTHY, HealthStatus.STOPPED)


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


def _settings(context: click.Context) -> Settings:
    return load_settings(home=context.find_root().obj)


def _console(context: click.Context) -> Console:
    return build_console(_settings(context))


def _me() -> Actor:
    """Whoever has this installation's files in hand may do everything; the audit names them."""
    return Actor(name=f"console:{getpass.getuser()}", role=Role.ADMIN, origin="console")


@cli.command(help=_t("cli.help.run"))
@click.option("--demo", is_flag=True, help=_t("cli.help.demo"))
@click.pass_context
def run(context: click.Context, demo: bool) -> None:
    from control_plane.foreground import run_in_foreground  # noqa: PLC0415 - status stays quick

    def say(code: str, **params: object) -> None:
        click.echo(_t(f"cli.{code}", **params))

    sys.exit(run_in_foreground(_settings(context), demo=demo, say=say))


@cli.command(help=_t("cli.help.serve"))
@click.pass_context
def serve(context: click.Context) -> None:
    from control_plane.server import serve as serve_forever  # noqa: PLC0415 - status stays quick

    serve_forever(_settings(context))


@cli.command(help=_t("cli.help.status"))
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help=_t("cli.help.json"))
@click.pass_context
def status(context: click.Context, name: str | None, as_json: bool) -> None:
    console = _console(context)
    supervisor, found = _look(console)
    if name is not None:
        found = [each for each in found if each.name == name]
        if not found:
            raise UnknownProcess(name=name)
    if as_json:
        dumped = TypeAdapter(list[ProcessStatus]).dump_python(found, mode="json")
        click.echo(json.dumps(dumped[0] if name else dumped, indent=2, ensure_ascii=False))
    else:
        if not supervisor.reachable:
            click.echo(_t("cli.supervisor_down", error=supervisor.error))
        _print_status(console.settings, found, detailed=name is not None)
    sys.exit(0 if all(each.health.status in _GOOD for each in found) else 3)


def _look(console: Console) -> tuple[SupervisorView, list[ProcessStatus]]:
    history = ProcessHistory(console.database)
    seen = Observer(console.settings, console.client, console.desired.stopped, console.clock).look()
    since = seen.taken_at - timedelta(days=1)
    return seen.supervisor, [
        view_collector(
            each,
            judge_collector(each, None, console.settings),
            len(history.restarts(each.file.name, since)),
            console.settings,
        )
        for each in seen.collectors
    ]


def _print_status(settings: Settings, found: list[ProcessStatus], *, detailed: bool) -> None:
    if not found:
        click.echo(_t("cli.no_collectors", directory=settings.collectors_dir))
        return
    columns = (
        "name", "process", "pid", "health", "score", "devices", "rate", "age", "memory",
        "uptime", "restarts",
    )  # fmt: skip
    head = [_t(f"cli.column.{column}") for column in columns]
    click.echo(table(head, [_row(each) for each in found]))
    for each in found:
        for check in each.health.checks:
            # What was stopped on purpose has nothing to explain, and what cannot be known adds
            # nothing to a fault that can.
            silent = HealthStatus.HEALTHY, _unknown_beside_a_fault(each)
            normal = check.status in silent or each.desired == "stop"
            if detailed or not normal:
                word = _t(f"cli.health.{check.status}")
                text = _t(f"check.{check.code}", **check.params)
                click.echo(f"  {each.name}: {check.check_type} {word}: {text}")
                for advice in check.recommendations if not normal else ():
                    click.echo(f"    → {_t(f'recommendation.{advice}')}")


def _unknown_beside_a_fault(each: ProcessStatus) -> HealthStatus | None:
    return HealthStatus.UNKNOWN if each.health.status is HealthStatus.CRITICAL else None


def _row(each: ProcessStatus) -> list[str]:
    link = each.connection_status
    age_s = (
        (each.observed_at - each.last_data_time).total_seconds() if each.last_data_time else None
    )
    return [
        each.name,
        each.supervisor_state.value,
        str(each.pid or "-"),
        _t(f"cli.health.{each.health.status}"),
        "-" if each.health_score is None else f"{each.health_score:.0f}",
        f"{link.devices_connected}/{link.devices_total}" if link else "-",
        f"{each.data_collection_rate:.1f}/{each.expected_rate:.1f}",
        duration(age_s),
        "-" if each.memory_mb is None else f"{each.memory_mb:.0f}",
        duration(each.uptime_seconds),
        str(each.restart_count),
    ]


def _add_process_command(action: Action) -> None:
    @cli.command(action, help=_t(f"cli.help.{action}"))
    @click.argument("name")
    @click.pass_context
    def command(context: click.Context, name: str) -> None:
        result = _console(context).process_commands.command(_me(), action, name)
        detail = _t(f"command.{result.detail}", pid_after=result.pid_after)
        click.echo(
            _t(
                "cli.command_result",
                process=name,
                action=_t(f"cli.action.{action}"),
                outcome=_t(f"cli.outcome.{result.outcome}"),
                duration_ms=round(result.duration_ms),
                detail=detail,
            )
        )
        sys.exit(0 if result.outcome == "done" else 1)


for _action in ("start", "stop", "restart"):
    _add_process_command(_action)


@cli.command(help=_t("cli.help.logs"))
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help=_t("cli.help.follow"))
@click.option(
    "-n", "--lines", type=click.IntRange(1, 100_000), default=50, help=_t("cli.help.lines")
)
@click.pass_context
def logs(context: click.Context, name: str, follow: bool, lines: int) -> None:
    settings = _settings(context)
    path = settings.log_file(name)
    if "/" in name or not (settings.collectors_dir / f"{name}.toml").is_file():
        raise UnknownProcess(name=name)
    if not path.is_file():
        click.echo(_t("cli.no_log", name=name, file=path), err=True)
    read = read_tail(path, lines)
    try:
        while True:
            for line in read.lines:
                _print_log_line(line, name)
            if not follow:
                return
            if not read.lines:
                time.sleep(_FOLLOW_EVERY_S)
            read = read_after(path, read.cursor, 2000)
    except (KeyboardInterrupt, BrokenPipeError):
        return


def _print_log_line(line: bytes, name: str) -> None:
    entry = parse_line(line, name)
    at = f"{entry.timestamp:%Y-%m-%d %H:%M:%S}.{entry.timestamp:%f}"[:23] if entry.timestamp else ""
    facts = " ".join(f"{key}={value}" for key, value in entry.fields.items() if key != "logger")
    click.echo(f"{at}Z {entry.level:<8} {entry.message} {facts}".rstrip())
    if entry.exception_info:
        click.echo(entry.exception_info.rstrip())


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
    applied = _console(context).collector_changes.apply(_me(), file)
    click.echo(_t(f"cli.applied.{applied.outcome}", name=applied.name, revision=applied.revision))
    sys.exit(1 if applied.outcome == "not_reloaded" else 0)


@cli.command(help=_t("cli.help.remove"))
@click.argument("name")
@click.pass_context
def remove(context: click.Context, name: str) -> None:
    kept = _console(context).collector_changes.remove(_me(), name)
    click.echo(_t("cli.removed", name=name, kept=kept))


@cli.command(help=_t("cli.help.doctor"))
@click.pass_context
def doctor(context: click.Context) -> None:
    from control_plane.api.panel import DIST  # noqa: PLC0415 - status stays quick
    from control_plane.doctor import examine_installation  # noqa: PLC0415

    failed = False
    for finding in examine_installation(_console(context), DIST):
        failed |= finding.level == "fail"
        level, text = _t(f"doctor.{finding.level}"), _t(f"doctor.{finding.code}", **finding.params)
        click.echo(f"{level:<5} {text}")
    sys.exit(1 if failed else 0)


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
    _console(context).account_commands.add_user(_me(), name, Role(role), _ask_password())
    click.echo(_t("cli.user_added", name=name, role=role))


@user.command("passwd", help=_t("cli.help.user_passwd"))
@click.argument("name")
@click.pass_context
def user_passwd(context: click.Context, name: str) -> None:
    _console(context).account_commands.set_password(_me(), name, _ask_password())
    click.echo(_t("cli.password_set", name=name))


@user.command("list", help=_t("cli.help.user_list"))
@click.pass_context
def user_list(context: click.Context) -> None:
    users = _console(context).accounts.users()
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
    console = _console(context)
    name = name or f"{getpass.getuser()}-{console.clock.now():%Y%m%d-%H%M%S-%f}"
    click.echo(console.account_commands.create_token(_me(), name, Role(role)))


@cli.group(help=_t("cli.help.db"))
def db() -> None:
    pass


@db.command("upgrade", help=_t("cli.help.db_upgrade"))
@click.pass_context
def db_upgrade(context: click.Context) -> None:
    settings = _settings(context)
    applied = build_console(settings).applied_migrations
    if applied:
        click.echo(_t("cli.db_applied", names=", ".join(applied)))
    else:
        click.echo(_t("cli.db_current"))
