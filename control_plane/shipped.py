"""Where the files are that ship with the program and are no Python: the panel, templates.

A wheel carries them in ``control_plane/_shipped``, where ``setup.py`` puts them; in a checkout they
are where people edit and build them.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent
_IN_WHEEL = _PACKAGE / "_shipped"

PANEL = _IN_WHEEL / "panel" if _IN_WHEEL.is_dir() else _CHECKOUT / "web" / "dist"
"""The built panel; absent in a checkout where nobody has built it."""

TEMPLATES = (_IN_WHEEL if _IN_WHEEL.is_dir() else _CHECKOUT) / "supervisord.conf.d"
"""Templates of supervisord's configuration."""
