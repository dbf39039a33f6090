"""Other limits than the built-in ones: ``DAQ_HOME/alerts.toml``."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collectors.contract.config_problems import (
    ConfigError,
    ConfigProblem,
    read_toml,
    translate_problems,
)
from control_plane.alerting.limits import DEFAULT_RULES, AlertLimits, Override, RuleLimits
from control_plane.domain.alerts import AlertSeverity

FILE_NAME: Final = "alerts.toml"
_MAX_OVERRIDES: Final = 1000
_DAY_S = 86400.0

_Seconds = Annotated[float, Field(ge=0, le=30 * _DAY_S, allow_inf_nan=False)]
_Section = TypeVar("_Section", bound=BaseModel)


class RuleSection(BaseModel):
    """``[rule.NAME]``: whatever is not set stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool | None = None
    for_s: _Seconds | None = None
    clear_s: _Seconds | None = None
    hard_after: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = None
    threshold: Annotated[float, Field(ge=0, le=10**12, allow_inf_nan=False)] | None = None
    severity: AlertSeverity | None = None

    def changes(self) -> dict[str, object]:
        names = (each.name for each in fields(RuleLimits))
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class OverrideSection(RuleSection):
    """``[[override]]``: one rule for the subjects whose names match ``subject``."""

    rule: str
    """The rule's name."""
    subject: Annotated[str, Field(min_length=1, max_length=80)]
    """Shell pattern of the collector's (host's, machine's, store's) name."""


class AlertsSection(BaseModel):
    """``[alerts]``: what holds for all rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repeat_s: _Seconds = AlertLimits().repeat_s
    flap_sample_s: Annotated[float, Field(gt=0, le=3600)] = AlertLimits().flap_sample_s
    flapping: bool = True
    window_s: Annotated[float, Field(ge=1, le=_DAY_S)] = AlertLimits().window_s
    gateway_collectors: Annotated[int, Field(ge=2, le=10_000, strict=True)] = (
        AlertLimits().gateway_collectors
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFile:
    """The limits in force, and what is wrong in the file; what is wrong changes nothing."""

    limits: AlertLimits
    problems: tuple[ConfigProblem, ...]


def read_rule_file(path: Path) -> RuleFile:
    """Read the file; a part that cannot be used leaves the others alone.

    Without the file the built-in limits hold.
    """
    if not path.exists():
        return RuleFile(limits=AlertLimits(), problems=())
    try:
        document = read_toml(path)
    except ConfigError as exc:
        return RuleFile(limits=AlertLimits(), problems=exc.problems)
    reading = _Reading(path)
    reading.reject_unknown(document, "", ("alerts", "rule", "override"))
    general = reading.section(AlertsSection, document.get("alerts", {}), "alerts")
    return RuleFile(
        limits=AlertLimits(
            rules=reading.rules(document.get("rule", {})),
            overrides=reading.overrides(document.get("override", [])),
            **(general.model_dump() if general else {}),
        ),
        problems=tuple(reading.problems),
    )


def _severity_named(found: ConfigProblem) -> tuple[str, Mapping[str, object]]:
    """pydantic has a kind of its own for words outside of an enumeration."""
    if found.code == "invalid" and found.key == "severity":
        return "not_one_of", {**found.params, "expected": ", ".join(AlertSeverity)}
    return found.code, found.params


class _Reading:
    """One reading of the file; collects its problems."""

    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self.problems: list[ConfigProblem] = []

    def rules(self, tables: Any) -> Mapping[str, RuleLimits]:
        rules = dict(DEFAULT_RULES)
        if not isinstance(tables, dict):
            self._problem("rule", "invalid", {"reason": "[rule.NAME]"})
            return rules
        self.reject_unknown(tables, "rule.", tuple(rules))
        for name in tables.keys() & rules.keys():
            section = self.section(RuleSection, tables[name], f"rule.{name}")
            if section is not None:
                rules[name] = replace(rules[name], **section.changes())  # type: ignore[arg-type]
        return rules

    def overrides(self, entries: Any) -> tuple[Override, ...]:
        if not isinstance(entries, list):
            self._problem("override", "not_a_table_list", {"key": "override"})
            return ()
        if len(entries) > _MAX_OVERRIDES:
            params = {"actual_length": len(entries), "max_length": _MAX_OVERRIDES}
            self._problem("override", "list_too_long", params)
        read = (self._override(n, each) for n, each in enumerate(entries[:_MAX_OVERRIDES]))
        return tuple(override for override in read if override is not None)

    def _override(self, number: int, entry: Any) -> Override | None:
        key = f"override[{number}]"
        section = self.section(OverrideSection, entry, key)
        if section is None:
            return None
        if section.rule not in DEFAULT_RULES:
            params = {"value": section.rule, "expected": ", ".join(DEFAULT_RULES)}
            self._problem(f"{key}.rule", "not_one_of", params)
            return None
        return Override(rule=section.rule, subject=section.subject, changes=section.changes())

    def section(self, model: type[_Section], raw: Any, key: str) -> _Section | None:
        """Return a table of the file, ``None`` if it cannot be used."""
        keys: Callable[..., list[str]] = lambda _p, _l: list(model.model_fields)  # noqa: E731
        try:
            return model.model_validate(raw)
        except ValidationError as exc:
            for found in translate_problems(exc, {}, self._file, keys):
                inside = f"{key}.{found.key}" if found.key else key
                self._problem(inside, *_severity_named(found))
            return None

    def reject_unknown(self, table: Mapping[str, Any], prefix: str, known: tuple[str, ...]) -> None:
        for name in table:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                code = "unknown_key" if near else "unknown_key_far"
                self._problem(f"{prefix}{name}", code, {"near": near[0]} if near else {})

    def _problem(self, key: str, code: str, params: Mapping[str, object]) -> None:
        self.problems.append(ConfigProblem(file=self._file, key=key, code=code, params=params))
