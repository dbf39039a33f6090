"""The collector files of this installation: the truth about what is to be collected."""

from pathlib import Path

from collectors.contract.config import PROTOCOLS, AnyCollector, load_collector, revision_of
from collectors.contract.config_base import SLUG
from collectors.contract.config_problems import ConfigError, ConfigProblem, read_toml
from control_plane.domain.observation import CollectorFile


class CollectorFiles:
    """Reads ``collectors.d``; files that did not change are not read again. Owned by one thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, tuple[tuple[int, int, int], CollectorFile]] = {}

    def scan(self) -> dict[str, CollectorFile]:
        """Return every collector by name, broken ones included.

        A file whose name is no slug cannot become a program, so it is listed only by
        :func:`misnamed`.
        """
        found: dict[str, tuple[tuple[int, int, int], CollectorFile]] = {}
        for path in sorted(self._directory.glob("*.toml")):
            if SLUG.fullmatch(path.stem) is None:
                continue
            try:
                status = path.stat()
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            except OSError:
                stamp = (0, 0, 0)
            known = self._known.get(path.stem)
            fresh = known is not None and known[0] == stamp
            found[path.stem] = known if known and fresh else (stamp, read_collector_file(path))
        self._known = found
        return {name: file for name, (_, file) in found.items()}


def misnamed(directory: Path) -> list[Path]:
    """Return the TOML files whose names cannot be collector names."""
    return [path for path in sorted(directory.glob("*.toml")) if not SLUG.fullmatch(path.stem)]


def read_collector_file(path: Path) -> CollectorFile:
    """Read one file; a broken one comes back with its problems, not as an error."""
    config: AnyCollector | None = None
    protocol: str | None = None
    problems: tuple[ConfigProblem, ...] = ()
    revision: str | None = None
    try:
        revision = revision_of(path)
        config = load_collector(path)
        protocol = config.protocol
    except ConfigError as exc:
        problems = exc.problems
        protocol = _stated_protocol(path)
    except OSError:
        pass  # It vanished between the two reads; the next scan does not list it.
    return CollectorFile(
        name=path.stem,
        path=path,
        config=config,
        protocol=protocol,
        problems=problems,
        revision=revision,
    )


def _stated_protocol(path: Path) -> str | None:
    try:
        stated = read_toml(path).get("protocol")
    except ConfigError:
        return None
    return stated if stated in PROTOCOLS else None
