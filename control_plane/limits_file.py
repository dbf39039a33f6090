"""``DAQ_HOME/health.toml``: limits of the checks, for all collectors or one, and of recovery."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from collectors.contract.config_problems import (
    ConfigError,
    ConfigProblem,
    read_toml,
    translate_problems,
)
from control_plane.domain.health import HealthCheckConfig
from control_plane.domain.recovery import RecoveryConfig


def _table(name: str, of: type) -> type[BaseModel]:
    """Return a model with every field of a dataclass, all of them optional and above zero."""
    keys: dict[str, Any] = {each.name: (_OPTIONAL[each.type], None) for each in fields(of)}
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **keys)


_OPTIONAL: dict[Any, Any] = {
    int: Annotated[int | None, Field(gt=0, le=10**6)],
    float: Annotated[float | None, Field(gt=0, le=10**7, allow_inf_nan=False)],
    bool: bool | None,
}
HealthTable = _table("Health", HealthCheckConfig)
RecoveryTable = _table("Recovery", RecoveryConfig)
_TABLES = ("health", "recovery", "collectors")


class LimitsFile:
    """The limits in force; a file that cannot be used leaves those before in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._defaults = HealthCheckConfig()
        self._own: Mapping[str, HealthCheckConfig] = {}
        self._recovery = RecoveryConfig()
        self._problems: tuple[ConfigProblem, ...] = ()
        self.refresh()

    def of(self, process: str) -> HealthCheckConfig:
        """Return the limits of one collector."""
        return self._own.get(process, self._defaults)

    @property
    def recovery(self) -> RecoveryConfig:
        """The limits of automatic recovery."""
        return self._recovery

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        """What is wrong in the file as it is now."""
        return self._problems

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = (0, 0)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._read({} if stamp == (0, 0) else read_toml(self._path))
        except ConfigError as exc:
            self._problems = exc.problems

    def _read(self, document: dict[str, Any]) -> None:
        for key in document:
            if key not in _TABLES:
                raise ConfigError.single(str(self._path), key, "unknown_key_far")
        defaults = replace(HealthCheckConfig(), **self._checked(HealthTable, document, "health"))
        recovery = replace(RecoveryConfig(), **self._checked(RecoveryTable, document, "recovery"))
        own = {}
        for name, table in self._section(document, "collectors").items():
            inner = self._section({"collectors": table}, "collectors", f"collectors.{name}")
            for key in inner:
                if key != "health":
                    where = f"collectors.{name}.{key}"
                    raise ConfigError.single(
                        str(self._path), where, "unknown_key", {"near": "health"}
                    )
            changes = self._checked(HealthTable, inner, "health", f"collectors.{name}.health")
            own[name] = replace(defaults, **changes)
        self._defaults, self._recovery, self._own = defaults, recovery, own
        self._problems = ()

    def _section(self, document: Mapping[str, Any], key: str, where: str = "") -> dict[str, Any]:
        found = document.get(key, {})
        if not isinstance(found, dict):
            raise ConfigError.single(
                str(self._path), where or key, "not_a_table", {"key": where or key}
            )
        return found

    def _checked(
        self, model: type[BaseModel], document: Mapping[str, Any], key: str, where: str = ""
    ) -> dict[str, Any]:
        where = where or key
        table = self._section(document, key, where)
        try:
            given = model.model_validate(table)
        except ValidationError as exc:
            found = translate_problems(
                exc, {}, str(self._path), lambda _p, _l: list(model.model_fields)
            )
            raise ConfigError(
                [replace(problem, key=f"{where}.{problem.key}") for problem in found]
            ) from None
        return given.model_dump(exclude_none=True)
