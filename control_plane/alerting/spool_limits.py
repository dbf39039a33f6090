"""How much each collector of this machine may queue on disk, from its file."""

from pathlib import Path

from collectors.contract.config_base import SLUG, Spool
from collectors.contract.config_problems import ConfigError, read_toml

_DEFAULT = Spool().max_bytes


class SpoolLimits:
    """Reads a file again only when it has changed. Owned by one thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, tuple[tuple[int, int], int]] = {}

    def read(self) -> dict[str, int]:
        """Return bytes by collector; a file that cannot be read has the usual limit."""
        found: dict[str, tuple[tuple[int, int], int]] = {}
        for path in self._directory.glob("*.toml"):
            if SLUG.fullmatch(path.stem) is None:
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._known.get(path.stem)
            fresh = known is not None and known[0] == stamp
            found[path.stem] = known if known and fresh else (stamp, _limit_of(path))
        self._known = found
        return {name: limit for name, (_, limit) in found.items()}


def _limit_of(path: Path) -> int:
    try:
        limit = read_toml(path).get("spool", {}).get("max_bytes", _DEFAULT)
    except (ConfigError, AttributeError):
        return _DEFAULT
    return limit if type(limit) is int and limit > 0 else _DEFAULT
