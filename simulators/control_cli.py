"""Commands to a running simulator: ``devices``, ``fault``, ``clear``, ``write``."""

import argparse
import json
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulators.cli import parse_command
from simulators.problems import Problem, SimulatorFileError, load_simulator, sentence

_HOST = "127.0.0.1"
_TIMEOUT_S = 10.0
_FAULT_OPTIONS = (
    "fault", "for_s", "every", "count", "delay_s", "jitter_s", "chunk_bytes", "pause_s", "code",
    "connections",
)  # fmt: skip


class CommandRefused(Exception):
    """The simulator does not carry the command out; ``problems`` say why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines("en")))

    def lines(self, language: str) -> list[str]:
        return [
            ": ".join(part for part in (p.key, sentence(p.code, p.params, language)) if part)
            for p in self.problems
        ]


def command(port: int, do: str, **keys: Any) -> dict[str, Any]:
    """Send one command to the control endpoint on ``port`` and return its answer.

    Raises:
        CommandRefused: it cannot be carried out.
        OSError: nobody listens there, or nobody answers.
    """
    with socket.create_connection((_HOST, port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(json.dumps({"do": do} | keys).encode() + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise ConnectionResetError("the control endpoint ended the connection")
    answer: dict[str, Any] = json.loads(line)
    if not answer.pop("ok"):
        raise CommandRefused(
            [Problem(key=p["key"], code=p["code"], params=p["params"]) for p in answer["problems"]]
        )
    return answer


def control_file_of(file: Path) -> Path:
    """Return where a running simulator tells its control port."""
    return file.with_name(file.name + ".control")


def run_command(words: Sequence[str], language: str) -> int:
    """Carry out one command line; return the exit code."""
    given = parse_command(words, language)
    try:
        port = given.control_port if given.control_port is not None else _port_of(given.file)
        answer = command(port, words[0], **_keys(words[0], given))
    except SimulatorFileError as exc:
        return _fail(exc.lines(language), 78)
    except CommandRefused as exc:
        return _fail(exc.lines(language), 1)
    except (OSError, ValueError) as exc:
        reason = {"file": given.file, "reason": str(exc)}
        return _fail([sentence("not_running", reason, language)], 1)
    for device in answer.get("devices", ()):
        print(json.dumps(device, ensure_ascii=False))
    return 0


def _port_of(file: Path) -> int:
    """Return the control port of the simulator that serves ``file``.

    Raises:
        SimulatorFileError: the file has none.
        OSError, ValueError: no simulator runs that tells its port.
    """
    config = load_simulator(file)
    if config.control_port is None:
        raise SimulatorFileError(str(file), [Problem(key="control_port", code="no_control")])
    if config.control_port:
        return config.control_port
    told = json.loads(control_file_of(file).read_text(encoding="utf-8"))
    return int(told["control_port"])


def _keys(name: str, given: argparse.Namespace) -> Mapping[str, Any]:
    if name == "devices":
        return {}
    keys: dict[str, Any] = {"device": given.device}
    if given.unit is not None:
        keys["unit"] = given.unit
    if name == "write":
        return keys | {"signal": given.signal, "value": _value(given.value)}
    named = {option: getattr(given, option, None) for option in _FAULT_OPTIONS}
    return keys | {option: value for option, value in named.items() if value is not None}


def _value(text: str) -> object:
    """Read ``12.5``, ``true``, ``null`` (follow the wave again) or a text."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float | str) or value is None else text


def _fail(lines: Sequence[str], code: int) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return code
