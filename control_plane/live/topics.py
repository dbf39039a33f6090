"""What one can listen to, and how a topic's messages are kept.

Names and message types are the design document's. Three kinds exist:

- ``STATE``: the newest value of each key is the truth. Changes are gathered for a moment and a
  value that was overtaken is never sent; whoever comes back gets what changed meanwhile.
- ``EVENT``: every message arrives, in order; whoever cannot take them all is sent away.
- ``STREAM``: made only while somebody listens, by a producer for each distinct filter
  (:mod:`control_plane.live.streams`); what a listener could not take is counted and told.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from control_plane.domain.alerts import Alert, AlertEventKind
from control_plane.domain.health import HealthCheckResult, HealthStatus
from control_plane.domain.process import PerformanceMetrics, ProcessStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    """All checks of one process; ``score`` is ``None`` when stopped or mostly unknown."""

    process_name: str
    timestamp: datetime
    status: HealthStatus
    score: float | None
    checks: tuple[HealthCheckResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAlert(Alert):
    """An alert, what happened to it (``event``), and its words in English."""

    event: AlertEventKind
    alarm_state: str = field()
    title: str
    message: str
    advice: list[str]
    ending: str


class TopicKind(enum.Enum):
    STATE = "state"
    EVENT = "event"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One stream of messages.

    Attributes:
        type: The design document's message type.
        filters: What a subscription to a state or event topic can be narrowed by: the word in
            its ``filter``, and the attribute of a message's data that it looks at. Only what
            never changes for a key, or a listener would keep what has left its filter.
        data: Type of a message's data, for the description and for tests.
    """

    name: str
    type: str
    kind: TopicKind
    filters: Mapping[str, str] = field(default_factory=dict)
    data: Any = dict[str, object]


TOPICS: Final[Mapping[str, Topic]] = {
    topic.name: topic
    for topic in (
        Topic(
            name="process_status",
            type="process_status_update",
            kind=TopicKind.STATE,
            filters={"name": "name", "node": "node", "type": "type"},
            data=ProcessStatus,
        ),
        Topic(
            name="health_checks",
            type="health_check_result",
            kind=TopicKind.STATE,
            filters={"name": "process_name"},
            data=HealthResult,
        ),
        Topic(
            name="performance",
            type="performance_metrics",
            kind=TopicKind.STATE,
            filters={"name": "process_name"},
            data=PerformanceMetrics,
        ),
        Topic(
            name="error_alerts",
            type="error_alert",
            kind=TopicKind.EVENT,
            filters={"name": "subject.name", "rule": "rule"},
            data=ErrorAlert,
        ),
    )
}
"""Topics that exist in every installation; streams are added to a hub by their owners."""
