"""Which files below DAQ_HOME belong into a backup."""

from pathlib import Path

_GENERATED = "supervisord.conf.d"
"""Written anew at each start."""
_KEYS = "pki"
"""Own keys and certificates, and those of servers that are trusted."""


def settings_directories(home: Path) -> list[Path]:
    """Return the directories that people edit, ``collectors.d`` and its like, and the keys."""
    found = [path for path in home.glob("*.d") if path.name != _GENERATED]
    return sorted(path for path in (*found, home / _KEYS) if path.is_dir())


def settings_files(home: Path) -> list[Path]:
    """Return every file that is a setting: those of :func:`settings_directories`, and ``*.toml``
    in ``home`` itself."""
    inside = [path for each in settings_directories(home) for path in each.rglob("*")]
    # A name with a dot in front belongs to an editor or to a write under way.
    chosen = [path for path in (*inside, *home.glob("*.toml")) if not path.name.startswith(".")]
    return sorted(path for path in chosen if path.is_file())


def history_files(directory: Path) -> list[Path]:
    """Return the files of the embedded store, the day files last: what the others know of days is
    then never newer than these."""
    return sorted(directory.glob("*.db"), key=lambda path: (path.name[:1].isdigit(), path.name))
