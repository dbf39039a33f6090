"""What a value may be, said in its type: ``port: Annotated[int, Limits(ge=1, le=65535)]``.

A collector's process takes configurations that another process has checked, and pydantic would be
a third of its memory. So nothing here imports it: pydantic asks each mark for its part of the
schema, see "Custom types" in its documentation.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

Schema = dict[str, Any]
Handler = Callable[[Any], Schema]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a number, form of a text, length of a tuple.

    Attributes:
        pattern: Of the whole text, from ``^`` to ``$``.
        strict: False also takes what only looks like a tuple, such as a list.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    allow_inf_nan: bool | None = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    strict: bool | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Handler) -> Schema:
        given = {key: getattr(self, key) for key in self.__slots__}
        return handler(source) | {key: value for key, value in given.items() if value is not None}

    def admit(self, value: Any) -> bool:
        """Tell whether a number or a text keeps these limits."""
        if isinstance(value, str):
            return self.pattern is None or re.fullmatch(self.pattern, value) is not None
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """A rule that limits cannot say; ``check`` raises :class:`Rejected`."""

    check: Callable[[Any], None]

    def __get_pydantic_core_schema__(self, source: Any, handler: Handler) -> Schema:
        function = {"type": "no-info", "function": self._checked}
        return {"type": "function-after", "function": function, "schema": handler(source)}

    def _checked(self, value: Any) -> Any:
        self.check(value)
        return value


@dataclass(frozen=True, slots=True)
class Prepared:
    """Another way to write a value: ``prepare`` returns the usual one."""

    prepare: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Handler) -> Schema:
        function = {"type": "no-info", "function": self.prepare}
        return {"type": "function-before", "function": function, "schema": handler(source)}


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule.

    Attributes:
        code: ``config.CODE`` and ``config.CODE.remedy`` are its sentences.
        params: Values for their placeholders.
        key: Where, seen from what was checked.
    """

    code: str
    params: Mapping[str, object] = field(default_factory=dict)
    key: tuple[str | int, ...] = ()


class Rejected(ValueError):
    """What was given breaks at least one rule."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__(", ".join(fault.code for fault in faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Strict:
    """Base of all that people write: no unknown key, and no ``"5"`` where 5 is meant.

    Rules that concern several keys are in ``__post_init__``, which raises :class:`Rejected`.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "strict": True}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Handler) -> Schema:
        schema = handler(source)
        # Strict are the values; the object itself comes as a table.
        (schema["schema"] if schema["type"] == "definitions" else schema)["strict"] = False
        return schema
