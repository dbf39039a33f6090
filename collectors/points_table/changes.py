"""What an import changes, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from collectors.contract.messages import sentence
from collectors.points_table.problems import PACKAGE

_SHOWN = 200
_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One point that is new, other or gone.

    Attributes:
        old, new: The keys that differ; all of them for a new point, none for one that is gone.
    """

    kind: Literal["added", "changed", "removed"]
    point: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    def line(self) -> str:
        return f"{_SIGNS[self.kind]} {self.point}{self._details()}"

    def _details(self) -> str:
        if self.kind == "added":
            return ": " + ", ".join(f"{key} = {_shown(value)}" for key, value in self.new.items())
        if self.kind == "removed":
            return ""
        keys = [*self.new, *(key for key in self.old if key not in self.new)]
        parts = [f"{key} {_shown(self.old.get(key))} → {_shown(self.new.get(key))}" for key in keys]
        return ": " + ", ".join(parts)


def _shown(value: Any) -> str:
    return "∅" if value is None else repr(value)


def summary(changes: Sequence[Change], *, is_dry_run: bool, file: str, language: str) -> str:
    """Return the changes one by one and what becomes of them."""
    lines = [change.line() for change in changes[:_SHOWN]]
    if len(changes) > _SHOWN:
        facts = {"count": len(changes) - _SHOWN}
        lines.append(sentence(PACKAGE, "import.more", facts, language))
    counts: dict[str, object] = {
        kind: sum(change.kind == kind for change in changes) for kind in _SIGNS
    }
    lines.append(sentence(PACKAGE, "import.counts", counts, language))
    written = "import.dry_run" if is_dry_run else "import.written"
    outcome = written if changes else "import.same"
    lines.append(sentence(PACKAGE, outcome, {"file": file}, language))
    return "\n".join(lines)
