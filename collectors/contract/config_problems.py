"""Read a configuration file, and say of each thing that is wrong where, why and how to mend it."""

import difflib
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from collectors.contract.config_error import ConfigError, ConfigProblem
from collectors.contract.config_types import PROTOCOLS
from collectors.contract.limits import Rejected
from collectors.contract.toml_lines import KeyLines

__all__ = ["ConfigError", "ConfigProblem", "read_toml", "translate_problems", "with_lines"]

_MAX_CONFIG_BYTES = 32_000_000


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: missing, unreadable, larger than 32 MB, not UTF-8, or not TOML (with its line).
    """
    file = str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError.single(file, "", "not_a_file", {"path": file})
        if status.st_size > _MAX_CONFIG_BYTES:
            raise ConfigError.single(file, "", "too_large", {"limit_mb": 32})
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        repr(document)  # An integer too long to be shown can be written in hexadecimal.
        return document
    except UnicodeDecodeError as exc:
        raise ConfigError.single(file, "", "not_utf8", {"position": exc.start}) from None
    except OSError as exc:
        raise ConfigError.single(file, "", "unreadable", {"reason": exc.strerror}) from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError.single(file, "", "not_toml", {"reason": str(exc)}) from None
    except ValueError as exc:  # An integer of more than 4300 digits.
        reason = str(exc).partition(";")[0]
        raise ConfigError.single(file, "", "not_toml", {"reason": reason}) from None
    except RecursionError:
        raise ConfigError.single(file, "", "not_toml", {"reason": "nested too deeply"}) from None


def with_lines(error: ConfigError, path: Path) -> ConfigError:
    """Return the same problems, each with the line of its key in the file."""
    try:
        lines = KeyLines(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return error
    return ConfigError([replace(p, line=lines.line_of(p.key)) for p in error.problems])


KnownKeys = Callable[[str, tuple[str | int, ...]], list[str]]


def translate_problems(
    error: ValidationError, document: Mapping[str, Any], file: str, known_keys: KnownKeys
) -> list[ConfigProblem]:
    """Return one problem for each thing that pydantic found in ``document``."""
    protocol = str(document.get("protocol", ""))
    details = error.errors(include_url=False)
    # pydantic also calls a list too short when none of its entries is valid: the entries' own
    # problems say more.
    inner = {tuple(d["loc"][:n]) for d in details for n in range(len(d["loc"]))}
    problems = []
    for detail in details:
        # The first part of every location is the union's tag, which is no key of the file.
        location = tuple(part for i, part in enumerate(detail["loc"]) if i or part != protocol)
        broken = detail.get("ctx", {}).get("error")
        if isinstance(broken, Rejected):
            problems += _problems_of(broken, location, file)
        elif not (detail["type"] == "too_short" and tuple(detail["loc"]) in inner):
            problems.append(_translate(detail, location, protocol, file, known_keys))
    return problems


def _problems_of(
    broken: Rejected, location: tuple[str | int, ...], file: str
) -> list[ConfigProblem]:
    return [
        ConfigProblem(
            file=file, key=_key((*location, *fault.key)), code=fault.code, params=fault.params
        )
        for fault in broken.faults
    ]


def _translate(
    detail: Mapping[str, Any],
    location: tuple[str | int, ...],
    protocol: str,
    file: str,
    known_keys: KnownKeys,
) -> ConfigProblem:
    params: dict[str, object] = {"value": _shorten(detail.get("input")), **detail.get("ctx", {})}
    kind = str(detail["type"])
    code = _CODES.get(kind, "invalid")
    if code == "invalid":
        params["reason"] = detail["msg"]
    elif code == "unknown_protocol":
        location = (*location, "protocol")
        params = {"value": protocol or "''", "expected": ", ".join(sorted(PROTOCOLS))}
    elif code == "unknown_key":
        keys = known_keys(protocol, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), keys, n=1)
        code, params = ("unknown_key", {"near": near[0]}) if near else ("unknown_key_far", {})
    return ConfigProblem(file=file, key=_key(location), code=code, params=params)


_CODES = {
    "missing": "missing",
    "union_tag_invalid": "unknown_protocol",
    "union_tag_not_found": "unknown_protocol",
    "finite_number": "not_number",
    "literal_error": "not_one_of",
    "greater_than_equal": "too_small",
    "greater_than": "not_above",
    "less_than_equal": "too_big",
    "string_pattern_mismatch": "bad_pattern",
    "string_type": "not_text",
    "int_type": "not_integer",
    "int_from_float": "not_integer",
    "float_type": "not_number",
    "too_short": "empty_list",
    "too_long": "list_too_long",
    "extra_forbidden": "unknown_key",
    "unexpected_keyword_argument": "unknown_key",
}


def _key(location: Sequence[str | int]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shorten(value: object) -> str:
    text = repr(value) if not isinstance(value, dict | list) else "…"
    return text if len(text) <= 60 else text[:57] + "…"
