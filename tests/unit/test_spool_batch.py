"""A batch gives back exactly the samples that were put into it."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.contract.points import Quality, Sample, Value
from collectors.history.batch import BatchError, count_samples, decode, encode
from collectors.history.columns import UNSTORABLE

# A shared, busy machine must not fail a law by its deadline.
_SETTINGS = settings(derandomize=True, deadline=None)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_VALUES: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
)
_USABLE = st.sampled_from([Quality.GOOD, Quality.UNCERTAIN])
_BAD = st.sampled_from([quality for quality in Quality if quality.is_bad])


def _sample(value: Value | None, quality: Quality, point: str, numbers: list[int]) -> Sample:
    code, source_ns, received_ns = numbers
    return Sample(
        point=point,
        value=value,
        quality=quality,
        code=code,
        source_ns=source_ns,
        received_ns=received_ns,
    )


_POINTS = st.text(st.characters(codec="utf-8"), max_size=20)
_NUMBERS = st.lists(_INT64, min_size=3, max_size=3)
SAMPLES = st.one_of(
    st.builds(_sample, _VALUES, _USABLE, _POINTS, _NUMBERS),
    st.builds(_sample, st.none(), _BAD, _POINTS, _NUMBERS),
)


@_SETTINGS
@given(st.lists(SAMPLES, min_size=1, max_size=40))
def test_a_batch_comes_back_with_every_value_and_type_unchanged(samples: list[Sample]) -> None:
    body = encode(samples)
    batch = decode(body)
    back = batch.samples()
    assert back == samples
    # == takes True for 1 and 1.0, and -0.0 for 0.0.
    assert [repr(sample.value) for sample in back] == [repr(sample.value) for sample in samples]
    assert len(batch) == count_samples(body) == len(samples)


@_SETTINGS
@given(st.binary(max_size=200))
def test_bytes_that_are_no_batch_are_refused_with_one_kind_of_error(body: bytes) -> None:
    with pytest.raises(BatchError):
        decode(body)


@_SETTINGS
@given(st.lists(SAMPLES, min_size=1, max_size=5), st.data())
def test_a_batch_with_a_flipped_bit_never_raises_anything_else(
    samples: list[Sample], data: st.DataObject
) -> None:
    body = bytearray(encode(samples))
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    body[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(BatchError, ValueError):
        decode(bytes(body)).samples()


@pytest.mark.parametrize(
    ("value", "source_ns"),
    [(2**64, 0), (-(2**63) - 1, 0), (1, 2**63), (1, -(2**63) - 1), ("\ud800", 0)],
)
def test_what_does_not_fit_64_bits_or_unicode_is_refused(value: Value, source_ns: int) -> None:
    sample = Sample(
        point="plc/x", value=value, quality=Quality.GOOD, source_ns=source_ns, received_ns=0
    )
    with pytest.raises(UNSTORABLE):
        encode([sample])
