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
from typing import Final


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
    """

    name: str
    type: str
    kind: TopicKind
    filters: Mapping[str, str] = field(default_factory=dict)


TOPICS: Final[Mapping[str, Topic]] = {
    topic.name: topic
    for topic in (
        Topic(
            name="process_status",
            type="process_status_update",
            kind=TopicKind.STATE,
            filters={"name": "name", "node": "node", "type": "type"},
        ),
        Topic(
            name="health_checks",
            type="health_check_result",
            kind=TopicKind.STATE,
            filters={"name": "process_name"},
        ),
        Topic(
            name="performance",
            type="performance_metrics",
            kind=TopicKind.STATE,
            filters={"name": "process_name"},
        ),
        Topic(
            name="error_alerts",
            type="error_alert",
            kind=TopicKind.EVENT,
            filters={"name": "subject.name", "rule": "rule"},
        ),
    )
}
"""Topics that exist in every installation; streams are added to a hub by their owners."""
