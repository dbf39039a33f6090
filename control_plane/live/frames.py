"""WebSocket frames of ready messages, made once for everybody who gets the same.

RFC 6455, 5.2: a server's frames are not masked, so one frame serves any number of connections.
"""

import enum
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Final

from control_plane.live.feeds import Change, encode
from control_plane.live.topics import Topic

ZIP_VERSION: Final = b"\x01"
"""First byte of a compressed frame; raw deflate (RFC 1951) of UTF-8 text follows."""
ZIP_FROM_BYTES: Final = 1024
"""Shorter frames go as text: compressing them saves less than a packet."""
_ZIP_LEVEL: Final = 1

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_PING: Final = 0x89
_PONG: Final = 0x8A
_CLOSE: Final = 0x88
_MAX_CLOSE_REASON_BYTES: Final = 123

PING: Final = bytes((_PING, 0))


class Mode(enum.IntEnum):
    """How a client wants its frames."""

    PLAIN = 0
    """One message a frame."""
    BATCH = 1
    """What is sent at once is one frame, an array if there is more than one message."""
    ZIP = 2
    """As BATCH, and long frames compressed."""


class Burst:
    """Messages that are sent at once; the bytes for each mode are made when first needed."""

    __slots__ = ("_made", "texts")

    check: ClassVar[Callable[[str], None] | None] = None
    """In tests: raises for a message that is not as described."""

    def __init__(self, texts: Sequence[str]) -> None:
        if Burst.check is not None:
            for text in texts:
                Burst.check(text)
        self.texts = texts
        self._made: list[bytes | None] = [None, None, None]

    def of(self, mode: Mode) -> bytes:
        made = self._made[mode]
        if made is None:
            made = self._made[mode] = _MAKERS[mode](self.texts)
        return made


def text_frame(text: str) -> bytes:
    return _frame(_TEXT, text.encode())


def json_frame(value: object) -> bytes:
    return Burst([encode(value)]).of(Mode.PLAIN)


def pong_frame(payload: bytes) -> bytes:
    return _frame(_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    text = reason.encode()[:_MAX_CLOSE_REASON_BYTES].decode(errors="ignore").encode()
    return _frame(_CLOSE, struct.pack("!H", code) + text)


def delta_texts(topic: Topic, sub: str, prev: int, changes: Iterable[Change]) -> list[str]:
    """Return one message for each change; ``prev`` is the number that the listeners have."""
    texts = []
    for change in changes:
        skipped = f'"skipped":{change.skipped},' if change.skipped else ""
        texts.append(
            f'{{"type":"{topic.type}","topic":"{topic.name}","sub":"{sub}","kind":"delta",'
            f'"seq":{change.seq},"prev":{prev},"ts":{change.ts_ms},{skipped}"data":{change.text}}}'
        )
        prev = change.seq
    return texts


def snapshot_text(topic: Topic, sub: str, seq: int, ts_ms: int, changes: Iterable[Change]) -> str:
    """Return the message that holds everything as it is at ``seq``."""
    data = ",".join([change.text for change in changes])
    return (
        f'{{"type":"{topic.type}","topic":"{topic.name}","sub":"{sub}","kind":"snapshot",'
        f'"seq":{seq},"ts":{ts_ms},"data":[{data}]}}'
    )


def _plain(texts: Sequence[str]) -> bytes:
    return b"".join([text_frame(text) for text in texts])


def _batch(texts: Sequence[str]) -> bytes:
    return text_frame(_joined(texts))


def _zip(texts: Sequence[str]) -> bytes:
    payload = _joined(texts).encode()
    if len(payload) < ZIP_FROM_BYTES:
        return _frame(_TEXT, payload)
    deflate = zlib.compressobj(_ZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return _frame(_BINARY, ZIP_VERSION + deflate.compress(payload) + deflate.flush())


_MAKERS: Final[tuple[Callable[[Sequence[str]], bytes], ...]] = (_plain, _batch, _zip)


def _joined(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


def _frame(head: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", head, 126, size) + payload
    return struct.pack("!BBQ", head, 127, size) + payload
