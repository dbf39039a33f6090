"""Read a simulator file, and say in a sentence what is wrong with it and how to mend it."""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from simulators.config import ADAPTER, AnySimulator
from simulators.waveforms import AnyWave

LANGUAGES = ("en", "zh-CN")
_HERE = Path()
_MAX_CONFIG_BYTES = 8_000_000
_Location = tuple[str | int, ...]


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    text = files("simulators").joinpath(f"messages.{language}.json").read_text(encoding="utf-8")
    loaded: dict[str, str] = json.loads(text)
    return loaded


def sentence(code: str, params: Mapping[str, object], language: str) -> str:
    """Return the sentence ``code`` of ``language`` with its placeholders filled."""
    return _catalogue(language)[code].format_map(params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong; ``key`` is for example ``units[0].signals[2].wave.low``."""

    key: str
    code: str
    params: Mapping[str, object] = field(default_factory=dict)


class SimulatorFileError(Exception):
    """The file cannot be used; every entry of :attr:`problems` says where and why."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines("en")))

    def lines(self, language: str) -> list[str]:
        """Return one line for each problem: file, key, what is wrong, what to do."""
        return [
            ": ".join(
                part for part in (self.file, p.key, sentence(p.code, p.params, language)) if part
            )
            for p in self.problems
        ]


def load_simulator(path: Path) -> AnySimulator:
    """Read and validate one simulator file.

    Raises:
        SimulatorFileError: missing, not TOML, or breaks a rule; lists every problem.
    """
    file = str(path)
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise _error(file, "too_large", limit_mb=_MAX_CONFIG_BYTES // 1_000_000)
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as exc:
        raise _error(file, "not_utf8", position=exc.start) from None
    except OSError as exc:
        raise _error(file, "unreadable", reason=exc.strerror) from None
    except tomllib.TOMLDecodeError as exc:
        raise _error(file, "not_toml", reason=str(exc)) from None
    except RecursionError:
        raise _error(file, "not_toml", reason="nested too deeply") from None
    return parse_simulator(document, file=file, folder=path.parent)


def parse_simulator(
    document: Mapping[str, Any], *, file: str, folder: Path = _HERE
) -> AnySimulator:
    """Validate a parsed TOML document; ``file`` is named in the problems.

    Paths in it are relative to ``folder``.

    Raises:
        SimulatorFileError: see :func:`load_simulator`.
    """
    is_short = isinstance(document, Mapping) and "devices" not in document
    try:
        content = _unfold(document) if is_short else document
        return ADAPTER.validate_python(content, context={"folder": folder})
    except ValidationError as exc:
        details = exc.errors(include_url=False)
        # pydantic also calls a list too short when none of its entries is valid.
        inner = {tuple(d["loc"][:n]) for d in details for n in range(len(d["loc"]))}
        raise SimulatorFileError(
            file,
            [
                _translate(detail, is_short=is_short)
                for detail in details
                if not (detail["type"] == "too_short" and tuple(detail["loc"]) in inner)
            ],
        ) from None


def _unfold(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give a file that describes its only device at the top the form of all others."""
    common = {key: entry for key, entry in document.items() if key in _COMMON_KEYS}
    device = {key: entry for key, entry in document.items() if key not in _COMMON_KEYS}
    return common | {"devices": [device]}


def _error(file: str, code: str, **params: object) -> SimulatorFileError:
    return SimulatorFileError(file, [Problem(key="", code=code, params=params)])


_SIMULATORS = {
    get_args(model.model_fields["protocol"].annotation)[0]: model
    for model in get_args(AnySimulator)
}
_COMMON_KEYS = {"protocol", "host", "seed", "control_port", "scenario"}
_WAVES = {get_args(wave.model_fields["kind"].annotation)[0]: wave for wave in get_args(AnyWave)}

_CODES = {
    "missing": "missing",
    "union_tag_invalid": "tag",
    "union_tag_not_found": "tag",
    "extra_forbidden": "unknown_key",
    "literal_error": "not_one_of",
    "greater_than_equal": "too_small",
    "greater_than": "not_above",
    "less_than_equal": "too_big",
    "less_than": "not_below",
    "string_pattern_mismatch": "bad_pattern",
    "string_type": "not_text",
    "int_type": "not_whole",
    "int_from_float": "not_whole",
    "float_type": "not_number",
    "bool_type": "not_bool",
    "model_type": "not_table",
    "model_attributes_type": "not_table",
    "dict_type": "not_table",
    "tuple_type": "not_table",
    "too_short": "empty_list",
    "string_too_short": "bad_pattern",
}


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return what is wrong with a table that is no file, for example a command."""
    known = list(model.model_fields)
    return [
        Problem(key=_key(("", *detail["loc"])), code=code, params=params)
        for detail in error.errors(include_url=False)
        for code, params in (_code_and_params(detail, known),)
    ]


def _translate(detail: Mapping[str, Any], *, is_short: bool) -> Problem:
    location: _Location = tuple(detail["loc"])
    known: list[str] = []
    if detail["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        if is_short and location[1:-1] == ("devices", 0):
            known += sorted(_COMMON_KEYS)
    code, params = _code_and_params(detail, known)
    if code == "tag":
        code, params = _tag_problem(location, detail["input"])
        location = (*location, "kind" if location else "protocol")
    if is_short and location[1:3] == ("devices", 0):
        location = (location[0], *location[3:])
    key = ".".join(str(part) for part in (_key(location), params.get("where", "")) if part)
    return Problem(key=key, code=code, params=params)


def _code_and_params(
    detail: Mapping[str, Any], known: Sequence[str]
) -> tuple[str, dict[str, object]]:
    params: dict[str, object] = {"value": _shorten(detail.get("input")), **detail.get("ctx", {})}
    code = _CODES.get(detail["type"], detail["type"])
    if code == "unknown_key":
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        code = "unknown_key" if near else "unknown_key_far"
        return code, {"near": "".join(near), "known": ", ".join(known)}
    if code not in _catalogue("en") and code != "tag":
        return "invalid", params | {"reason": detail["msg"]}
    return code, params


def _tag_problem(location: _Location, content: object) -> tuple[str, dict[str, object]]:
    key, expected = ("kind", _WAVES) if location else ("protocol", _SIMULATORS)
    if not isinstance(content, Mapping):
        return "not_table", {"value": _shorten(content)}
    if key not in content:
        return "missing", {}
    return ("wave" if location else "protocol"), {
        "value": _shorten(content[key]),
        "expected": ", ".join(expected),
    }


def _keys_at(location: _Location) -> list[str]:
    """Return the keys that are allowed in the table at ``location`` (tags included)."""
    model: Any = _SIMULATORS[str(location[0])]
    for part in location[1:]:
        if part in _WAVES:
            model = _WAVES[str(part)]
        elif isinstance(part, str):
            model = _model_inside(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_inside(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_inside(arg))), None)


def _key(location: _Location) -> str:
    text = ""
    for part, before in zip(location, ("", *location), strict=False):
        # pydantic names the chosen member of a union, which is no key of the file.
        if part in (_WAVES if before == "wave" else _SIMULATORS if not before else ()):
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shorten(value: object) -> str:
    text = repr(value) if not isinstance(value, dict | list) else "…"
    return text if len(text) <= 60 else text[:57] + "…"
