"""What is said of collector files by HTTP."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from collectors.contract.config_problems import ConfigProblem
from control_plane.api.parsing import Body, Query
from control_plane.collector_texts import CheckedText, Difference
from control_plane.domain.config_revision import ConfigRevision
from control_plane.storage.config_revisions import MAX_COMMENT_CHARACTERS

MAX_TEXT_CHARACTERS = 4_000_000
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)]
Comment = Annotated[str, Field(max_length=MAX_COMMENT_CHARACTERS)]


class ConfigProblemView(BaseModel):
    """What is wrong at one key; ``line`` counts from 1."""

    key: str
    line: int | None
    code: str
    message: str
    remedy: str

    @classmethod
    def of(cls, problem: ConfigProblem, language: str) -> Self:
        return cls(
            key=problem.key,
            line=problem.line,
            code=problem.code,
            message=problem.message(language),
            remedy=problem.remedy(language),
        )


class ConfigCheck(BaseModel):
    """Whether a text can be used; ``document`` is what it says, null if it is no TOML."""

    name: str
    revision: str
    valid: bool
    protocol: str | None
    devices: int
    points: int
    problems: list[ConfigProblemView]
    document: dict[str, Any] | None

    @classmethod
    def facts(cls, checked: CheckedText, language: str) -> dict[str, Any]:
        config, document = checked.config, checked.document
        stated = document.get("protocol") if document else None
        return {
            "name": checked.name,
            "revision": checked.revision,
            "valid": config is not None,
            "protocol": stated if isinstance(stated, str) else None,
            "devices": len(config.devices) if config else 0,
            "points": sum(len(device.points) for device in config.devices) if config else 0,
            "problems": [ConfigProblemView.of(each, language) for each in checked.problems],
            "document": document,
        }


class CollectorConfig(ConfigCheck):
    """The file of a collector. ``masked`` says that the sender may not see secrets in it, so that
    the text is not that of ``revision``."""

    text: str
    masked: bool


class CollectorSummary(BaseModel):
    name: str
    display_name: str
    protocol: str | None
    revision: str | None
    valid: bool
    problems: int
    devices: int
    points: int


class CollectorList(BaseModel):
    """``total`` counts all that match, whatever part of them is here."""

    collectors: list[CollectorSummary]
    total: int


class CollectorQuery(Query):
    """``sort`` by a column, descending with ``-``."""

    q: Annotated[str, Field(max_length=100)] = ""
    protocol: str | None = None
    valid: bool | None = None
    sort: Literal[
        "name", "-name", "protocol", "-protocol", "devices", "-devices", "points", "-points"
    ] = "name"
    limit: Annotated[int, Field(ge=1, le=2000)] = 500
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class ConfigText(Body):
    """A configuration as ``text`` (TOML) or as ``document`` (a form); exactly one of them.

    From a document the text is made so that comments of the present file stay where they can.
    """

    text: Text | None = None
    document: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.text is None) == (self.document is None):
            raise ValueError("give either text or document")
        return self


class ConfigEdit(ConfigText):
    comment: Comment = ""


class NewCollector(ConfigEdit):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,47}$")]


class Rollback(Body):
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    comment: Comment = ""


class ConfigApplied(BaseModel):
    """What came of a change; ``message`` says it in words."""

    name: str
    revision: str
    outcome: Literal["added", "changed", "reloaded", "not_reloaded", "stopped"]
    message: str


class CollectorRemoved(BaseModel):
    """``kept`` is the name of the file in ``collectors.d`` that the text went to."""

    name: str
    kept: str

    @classmethod
    def of(cls, name: str, kept: PurePath) -> Self:
        return cls(name=name, kept=kept.name)


class DifferenceView(BaseModel):
    """One key that differs; ``old`` or ``new`` is null where it is not there."""

    key: str
    kind: Literal["added", "removed", "changed"]
    old: Any
    new: Any

    @classmethod
    def of(cls, found: Difference) -> Self:
        return cls(key=found.key, kind=found.kind, old=found.old, new=found.new)


class ConfigDiff(BaseModel):
    """``unified`` is the usual text of a diff, empty if the texts are the same."""

    old_revision: str
    new_revision: str
    unified: str
    differences: list[DifferenceView]
    problems: list[ConfigProblemView]


class DiffQuery(Query):
    """Revisions; ``current`` is the file as it is."""

    old: Annotated[str, Field(alias="from", pattern=r"^([0-9a-f]{12}|current)$")]
    new: Annotated[str, Field(alias="to", pattern=r"^([0-9a-f]{12}|current)$")] = "current"


class RevisionQuery(Query):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class RevisionList(BaseModel):
    """``next_before`` goes on where this ends; null at the end."""

    revisions: list[ConfigRevision]
    current: str | None
    next_before: int | None


class RevisionText(BaseModel):
    collector: str
    revision: str
    text: str
    masked: bool


class PointChangeView(BaseModel):
    kind: Literal["added", "changed", "removed"]
    point: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]


class PointsQuery(Query):
    format: Literal["csv", "xlsx"] = "csv"


class PointsImportQuery(PointsQuery):
    """``keep`` lets points stay that the table does not name; ``dry_run`` only tells."""

    keep: bool = False
    dry_run: bool = False
    comment: Comment = ""


class PointsImported(BaseModel):
    """``applied`` is null if nothing was to change, or it was a dry run."""

    changes: list[PointChangeView]
    revision: str
    applied: ConfigApplied | None
