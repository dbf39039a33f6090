"""Load the collector's file, and log what is wrong with it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from collectors.contract.config import AnyCollector, load_collector, revision_of
from collectors.contract.config_problems import ConfigProblem

_log = logging.getLogger(__name__)


def log_problems(problems: Sequence[ConfigProblem]) -> None:
    """Write one line for each thing that is wrong in the configuration file."""
    for problem in problems:
        _log.error(
            "configuration refused",
            extra={
                "file": problem.file,
                "key": problem.key,
                "code": problem.code,
                "problem": problem.message(),
                "remedy": problem.remedy(),
            },
        )


def load_with_revision(path: Path) -> tuple[AnyCollector, str]:
    """Return the configuration and the hash of exactly that text.

    Raises:
        ConfigError: the file cannot be used.
    """
    while True:
        before = _revision(path)
        config = load_collector(path)
        if before == _revision(path):
            return config, before


def _revision(path: Path) -> str:
    try:
        return revision_of(path)
    except OSError:
        return ""  # load_collector says what is wrong with the file
