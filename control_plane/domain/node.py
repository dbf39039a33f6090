"""Machines whose supervisord this control plane drives, and how their programs are named."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

LOCAL_NODE = "local"
"""This machine; its programs go by their plain names."""


class Tier(enum.StrEnum):
    """How a node tells what happens there, best first."""

    PLUGIN = "plugin"
    """supervisord runs with our plugin: events within milliseconds, exact exits, figures, logs."""
    PIDFD_POLL = "pidfd_poll"
    """Stock supervisord on this machine: the kernel reports deaths, the rest is asked for."""
    POLL = "poll"
    """Stock supervisord elsewhere: process states only, asked for again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """Whether a node's supervisord answers; ``since`` dates the last change of that.

    Attributes:
        address: Where it is reached, without credentials.
        tier: ``None`` while unreachable.
        lag_ms: How long the newest look waited for supervisord; ``None`` while unreachable.
        error: Why it cannot be reached.
        started_at: Start of the supervisord that answers now; ``None`` where nobody tells.
        observed_at: When it last answered.
    """

    name: str
    address: str
    reachable: bool
    version: str | None
    since: datetime
    error: str | None
    tier: Tier | None = None
    lag_ms: float | None = None
    started_at: datetime | None = None
    observed_at: datetime | None = None


def qualified(program: str, node: str) -> str:
    """Return the name of a program here: ``press`` on this machine, ``press@line2`` elsewhere."""
    return program if node == LOCAL_NODE else f"{program}@{node}"


def program_and_node(name: str) -> tuple[str, str]:
    """Undo :func:`qualified`."""
    program, _, node = name.partition("@")
    return program, node or LOCAL_NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStats:
    """What the node's kernel and files say of one program.

    Attributes:
        started_at: Start of this very process.
        cpu_s: Time on a core since then.
        run_state: Letter of proc(5), such as ``T`` for stopped by a signal; empty if unknown.
        heartbeat: Text of its newest heartbeat file, of any process; ``None`` without one.
        log: Inode and size in bytes of its log file.
    """

    pid: int | None
    started_at: datetime | None
    cpu_s: float
    rss_bytes: int
    run_state: str
    heartbeat: str | None
    heartbeat_age_s: float
    log: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    """Figures of one node by program, and since when its supervisord runs."""

    supervisord_started_at: datetime | None
    programs: Mapping[str, ProgramStats]
