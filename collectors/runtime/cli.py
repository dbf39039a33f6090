"""The command line of the data plane. Each command loads only what it needs."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from collectors.contract.config_error import ConfigError
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
    arguments = _arguments(argv, language)
    try:
        return _dispatch(arguments, language)
    except ConfigError as exc:
        for problem in exc.problems:
            print(problem.text(language), file=sys.stderr)
        return EXIT_CONFIG


def _arguments(argv: Sequence[str], language: str) -> Any:
    match argv:
        case ["run", file, "--home", home] if not file.startswith("-"):
            # As supervisord says it. A parser for people would stay in memory for months.
            return SimpleNamespace(command="run", file=Path(file), home=Path(home))
        case _:
            return import_module("collectors.runtime.cli_parser").parse(argv, language)


def _dispatch(arguments: Any, language: str) -> int:
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


def _points(arguments: Any, language: str) -> int:
    module = "collectors.points_table.command"
    if arguments.action == "export":
        return _call(module, "export_points", arguments.file, arguments.table, language)
    options = (arguments.dry_run, arguments.keep)
    return _call(module, "import_points", arguments.table, arguments.file, language, *options)


def _call(module: str, function: str, *arguments: object) -> int:
    loaded: Any = import_module(module)
    code: int = getattr(loaded, function)(*arguments)
    return code
