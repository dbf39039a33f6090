"""Numbers in a query string."""

from flask import request

from control_plane.errors import BadRequest

_MOST_DIGITS = 9
"""Leading zeros count too: what is checked is what is used."""


def whole_number(name: str, default: int, highest: int) -> int:
    """Return the query parameter ``name``; raises BadRequest unless it is in 1..``highest``."""
    text = request.args.get(name, str(default))
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    if not is_number or not 1 <= int(text) <= highest:
        raise BadRequest(reason=f"{name} must be a whole number 1..{highest}")
    return int(text)
