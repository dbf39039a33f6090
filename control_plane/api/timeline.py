"""The past of one collector for a chart: runs of equal judgement, its score, what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from flask import Blueprint
from pydantic import BaseModel, ConfigDict, Field

from control_plane.api.endpoint import endpoint
from control_plane.api.history_query import TimeRange, span_of_request
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.health import HealthCheckType, HealthStatus
from control_plane.errors import BadInput, UnknownProcess
from control_plane.storage.process_timeline import Judgement, ProcessTimeline

LONGEST: Final = timedelta(days=31)
MOST_ACTIONS: Final = 200
_MISSED_ROUNDS: Final = 3


@dataclass(slots=True)
class _Run:
    """A stretch in which one check said the same."""

    check_type: str
    start: datetime
    end: datetime
    check: dict[str, Any]


class TimelineQuery(TimeRange):
    start: Annotated[str, Field(alias="from", max_length=40)] = "-1h"


class RunView(BaseModel):
    """A stretch in which one check said the same."""

    model_config = ConfigDict(populate_by_name=True)

    check_type: HealthCheckType
    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime, Field(alias="to")]
    status: HealthStatus
    code: str
    params: dict[str, Any]


class ActionView(BaseModel):
    """What somebody did to the collector."""

    at: datetime
    actor: str
    action: str
    outcome: str
    detail: str


class Timeline(BaseModel):
    """``round_s`` is the time between judgements; ``scores`` has each change of the score, and
    null where rounds are missing."""

    model_config = ConfigDict(populate_by_name=True)

    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime, Field(alias="to")]
    round_s: float
    runs: list[RunView]
    scores: list[tuple[datetime, float | None]]
    restarts: list[datetime]
    actions: list[ActionView]


def add_timeline(blueprint: Blueprint, plane: ControlPlane) -> None:
    """Add ``/NAME/timeline``, below the processes."""

    @blueprint.get("/<name>/timeline")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def timeline(name: str, query: TimelineQuery) -> Timeline:  # noqa: ARG001 - read below
        """Show the past of a collector: judgements, score, restarts and what people did."""
        if name not in plane.monitor.picture().processes:
            raise UnknownProcess(name=name)
        now = plane.console.clock.now()
        start, end = span_of_request(now, "-1h")
        if end > start + LONGEST:
            raise BadInput.of("from", "too_early", other="to", days=LONGEST.days)
        past = ProcessTimeline(plane.console.database)
        round_s = plane.console.limits.of(name).check_interval
        judged = past.judgements(name, start, end)
        return Timeline(
            start=start,
            end=end,
            round_s=round_s,
            runs=_runs(judged, min(end, now), round_s),
            scores=_scores(judged, round_s),
            restarts=list(past.restarts(name, start, end)),
            actions=[
                ActionView(
                    at=event.at,
                    actor=event.actor,
                    action=event.action,
                    outcome=event.outcome,
                    detail=event.detail,
                )
                for event in past.actions(name, start, end, MOST_ACTIONS)
            ],
        )


def _runs(judged: Sequence[Judgement], end: datetime, round_s: float) -> list[RunView]:
    """Join equal rounds; where rounds are missing nothing is known, and no run reaches over it."""
    longest = timedelta(seconds=round_s * _MISSED_ROUNDS)
    done: list[_Run] = []
    open_: dict[str, _Run] = {}
    for index, judgement in enumerate(judged):
        following = judged[index + 1].at if index + 1 < len(judged) else end
        until = min(following, judgement.at + longest)
        for check in judgement.checks:
            kind = check["check_type"]
            run = open_.get(kind)
            same = run is not None and run.end == judgement.at and _says(run.check) == _says(check)
            if run is not None and same:
                run.end = until
            else:
                open_[kind] = _Run(kind, judgement.at, until, check)
                done.append(open_[kind])
    return [_run(run) for run in done]


def _says(check: dict[str, Any]) -> tuple[object, object]:
    return check["status"], check["code"]


def _run(run: _Run) -> RunView:
    return RunView(
        check_type=HealthCheckType(run.check_type),
        start=run.start,
        end=run.end,
        status=run.check["status"],
        code=run.check["code"],
        params=run.check["params"],
    )


def _scores(judged: Sequence[Judgement], round_s: float) -> list[tuple[datetime, float | None]]:
    """Return the score where it changed, with None where rounds are missing."""
    scores: list[tuple[datetime, float | None]] = []
    longest = timedelta(seconds=round_s * _MISSED_ROUNDS)
    before: Judgement | None = None
    for judgement in judged:
        if before is not None and judgement.at - before.at > longest:
            scores.append((before.at + longest, None))
        if not scores or scores[-1][1] != judgement.score:
            scores.append((judgement.at, judgement.score))
        before = judgement
    return scores
