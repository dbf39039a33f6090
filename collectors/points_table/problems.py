"""Say what is wrong in a table of points: in which row and column, why, and how to mend it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collectors.contract.config_problems import ConfigProblem
from collectors.contract.messages import DEFAULT_LANGUAGE, sentence

PACKAGE = "collectors.points_table"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProblem:
    """One thing that is wrong in a table.

    Attributes:
        file: The table as the user named it.
        row: As the spreadsheet program counts; ``None`` for the file as a whole.
        column: Its heading; empty if the whole row is meant.
        code: ``table.CODE`` and ``table.CODE.remedy`` are its sentences.
        nearest: A value that would be valid and looks alike, empty if there is none.
        rule: The rule of collector files that is broken, instead of ``code``.
    """

    file: str
    row: int | None = None
    column: str = ""
    code: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    nearest: str = ""
    rule: ConfigProblem | None = None

    def text(self, language: str = DEFAULT_LANGUAGE) -> str:
        """Return place, problem, remedy and nearest valid value as one line."""
        parts = [f"{self._place(language)}{sentence(PACKAGE, 'table.colon', {}, language)}"]
        if self.rule is not None:
            parts.append(f"{self.rule.message(language)} {self.rule.remedy(language)}")
        else:
            problem = sentence(PACKAGE, f"table.{self.code}", self.params, language)
            remedy = sentence(PACKAGE, f"table.{self.code}.remedy", self.params, language)
            parts.append(f"{problem} {remedy}")
        if self.nearest:
            parts.append(" " + sentence(PACKAGE, "table.nearest", {"near": self.nearest}, language))
        return "".join(parts)

    def _place(self, language: str) -> str:
        facts = {"file": self.file, "row": self.row, "column": self.column}
        if self.row is None:
            return self.file
        form = "table.place_column" if self.column else "table.place_row"
        return sentence(PACKAGE, form, facts, language)


class TableError(Exception):
    """A table cannot be used, and nothing was changed; :attr:`problems` says why."""

    def __init__(self, problems: Sequence[TableProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.text() for problem in self.problems))

    @classmethod
    def single(cls, file: str, code: str, **params: object) -> "TableError":
        return cls([TableProblem(file=file, code=code, params=params)])
