"""Samples as InfluxDB line protocol, for InfluxDB 2 and for VictoriaMetrics.

One line a sample (InfluxDB v2, "Line protocol reference")::

    daq,collector=line1,device=press,point=temp float=20.5,delay_ns=1800000i 1795435200000000000

The field's name is the value's type: ``float``, ``int``, ``uint`` (an integer of 2^63 or more),
``bool`` or ``text``. A store allows one type for a field, so with one field for all of them a point
whose type was changed, or the first text, would be refused. ``quality`` and ``code`` are there when
they are not 0; a bad sample has no value field. ``delay_ns`` is receive time less source time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from collectors.contract.points import Quality
from collectors.history.batch import Batch
from collectors.history.device_time import trusted_times
from collectors.history.values import UINT64_SPAN, Kind, Raw

MEASUREMENT = "daq"
EXACT_IN_A_DOUBLE = 2**53

_NO_TEXT = "this store keeps numbers only, not text"
_NO_TAG = "a tag value of line protocol cannot end with a backslash; rename the device or point"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the receiver makes of line protocol.

    Attributes:
        has_types: Keeps integers, bools and text as such, and the nanosecond; otherwise every
            value becomes a double, so text is refused and an integer that loses digits uncertain.
        unescapes_backslash: Reads two backslashes in a tag as one.
    """

    has_types: bool
    unescapes_backslash: bool


INFLUX = Dialect(has_types=True, unescapes_backslash=False)
VICTORIA = Dialect(has_types=False, unescapes_backslash=True)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The lines of a batch; ``refusals`` says by index why the line of a sample is empty."""

    lines: list[str]
    refusals: dict[int, str]


def encode_lines(collector: str, batch: Batch, dialect: Dialect) -> Encoded:
    """Return one line, without its end, for each sample of ``batch``."""
    prefixes = _prefixes(collector, tuple(batch.points), dialect)
    times_ns, qualities = trusted_times(batch)
    has_types = dialect.has_types
    lines: list[str] = []
    refusals: dict[int, str] = {}
    for prefix, kind, raw, quality, code, t_ns, received_ns in zip(
        prefixes,
        batch.kinds,
        batch.raws,
        qualities,
        batch.codes,
        times_ns,
        batch.received_ns,
        strict=True,
    ):
        tail = f",delay_ns={received_ns - t_ns}i {t_ns}" if has_types else f" {t_ns}"
        if kind == Kind.FLOAT and quality == 0 and code == 0 and prefix:
            lines.append(f"{prefix}float={raw!r}{tail}")
            continue
        refusal = _refusal(prefix, kind, has_types)
        if refusal:
            refusals[len(lines)] = refusal
            lines.append("")
            continue
        fields = _fields(kind, raw, quality, code, has_types)
        lines.append(f"{prefix}{fields}{tail}")
    return Encoded(lines, refusals)


def tag_value(text: str, dialect: Dialect) -> str:
    """Return ``text`` with what would end a tag escaped."""
    if dialect.unescapes_backslash:
        text = text.replace("\\", "\\\\")
    return text.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def _refusal(prefix: str, kind: int, has_types: bool) -> str:
    if not prefix:
        return _NO_TAG
    return _NO_TEXT if kind == Kind.STR and not has_types else ""


def _fields(kind: int, raw: Raw, quality: int, code: int, has_types: bool) -> str:
    if not has_types and isinstance(raw, int) and (raw < 0 or raw > EXACT_IN_A_DOUBLE):
        number = raw + UINT64_SPAN if kind == Kind.BIG else raw
        if int(float(number)) != number:
            quality = max(quality, Quality.UNCERTAIN)
    fields = [] if kind == Kind.NONE else [_VALUE_FIELDS[kind](raw)]
    if quality or not fields:
        fields.append(f"quality={quality}i")
    if code:
        fields.append(f"code={code}i")
    return ",".join(fields)


def _text_field(raw: Raw) -> str:
    escaped = str(raw).replace("\\", "\\\\").replace('"', '\\"')
    return f'text="{escaped}"'


_VALUE_FIELDS: dict[int, Callable[[Raw], str]] = {
    Kind.BOOL: lambda raw: "bool=true" if raw else "bool=false",
    Kind.INT: "int={}i".format,
    Kind.BIG: lambda raw: f"uint={int(raw or 0) + UINT64_SPAN}u",
    Kind.FLOAT: "float={!r}".format,
    Kind.STR: _text_field,
}


# A poll group reads the same points each time, so few different lists come here.
@lru_cache(maxsize=256)
def _prefixes(collector: str, points: tuple[str, ...], dialect: Dialect) -> Sequence[str]:
    """Return each line up to its fields; an empty one for a name that has no place in a tag."""
    return tuple([_prefix(collector, point, dialect) for point in points])


def _prefix(collector: str, point: str, dialect: Dialect) -> str:
    device, _, name = point.partition("/")
    if not dialect.unescapes_backslash and (device.endswith("\\") or name.endswith("\\")):
        return ""
    tags = (("collector", collector), ("device", device), ("point", name))
    named = ",".join(f"{key}={tag_value(text, dialect)}" for key, text in tags if text)
    return f"{MEASUREMENT},{named} "
