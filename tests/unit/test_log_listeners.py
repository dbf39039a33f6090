"""Who listens to logs is written down, whatever goes wrong with one of them."""

import logging
from typing import Any

import pytest

from control_plane.domain.logs import LogFilter
from control_plane.live.connection import Visitor
from control_plane.log_streams import LogListeners, Wanted
from control_plane.logs.redaction import Redactor


class Audit:
    """Fails at the first entry, as nobody foresaw."""

    def __init__(self) -> None:
        self.targets: list[str] = []

    def note(self, _actor: object, _action: str, target: str, *_: str) -> None:
        self.targets.append(target)
        if len(self.targets) == 1:
            raise RuntimeError("unforeseen")


def test_one_that_cannot_be_noted_keeps_nobody_else_from_being_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    audit: Any = Audit()
    listeners = LogListeners(audit, Redactor)
    listeners.start()
    with caplog.at_level(logging.INFO):
        for name in ("line1", "line2"):
            wanted = Wanted(names=(name,), asked=LogFilter(), tail=0, after=())
            listeners.note(Visitor(user="ann", role="viewer"), ("log_streams", wanted))
        listeners.stop()
    assert audit.targets == ["line1", "line2"]
    assert [each.levelname for each in caplog.records] == ["ERROR", "INFO"]
