"""What is wrong in a configuration file: where, why and how to mend it, in two languages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collectors.contract.messages import DEFAULT_LANGUAGE, sentence

_PACKAGE = "collectors.contract"


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
