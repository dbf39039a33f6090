"""What a child says on its console is kept, and nothing that it says can fill a disk."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from control_plane import last_words
from control_plane.last_words import LastWords


def say(file: Path, program: str) -> tuple[LastWords, int]:
    """Run a child to its end; return what was kept, and its exit code."""
    words = LastWords(file)
    child = subprocess.Popen([sys.executable, "-c", program], stderr=words.fileno)
    words.listen()
    code = child.wait(30)
    deadline = time.monotonic() + 10
    while "the end" not in words.text():
        assert time.monotonic() < deadline, words.text()
        time.sleep(0.01)
    return words, code


def test_the_newest_words_are_kept_and_written_down(tmp_path: Path) -> None:
    file = tmp_path / "console.log"
    words, code = say(file, "import sys; sys.exit('first\\nthe end')")
    assert (words.text(), code) == ("first\nthe end\n", 1)
    assert file.read_text() == words.text()


def test_a_child_that_complains_for_ever_fills_neither_memory_nor_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_words, "_FILE_BYTES", 10_000)
    file = tmp_path / "console.log"
    program = "import sys; sys.stderr.write('x' * 1_000_000); sys.exit('the end')"
    words, code = say(file, program)
    assert code == 1
    assert len(words.text()) < 100_000
    assert file.stat().st_size < 20_000


def test_where_nothing_can_be_written_the_child_does_not_notice(tmp_path: Path) -> None:
    words, code = say(tmp_path / "nowhere" / "console.log", "import sys; sys.exit('the end')")
    assert (words.text(), code) == ("the end\n", 1)
