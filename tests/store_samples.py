"""Samples and records as a spool gives them, for tests of stores."""

import time
from collections.abc import Sequence

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import decode, encode
from collectors.history.segment import Position
from collectors.history.spool_reader import Record

BASE_NS = (time.time_ns() // 10**12 - 1) * 10**12
"""A round time in the past, at most half an hour ago."""


def sample(
    value: Value | None,
    point: str = "press/temp",
    *,
    at_ns: int = BASE_NS,
    quality: Quality | None = None,
    code: int = 0,
) -> Sample:
    default = Quality.BAD_TIMEOUT if value is None else Quality.GOOD
    return Sample(
        point=point,
        value=value,
        quality=default if quality is None else quality,
        code=code,
        source_ns=at_ns,
        received_ns=at_ns + 1500,
    )


def record(samples: Sequence[Sample], sequence: int = 1) -> Record:
    position = Position(segment=1, offset=sequence, sequence=sequence)
    return Record(sequence=sequence, wall_ns=BASE_NS, batch=decode(encode(samples)), end=position)
