"""What the command line understands, in the user's language."""

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from collectors.contract.messages import sentence
from collectors.runtime.cli import EXIT_USAGE, PACKAGE


class _Parser(argparse.ArgumentParser):
    """Speaks the user's language where argparse has no catalogue of its own."""

    language = "en"

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        text = sentence(PACKAGE, "help.usage_error", {"reason": message}, self.language)
        self.exit(EXIT_USAGE, f"{text}\n")


def parse(argv: Sequence[str], language: str) -> argparse.Namespace:
    """Return what a command line asks for; explains itself and exits where it is wrong."""
    return _parser(language).parse_args(argv)


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
