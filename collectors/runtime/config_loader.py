"""Check a collector's file and pack it, in a process that ends; a collector never loads this."""

import pickle
import sys
from pathlib import Path

from collectors.contract.config import load_collector, revision_of
from collectors.contract.config_error import ConfigError
from collectors.runtime.packed_config import PackedConfig, pack


def attempt(path: Path) -> bytes:
    """Return a pickle of the packed configuration, or of what is wrong with the file."""
    try:
        return pickle.dumps(_load(path))
    except ConfigError as exc:
        return pickle.dumps(exc.problems)


def _load(path: Path) -> PackedConfig:
    while True:
        before = _revision(path)
        config = load_collector(path)
        if before == _revision(path):
            return pack(config, before)


def _revision(path: Path) -> str:
    try:
        return revision_of(path)
    except OSError:
        return ""  # load_collector says what is wrong with the file


if __name__ == "__main__":
    sys.stdout.buffer.write(attempt(Path(sys.argv[1])))
