"""Fixtures that give out whole installations."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from installation import Installation, free_port


@pytest.fixture(scope="session")
def make_installation() -> Iterator[Callable[..., Installation]]:
    """Give out fresh installations and clear them away at the end."""
    made: list[Installation] = []
    # Short, because a unix socket's path holds 107 bytes at most.
    root = Path(tempfile.mkdtemp(prefix="daq-"))

    def make(*arguments: str) -> Installation:
        installation = Installation(root / str(len(made)), free_port(), arguments)
        made.append(installation)
        return installation

    yield make
    for installation in made:
        installation.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def demo(make_installation: Callable[..., Installation]) -> Installation:
    """The demonstration, running: three simulated devices and their collectors."""
    installation = make_installation("--demo")
    installation.start()
    return installation
