"""One line at an outage, one at its end."""

import logging

import pytest

from control_plane.outages import Outages

LOG = logging.getLogger("outages")


def test_an_outage_is_two_lines_however_often_it_is_noticed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mono = 100.0
    outages = Outages(LOG, lambda: mono)
    with caplog.at_level(logging.INFO):
        outages.works("a")
        for where in ("a", "b", "a"):
            outages.failed("storage", where, "request failed", path="/x")
        outages.failed("other", "c", "request failed", exc_info=ValueError("x"))
        mono = 107.25
        outages.works("z")
        outages.works("b")
        outages.works("a")
    said = [(each.levelname, each.message, each.what) for each in caplog.records]
    assert said == [
        ("WARNING", "request failed", "storage"),
        ("ERROR", "request failed", "other"),
        ("INFO", "works again", "storage"),
    ]
    last = vars(caplog.records[-1])
    assert (last["lasted_s"], last["failures"]) == (7.2, 3)


def test_the_next_outage_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages(LOG)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            outages.failed("storage", "a", "request failed")
            outages.works("a")
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"] * 3


def test_a_failure_long_after_the_last_one_is_a_new_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = iter((0.0, 500.0, 1000.0, 1700.0))
    outages = Outages(LOG, lambda: next(times))
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            outages.failed("storage", "a", "request failed")
    assert len(caplog.records) == 2
