"""A row of the state database as a line of JSON and back; bytes are ``{"base64": TEXT}``."""

import base64
import json

from control_plane.storage.rows import Row


def to_line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_bytes_to_json)


def from_line(line: bytes) -> Row:
    """Raises ValueError if the line is no row."""
    row: Row = json.loads(line, object_hook=_bytes_from_json)
    return row


def _bytes_to_json(value: bytes | memoryview) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _bytes_from_json(value: dict[str, str]) -> bytes:
    return base64.b64decode(value["base64"], validate=True)
