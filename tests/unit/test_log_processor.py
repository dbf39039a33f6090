"""The pipeline from raw lines to entries, alone and in batches."""

import json

from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.logs import ErrorSeverity, LogFilter, LogLevel
from control_plane.logs.line_filter import LineFilter
from control_plane.logs.processor import LogProcessor
from control_plane.logs.redaction import Redactor

PROCESSOR = LogProcessor(lambda: Redactor(["geheim123"]))
LEVELS = st.sampled_from(list(LogLevel))
TEXTS = st.sampled_from(["ab", "b", "A=1", "x y", "", "\\", "é", "redacted"])
FILTERS = st.one_of(
    st.builds(LogFilter, level=LEVELS, text=TEXTS),
    st.builds(LogFilter, level=LEVELS, regex=st.sampled_from(["a+", "^b", "x*", "b$", r"\d", ""])),
)
RAW = st.lists(
    st.one_of(
        st.text("abAxy =1é\\", max_size=6).map(str.encode),
        st.builds(
            lambda level, text: json.dumps({"level": level, "event": text}).encode(), LEVELS, TEXTS
        ),
        st.sampled_from([b"ERROR ab", b"Traceback (most recent call last):", b"  at", b"E: b"]),
    ),
    max_size=12,
)


def test_an_entry_carries_no_secret_and_says_what_went_wrong() -> None:
    line = b'{"level": "CRITICAL", "event": "login with geheim123 failed", "password": "x1y2z3"}'
    entry = PROCESSOR.parse_log_entry(line, "line1")
    assert entry.message == "login with [redacted] failed"
    assert entry.fields == {"password": "[redacted]"}
    error = PROCESSOR.extract_error_info(entry)
    assert error is not None
    assert (error.severity, error.process_name) == (ErrorSeverity.CRITICAL, "line1")
    assert PROCESSOR.filter_logs([entry], LogFilter(text="geheim123")) == []
    assert PROCESSOR.filter_logs([entry], LogFilter(level=LogLevel.ERROR)) == [entry]


@given(RAW, FILTERS)
def test_a_batch_finds_what_a_look_at_each_entry_finds(raw: list[bytes], asked: LogFilter) -> None:
    batch, lines = PROCESSOR.batch("p", tuple(raw)), LineFilter(asked)
    found = list(batch.wanted(lines))
    assert found == [batch.entry(n) for n in range(len(batch)) if batch.is_wanted(n, lines)]
