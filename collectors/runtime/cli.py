"""The command line of the data plane. Each command loads only what it needs."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from collectors.contract.config_error import ConfigError
from collectors.contract.messages import sentence
from collectors.contract.signals import EXIT_CONFIG

EXIT_USAGE = 2
PACKAGE = "collectors.runtime"
_LOOKS = {
    "check": ("collectors.runtime.inspection", "check"),
    "fingerprint": ("collectors.opcua.identify", "main"),
}
"""Commands that take a file and ``--json``."""


def language_of(environment: Mapping[str, str]) -> str:
    """Return the language that ``DAQ_LANG``, or else the locale, asks for."""
    wanted = (
        environment.get("DAQ_LANG") or environment.get("LC_ALL") or environment.get("LANG") or ""
    )
    return "zh-CN" if wanted.lower().startswith("zh") else "en"


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code: 78 for an unusable file, 2 for wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        # A unit such as °C must not end the program on a terminal that cannot show it.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a TextIOWrapper
    language = language_of(os.environ)
    arguments = _parser(language).parse_args(argv)
    try:
        return _dispatch(arguments, language)
    except ConfigError as exc:
        for problem in exc.problems:
            print(problem.text(language), file=sys.stderr)
        return EXIT_CONFIG


def _dispatch(arguments: argparse.Namespace, language: str) -> int:
    if arguments.command == "historian":
        return _call("collectors.history.shipper", "main", arguments.home)
    if arguments.command == "run":
        return _call("collectors.runtime.process", "run", arguments.file, arguments.home, language)
    if arguments.command == "points":
        return _points(arguments, language)
    if arguments.command == "browse":
        options = (arguments.device, arguments.filter, arguments.json)
        return _call("collectors.opcua.browse", "main", arguments.file, *options, language)
    if arguments.command in _LOOKS:
        module, function = _LOOKS[arguments.command]
        return _call(module, function, arguments.file, arguments.json, language)
    point = getattr(arguments, "point", None)
    return _call(
        "collectors.runtime.inspection", "once", arguments.file, point, arguments.json, language
    )


def _points(arguments: argparse.Namespace, language: str) -> int:
    module = "collectors.points_table.command"
    if arguments.action == "export":
        return _call(module, "export_points", arguments.file, arguments.table, language)
    options = (arguments.dry_run, arguments.keep)
    return _call(module, "import_points", arguments.table, arguments.file, language, *options)


def _call(module: str, function: str, *arguments: object) -> int:
    loaded: Any = import_module(module)
    code: int = getattr(loaded, function)(*arguments)
    return code


class _Parser(argparse.ArgumentParser):
    """Speaks the user's language where argparse has no catalogue of its own."""

    language = "en"

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        text = sentence(PACKAGE, "help.usage_error", {"reason": message}, self.language)
        self.exit(EXIT_USAGE, f"{text}\n")


def _parser(language: str) -> argparse.ArgumentParser:
    say = functools.partial(sentence, PACKAGE, params={}, language=language)
    _Parser.language = language
    parser = _Parser(
        prog="python -m collectors", description=say("help.description"), add_help=False
    )
    parser.add_argument("-h", "--help", action="help", help=say("help.help"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=say(f"help.{name}"), add_help=False)
        sub.add_argument("-h", "--help", action="help", help=say("help.help"))
        if name != "historian":
            sub.add_argument("file", type=Path, metavar="FILE", help=say("help.file"))
        return sub

    def add_home(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--home", type=Path, required=True, help=say("help.home"))

    def add_json(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--json", action="store_true", help=say("help.json"))

    add_home(command("run"))
    add_json(command("check"))
    add_json(command("once"))
    test_read = command("test-read")
    test_read.add_argument("point", metavar="DEVICE/POINT", help=say("help.point"))
    add_json(test_read)
    browse = command("browse")
    browse.add_argument("device", metavar="DEVICE", help=say("help.device"))
    browse.add_argument("--filter", metavar="TEXT", help=say("help.filter"))
    add_json(browse)
    add_json(command("fingerprint"))
    add_home(command("historian"))
    _add_points(commands.add_parser("points", help=say("help.points"), add_help=False), say)
    return parser


def _add_points(points: argparse.ArgumentParser, say: Callable[[str], str]) -> None:
    points.add_argument("-h", "--help", action="help", help=say("help.help"))
    actions = points.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, order in (("export", ("file", "table")), ("import", ("table", "file"))):
        sub = actions.add_parser(name, help=say(f"help.points.{name}"), add_help=False)
        sub.add_argument("-h", "--help", action="help", help=say("help.help"))
        for key in order:
            sub.add_argument(key, type=Path, metavar=key.upper(), help=say(f"help.{key}"))
        if name == "import":
            sub.add_argument("--dry-run", action="store_true", help=say("help.dry_run"))
            sub.add_argument("--keep", action="store_true", help=say("help.keep"))
