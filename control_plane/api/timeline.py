"""The past of one collector for a chart: runs of equal judgement, its score, what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flask import Blueprint, Response, jsonify

from control_plane.api.history_query import iso, time_of_request
from control_plane.api.identity import actor_with
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.errors import BadRequest, UnknownProcess
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


def add_timeline(blueprint: Blueprint, plane: ControlPlane) -> None:
    """Add ``/NAME/timeline``, below the processes."""

    @blueprint.get("/<name>/timeline")
    def timeline(name: str) -> Response:
        actor_with(Permission.VIEW)
        if name not in plane.monitor.picture().processes:
            raise UnknownProcess(name=name)
        now = plane.console.clock.now()
        start, end = time_of_request("from", "-1h", now), time_of_request("to", "now", now)
        if not start < end <= start + LONGEST:
            raise BadRequest(reason=f"from must lie before to, by {LONGEST.days} days at most")
        past = ProcessTimeline(plane.console.database)
        round_s = plane.console.limits.of(name).check_interval
        judged = past.judgements(name, start, end)
        return jsonify(
            {
                "from": iso(start),
                "to": iso(end),
                "round_s": round_s,
                "runs": _runs(judged, min(end, now), round_s),
                "scores": _scores(judged, round_s),
                "restarts": [iso(at) for at in past.restarts(name, start, end)],
                "actions": [
                    {
                        "at": iso(event.at),
                        "actor": event.actor,
                        "action": event.action,
                        "outcome": event.outcome,
                        "detail": event.detail,
                    }
                    for event in past.actions(name, start, end, MOST_ACTIONS)
                ],
            }
        )


def _runs(judged: Sequence[Judgement], end: datetime, round_s: float) -> list[dict[str, object]]:
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


def _run(run: _Run) -> dict[str, object]:
    return {
        "check_type": run.check_type,
        "from": iso(run.start),
        "to": iso(run.end),
        "status": run.check["status"],
        "code": run.check["code"],
        "params": run.check["params"],
    }


def _scores(judged: Sequence[Judgement], round_s: float) -> list[tuple[str, float | None]]:
    """Return the score where it changed, with None where rounds are missing."""
    scores: list[tuple[str, float | None]] = []
    longest = timedelta(seconds=round_s * _MISSED_ROUNDS)
    before: Judgement | None = None
    for judgement in judged:
        if before is not None and judgement.at - before.at > longest:
            scores.append((iso(before.at + longest), None))
        if not scores or scores[-1][1] != judgement.score:
            scores.append((iso(judgement.at), judgement.score))
        before = judgement
    return scores
