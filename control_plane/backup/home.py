"""Which files below DAQ_HOME belong into a backup."""

from pathlib import Path

_GENERATED = "supervisord.conf.d"
"""Written anew at each start."""


def settings_directories(home: Path) -> list[Path]:
    """Return the directories that people edit: ``collectors.d`` and its like."""
    return sorted(p for p in home.glob("*.d") if p.is_dir() and p.name != _GENERATED)


def settings_files(home: Path) -> list[Path]:
    """Return every file that is a setting: those of :func:`settings_directories`, and ``*.toml``
    in ``home`` itself."""
    inside = [path for each in settings_directories(home) for path in each.iterdir()]
    # A name with a dot in front belongs to an editor or to a write under way.
    chosen = [path for path in (*inside, *home.glob("*.toml")) if not path.name.startswith(".")]
    return sorted(path for path in chosen if path.is_file())


def history_files(directory: Path) -> list[Path]:
    """Return the files of the embedded store, the day files last: what the others know of days is
    then never newer than these."""
    return sorted(directory.glob("*.db"), key=lambda path: (path.name[:1].isdigit(), path.name))
