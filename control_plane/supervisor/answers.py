"""What a supervisord answers, as typed values."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from control_plane.domain.logs import LogChunk
from control_plane.domain.node import NodeStats, ProgramStats, qualified
from control_plane.domain.process import ExitReason, ProcessInfo, SupervisorState


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """Events of the plugin in order; after a ``gap`` only a fresh look tells the truth."""

    boot: str
    sequence: int
    gap: bool
    events: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """What differs between the program files and what supervisord runs."""

    added: set[str]
    changed: set[str]
    removed: set[str]


def event_batch(text: str) -> EventBatch:
    """Decode an answer of the plugin's ``waitEvents``."""
    raw = json.loads(text)
    return EventBatch(
        boot=raw["boot"], sequence=raw["seq"], gap=raw["gap"], events=tuple(raw["events"])
    )


def node_stats(text: str, node: str) -> NodeStats:
    """Decode an answer of the plugin's ``getStats``; programs get their qualified names."""
    raw = json.loads(text)
    return NodeStats(
        supervisord_started_at=_time(raw["started"]),
        programs={qualified(each["name"], node): _program_stats(each) for each in raw["processes"]},
    )


def _program_stats(raw: dict[str, Any]) -> ProgramStats:
    return ProgramStats(
        pid=raw["pid"],
        started_at=_time(raw.get("started")),
        cpu_s=raw.get("cpu_s", 0.0),
        rss_bytes=raw.get("rss_bytes", 0),
        run_state=raw.get("state", ""),
        heartbeat=raw.get("heartbeat"),
        heartbeat_age_s=raw.get("heartbeat_age_s", 0.0),
        log=(int(raw["log"][0]), raw["log"][1]) if raw["log"][0] else None,
    )


def log_chunk(text: str) -> LogChunk:
    """Decode an answer of the plugin's ``readLog``."""
    raw = json.loads(text)
    return LogChunk(
        inode=int(raw["inode"]),
        offset=raw["offset"],
        size=raw["size"],
        lost=raw["lost"],
        data=base64.b64decode(raw["data"]),
        files=tuple((int(inode), size) for inode, size in raw.get("files", ())),
    )


def process_info(raw: dict[str, Any]) -> ProcessInfo:
    return ProcessInfo(
        name=raw["name"],
        state=SupervisorState(raw["statename"]),
        pid=raw["pid"] or None,
        started_at=_time(raw["start"]),
        stopped_at=_time(raw["stop"]),
        exit_status=raw["exitstatus"],
        spawn_error=raw["spawnerr"],
    )


def snapshot_info(raw: dict[str, Any]) -> ProcessInfo:
    left = raw["exit"]
    return ProcessInfo(
        name=raw["name"],
        state=SupervisorState(raw["state"]),
        pid=raw["pid"],
        started_at=_time(raw["start"]),
        stopped_at=_time(raw["stop"]),
        exit_status=raw["exit_status"],
        spawn_error=raw["spawn_error"],
        last_exit=left
        and ExitReason(
            pid=left["pid"],
            code=left["code"],
            signal=None if left["signal"] is None else str(left["signal"]),
            core_dumped=left["core"],
            uptime_s=left["uptime_s"],
        ),
    )


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
