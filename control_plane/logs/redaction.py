"""Takes secrets out of log lines before anybody sees them.

Two sources: the values that this installation knows to be secret, in the forms in which a log can
hold them, and patterns. RE2 runs them, in time that grows with the length of a line only, so that
no line can hold up its readers. A mask says that something was there; it never says how long.
"""

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, Final
from urllib.parse import quote, quote_plus

import re2

MASK: Final = b"[redacted]"
_MAX_MEMORY_BYTES: Final = 64 << 20
MIN_SECRET_CHARS: Final = 4
"""Shorter values occur in every line; a secret of that length is none."""

_WORDS: Final = (
    rb"passw(?:or)?d|passwd|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key"
    rb"|private[_-]?key|signing[_-]?key|auth[_-]?key|community|credentials?|cookie|session[_-]?id"
    rb"|authorization|hmac|x-sign|\xe5\xaf\x86\xe7\xa0\x81|\xe5\x8f\xa3\xe4\xbb\xa4"
    rb"|\xe5\xaf\x86\xe9\x92\xa5|\xe4\xbb\xa4\xe7\x89\x8c"  # 密码 口令 密钥 令牌
)
_TOKEN_FORMS: Final = (
    rb"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}\.?[A-Za-z0-9_-]*"  # JSON Web Token
    rb"|daq_[A-Za-z0-9_-]{16,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}"
    rb"|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,}|glpat-[A-Za-z0-9_-]{16,}"
)
# A quoted value, with the quotes of JSON, Python, a shell or JSON inside JSON; else to a border.
_VALUE: Final = (
    rb'(?:\\+"(?:[^"\\]|\\+[^"\\])*\\*"?|"(?:[^"\\]|\\.)*"?|\'(?:[^\'\\]|\\.)*\'?'
    rb"|\[[^\[\]]*\]?|\{[^{}]*\}?"
    rb"|(?:(?i:bearer|basic|digest|token)\s+)?(?:[^\s;&\"'<>(){}\[\]|\\]|\\\\|\\[^\"'nrt\s\\])+)"
)
_KEY: Final = rb"[\w.$-]{0,64}?(?i:" + _WORDS + rb")[\w.-]{0,64}"
_BORDER: Final = (
    rb"(?:\\*[\"']?\s{0,8}(?:=>|:=|=|:|\xef\xbc\x9a)\s{0,8}|\\*[\"']\s{0,4},\s{0,4}"
    rb"|\s{1,4}(?:(?i:is|was)\s{1,4}|\xe6\x98\xaf\s{0,4})|\s{1,4})"
)


def _rule(pattern: bytes) -> Any:
    # Bytes are bytes: a line need not be UTF-8. RE2 refuses what it cannot run in linear time.
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _MAX_MEMORY_BYTES
    return re2.compile(pattern, options)


_PEM = _rule(
    rb"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\z)"
)
_URL = _rule(rb"([A-Za-z][A-Za-z0-9+.-]{1,30}:\\?/\\?/)([^\s\"'<>@]{0,400}[^\s\"'<>]{0,400})@")
_SCHEME = _rule(rb"(?i)\b(bearer|basic|digest)(\s+|%20)([A-Za-z0-9._~+/=-]{6,})")
_ASSIGNED = _rule(rb"(" + _KEY + rb")(" + _BORDER + rb")(" + _VALUE + rb")")
_QUERY = _rule(rb"(?i)([?&](?:key|sig|sign|signature|code|auth|ticket)=)([^\s&\"'<>]+)")
_HOOK = _rule(rb"(?i)(hooks?\.slack\.com/services/|/bot/v2/hook/|/bot)([A-Za-z0-9:_/-]{8,})")
_TOKEN = _rule(rb"\b(?:" + _TOKEN_FORMS + rb")")
_BASE64_LINE = _rule(rb"^[A-Za-z0-9+/]{48,}={0,2}$")
"""A line of a PEM block whose beginning stands in lines that were read before."""

_GATE: Final = (
    rb"(?i:" + _WORDS + rb"|bearer|basic |basic%|digest |[?&](?:key|sig|code|auth|ticket)"
    rb"|/hook|slack\.com|/bot)|@|-----BEGIN|" + _TOKEN_FORMS + rb"|(?m:^[A-Za-z0-9+/]{48,}={0,2}$)"
)
# A value of these says where the secret is, or that there is none.
_HARMLESS_KEY = re.compile(rb"(?i)(?:file|env|path|dir|url|type|name|count|_id|length|ttl)s?$")
_HARMLESS_VALUE = re.compile(rb"(?i)^\\*[\"']?(?:true|false|null|none|)\\*[\"']?$")
_QUOTE = re.compile(rb"\\*[\"']?")
_SPOKEN = re.compile(rb"^\s+$")
_LOOKS_SECRET = re.compile(rb"^\\*[\"']|(?=.*[0-9])(?=.*[A-Za-z]).{6,}|.*[!#$%^*~@]")


class Redactor:
    """Masks secrets; immutable, so that any thread may use it."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = sorted({form for value in values for form in _forms(value)}, key=len, reverse=True)
        literals = b"|".join(re2.escape(form) for form in forms)
        self._known = _rule(literals) if forms else None
        self._gate = _rule(_GATE + (b"|" + literals if forms else b""))

    def line(self, line: bytes) -> bytes:
        """Return ``line``, or several that belong together, without its secrets."""
        if self._gate.search(line) is None:
            return line
        if self._known is not None:
            line = _replaced(self._known, line, lambda _: MASK)
        line = _replaced(_PEM, line, lambda _: MASK)
        line = _replaced(_URL, line, _url)
        line = _replaced(_HOOK, line, lambda found: found[1] + MASK)
        line = _replaced(_TOKEN, line, lambda _: MASK)
        line = _replaced(_SCHEME, line, lambda found: found[1] + found[2] + MASK)
        line = _replaced(_QUERY, line, lambda found: found[1] + MASK)
        line = _replaced(_ASSIGNED, line, _assigned)
        return MASK if _BASE64_LINE.search(line) else line

    def lines(self, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return every line without its secrets; cheap where there are none."""
        data = b"\n".join(lines)
        hit = self._gate.search(data)
        if hit is None:
            return lines
        begins = list(accumulate((len(line) + 1 for line in lines), initial=0))
        found = list(lines)
        while hit is not None:
            number = bisect_right(begins, hit.start()) - 1
            found[number] = self.line(lines[number])
            hit = self._gate.search(data, begins[number + 1] - 1)
        return tuple(found)

    def has_secrets(self, data: bytes) -> bool:
        """Tell whether ``data`` may hold a secret; ``False`` is certain."""
        return self._gate.search(data) is not None


def _replaced(pattern: Any, line: bytes, new: Callable[[Any], bytes]) -> bytes:
    pieces, end = [], 0
    for found in pattern.finditer(line):
        pieces += [line[end : found.start()], new(found)]
        end = found.end()
    return b"".join([*pieces, line[end:]]) if pieces else line


def _url(found: Any) -> bytes:
    user, colon, _ = found[2].partition(b":")
    if not colon or b"/" in user:
        # A user alone may be a token, as in https://TOKEN@host; a path is neither.
        return bytes(found[0]) if b"/" in found[2] else found[1] + MASK + b"@"
    return bytes(found[1] + user + b":" + MASK + b"@")


def _assigned(found: Any) -> bytes:
    key, border, value = found[1], found[2], found[3].rstrip(b",")
    rest = found[3][len(value) :]
    is_word = _SPOKEN.match(border) and not key.startswith(b"-")
    if is_word and _LOOKS_SECRET.match(value) is None:
        return bytes(found[0])  # "password expired": a word of the sentence, no value.
    if _HARMLESS_KEY.search(key) or _HARMLESS_VALUE.match(value) or value == MASK:
        return bytes(found[0])
    opened = _QUOTE.match(value)[0]  # type: ignore[index] # it matches nothing, too
    closed = opened if opened and value.endswith(opened) and len(value) > len(opened) else b""
    if not opened and border.startswith(b'"') and b":" in border:
        opened = closed = b'"'  # A number or a list of JSON, which must stay JSON.
    return bytes(key + border + opened + MASK + closed + rest)


def _forms(secret: str) -> set[bytes]:
    """Return the forms in which a log can hold a secret."""
    if len(secret) < MIN_SECRET_CHARS:
        return set()
    raw = secret.encode("utf-8", errors="surrogateescape")
    written = {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret),
        repr(secret)[1:-1],
    }
    written |= {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    forms = {form.encode("utf-8", errors="surrogateescape") for form in written} | {raw}
    forms.add(base64.b64encode(raw).rstrip(b"="))
    # JSON inside JSON.
    forms |= {form.replace(b"\\", b"\\\\").replace(b'"', b'\\"') for form in set(forms)}
    return forms
