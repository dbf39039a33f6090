"""``daqplane nodes``, and the look at all of them that other commands begin with."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import click
from pydantic import TypeAdapter

from control_plane.cli.root import cli, console_of
from control_plane.console import Console
from control_plane.domain.node import LOCAL_NODE, NodeView
from control_plane.domain.observation import Round
from control_plane.node_watch import observer_of
from control_plane.observation_parts import local_observer, observing_context
from control_plane.settings import console_language
from control_plane.texts import Text, duration, table, texts_in

_t: Text = texts_in(console_language())


def look_at_all(console: Console) -> list[Round]:
    """Look once at every node, at all of them at the same time; this machine comes first."""
    context = observing_context(console)
    observers = [
        local_observer(console, console.nodes.local.client),
        *(observer_of(node, node.client, context) for node in console.nodes.remote().values()),
    ]
    with ThreadPoolExecutor(len(observers), "look") as pool:
        return list(pool.map(lambda observer: observer.look(), observers))


@cli.command(help=_t("cli.help.nodes"))
@click.option("--json", "as_json", is_flag=True, help=_t("cli.help.json"))
@click.pass_context
def nodes(context: click.Context, as_json: bool) -> None:
    console = console_of(context)
    rounds = look_at_all(console)
    views = [seen.node for seen in rounds]
    if as_json:
        dumped = TypeAdapter(list[NodeView]).dump_python(views, mode="json")
        click.echo(json.dumps(dumped, indent=2, ensure_ascii=False))
    else:
        columns = ("node", "state", "tier", "version", "lag", "uptime", "collectors", "address")
        head = [_t(f"cli.column.{column}") for column in columns]
        click.echo(table(head, [_row(seen) for seen in rounds]))
        for view in views:
            if not view.reachable:
                click.echo(f"  {why_unreachable(view)}")
    for problem in console.nodes.problems:
        click.echo(problem.text(console_language()), err=True)
    complete = all(view.reachable for view in views) and not console.nodes.problems
    sys.exit(0 if complete else 3)


def why_unreachable(view: NodeView) -> str:
    """Return the sentence about a node that does not answer."""
    code = "supervisor_unreachable" if view.name == LOCAL_NODE else "node_unreachable"
    params = {"node": view.name, "address": view.address, "reason": view.error}
    return _t(f"problem.{code}", **params)


def _row(seen: Round) -> list[str]:
    view = seen.node
    uptime_s = (seen.taken_at - view.started_at).total_seconds() if view.started_at else None
    return [
        view.name,
        _t("cli.node.up" if view.reachable else "cli.node.down"),
        _t(f"cli.tier.{view.tier}") if view.tier else "-",
        view.version or "-",
        "-" if view.lag_ms is None else f"{view.lag_ms:.1f} ms",
        duration(uptime_s),
        str(len(seen.collectors)),
        view.address,
    ]
