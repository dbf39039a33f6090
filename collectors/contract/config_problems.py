"""Say what is wrong in a configuration file: where, why and how to mend it, in two languages."""

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from collectors.contract.messages import DEFAULT_LANGUAGE, sentence
from collectors.contract.toml_lines import KeyLines

_PACKAGE = "collectors.contract"
_MAX_CONFIG_BYTES = 32_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One thing that is wrong in a configuration file.

    Attributes:
        file: The file as the user named it.
        key: For example ``devices[0].points[2].address``; empty for the file itself.
        code: Stable name; ``config.CODE`` and ``config.CODE.remedy`` are its sentences.
        params: Values for the placeholders of the sentences.
        line: Of the key, or of what should contain it, from 1 on; ``None`` if not known.
    """

    file: str
    key: str
    code: str
    params: Mapping[str, object] = field(default_factory=dict)
    line: int | None = None

    def message(self, language: str = DEFAULT_LANGUAGE) -> str:
        return self._sentence(f"config.{self.code}", language)

    def remedy(self, language: str = DEFAULT_LANGUAGE) -> str:
        return self._sentence(f"config.{self.code}.remedy", language)

    def _sentence(self, code: str, language: str) -> str:
        params = dict(self.params)
        if "hint" in params:
            params["hint"] = sentence(_PACKAGE, f"address.{params['hint']}", params, language)
        return sentence(_PACKAGE, code, params, language)

    def text(self, language: str = DEFAULT_LANGUAGE) -> str:
        """Return file, line, key, problem and remedy as one line."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        if self.key:
            where += f": {self.key}"
        return f"{where}: {self.message(language)} {self.remedy(language)}"


class ConfigError(Exception):
    """A configuration file cannot be used; :attr:`problems` says where, why and what to do."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.text() for problem in self.problems))

    @classmethod
    def single(
        cls, file: str, key: str, code: str, params: Mapping[str, object] | None = None
    ) -> "ConfigError":
        return cls([ConfigProblem(file=file, key=key, code=code, params=params or {})])


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: missing, unreadable, larger than 32 MB, not UTF-8, or not TOML (with its line).
    """
    file = str(path)
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
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
    return [
        _translate(detail, protocol, file, known_keys)
        for detail in details
        if not (detail["type"] == "too_short" and tuple(detail["loc"]) in inner)
    ]


def _translate(
    detail: Mapping[str, Any], protocol: str, file: str, known_keys: KnownKeys
) -> ConfigProblem:
    # The first part of every location is the union's tag, which is no key of the file.
    location = tuple(part for i, part in enumerate(detail["loc"]) if i or part != protocol)
    params: dict[str, object] = {"value": _shorten(detail.get("input")), **detail.get("ctx", {})}
    kind = str(detail["type"])
    code = _CODES.get(kind, "invalid")
    if code == "invalid":
        params["reason"] = detail["msg"]
    elif code == "unknown_protocol":
        location = (*location, "protocol")
        params = {"value": protocol or "''", "expected": ", ".join(sorted(_PROTOCOLS))}
    elif code == "unknown_key":
        keys = known_keys(protocol, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), keys, n=1)
        code, params = ("unknown_key", {"near": near[0]}) if near else ("unknown_key_far", {})
    return ConfigProblem(file=file, key=_key(location), code=code, params=params)


_PROTOCOLS = ("modbus_tcp", "opcua", "mitsubishi_mc")

_CODES = {
    "missing": "missing",
    "union_tag_invalid": "unknown_protocol",
    "union_tag_not_found": "unknown_protocol",
    "bad_address": "bad_address",
    "bad_endpoint": "bad_endpoint",
    "relative_path": "relative_path",
    "missing_file": "missing_file",
    "open_secret": "open_secret",
    "too_slow_publishing": "too_slow_publishing",
    "short_queue": "short_queue",
    "key_needs": "key_needs",
    "keys_exclude": "keys_exclude",
    "bad_fingerprint": "bad_fingerprint",
    "type_mismatch": "type_mismatch",
    "unknown_group": "unknown_group",
    "past_end": "past_end",
    "point_too_long": "point_too_long",
    "duplicate": "duplicate",
    "overlap": "overlap",
    "double_word": "double_word",
    "bit_not_writable": "bit_not_writable",
    "code_needs_fx5": "code_needs_fx5",
    "zr_in_ascii": "zr_in_ascii",
    "bad_clamp": "bad_clamp",
    "bad_certificate": "bad_certificate",
    "read_only_table": "read_only_table",
    "long_order": "long_order",
    "tls_needed": "tls_needed",
    "different_gateway": "different_gateway",
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
}


def _key(location: Sequence[str | int]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shorten(value: object) -> str:
    text = repr(value) if not isinstance(value, dict | list) else "…"
    return text if len(text) <= 60 else text[:57] + "…"
