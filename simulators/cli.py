"""The command line, in the user's language: what can be typed, and what it means."""

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from simulators.faults import FAULT_KINDS
from simulators.problems import LANGUAGES, sentence
from simulators.truth import DEFAULT_MAX_BYTES

COMMANDS = ("devices", "fault", "clear", "write")
EXIT_USAGE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a simulator file is served; ports are ``None`` where the file's own count."""

    file: Path
    truth: Path | None
    truth_max_bytes: int
    port: int | None
    control_port: int | None
    language: str


class Parser(argparse.ArgumentParser):
    """Speaks the user's language where argparse has no catalogue of its own."""

    def __init__(self, language: str, usage: str, description: str) -> None:
        super().__init__(
            prog=f"python -m simulators {usage}".rstrip(),
            description=sentence(description, {}, language),
            add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._language = language
        self.say = functools.partial(sentence, params={}, language=language)
        self.add_argument("-h", "--help", action="help", help=self.say("help_help"))
        self.add_argument("--lang", choices=LANGUAGES, help=self.say("help_lang"))

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, sentence("usage_error", {"reason": message}, self._language) + "\n")


def parse_options(words: Sequence[str], language: str) -> Options:
    """Read the words of a serving process; wrong ones end it with exit code 2."""
    parser = Parser(language, "", "help_serve")
    parser.epilog = parser.say("help_commands")
    parser.add_argument("file", type=Path, metavar="FILE", help=parser.say("help_file"))
    parser.add_argument("--truth", type=Path, metavar="PATH", help=parser.say("help_truth"))
    parser.add_argument(
        "--truth-max-mb",
        type=_megabytes,
        default=DEFAULT_MAX_BYTES,
        metavar="N",
        help=parser.say("help_truth_max"),
    )
    parser.add_argument("--port", type=_port, metavar="N", help=parser.say("help_port"))
    parser.add_argument(
        "--control-port", type=_port, metavar="N", help=parser.say("help_control_port")
    )
    given = parser.parse_args(words)
    return Options(
        file=given.file,
        truth=given.truth,
        truth_max_bytes=given.truth_max_mb,
        port=given.port,
        control_port=given.control_port,
        language=given.lang or language,
    )


def parse_command(words: Sequence[str], language: str) -> argparse.Namespace:
    """Read a command to a running simulator; wrong words end the process with exit code 2."""
    name = words[0]
    parser = Parser(language, name, f"help_{name}")
    parser.add_argument("file", type=Path, metavar="FILE", help=parser.say("help_file"))
    parser.add_argument(
        "--control-port", type=_port, metavar="N", help=parser.say("help_control_of")
    )
    if name != "devices":
        parser.add_argument("device", metavar="DEVICE", help=parser.say("help_device"))
        parser.add_argument("--unit", type=int, metavar="N", help=parser.say("help_unit"))
    if name == "fault":
        _add_fault_options(parser)
    elif name == "clear":
        parser.add_argument(
            "fault", nargs="?", choices=FAULT_KINDS, metavar="FAULT", help=parser.say("help_kind")
        )
    elif name == "write":
        parser.add_argument("signal", metavar="SIGNAL", help=parser.say("help_signal"))
        parser.add_argument("value", metavar="VALUE", help=parser.say("help_value"))
    return parser.parse_args(words[1:])


def _add_fault_options(parser: Parser) -> None:
    parser.add_argument("fault", choices=FAULT_KINDS, metavar="FAULT", help=parser.say("help_kind"))
    parser.epilog = "FAULT: " + " ".join(FAULT_KINDS)
    for name, kind in (
        ("for_s", float), ("every", int), ("count", int), ("delay_s", float),
        ("jitter_s", float), ("chunk_bytes", int), ("pause_s", float), ("connections", int),
    ):  # fmt: skip
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=kind, metavar="N", help=parser.say(f"help_{name}"))
    parser.add_argument("--code", type=_code, metavar="N", help=parser.say("help_code"))


def language_of(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the language of ``--lang``, ``DAQ_LANG`` or the locale."""
    if "--lang" in words[:-1] and words[words.index("--lang") + 1] in LANGUAGES:
        return words[words.index("--lang") + 1]
    names = ("DAQ_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    wanted = next((environment[name] for name in names if environment.get(name)), "")
    return "zh-CN" if wanted.lower().startswith("zh") else "en"


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: 0 … 65535")
    return int(text)


def _code(text: str) -> int:
    return int(text, 0)


def _megabytes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text}: 1 … 1000000")
    return int(text) * 1_000_000
