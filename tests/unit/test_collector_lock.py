"""One process owns a collector."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from collectors.runtime.lock import CollectorLock, LockHeld


def test_the_second_owner_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock" / "line1.lock"
    first, second = CollectorLock(path), CollectorLock(path)
    first.acquire()
    with pytest.raises(LockHeld) as caught:
        second.acquire()
    assert caught.value.pid == os.getpid()
    first.release()
    second.acquire()
    second.release()
    second.release()


def test_a_killed_owner_leaves_the_lock_free(tmp_path: Path) -> None:
    path = tmp_path / "line1.lock"
    script = textwrap.dedent(
        f"""
        import sys, pathlib
        from collectors.runtime.lock import CollectorLock
        CollectorLock(pathlib.Path({str(path)!r})).acquire() or print("mine", flush=True)
        sys.stdin.read()
        """
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        with pytest.raises(LockHeld) as caught:
            CollectorLock(path).acquire()
        assert caught.value.pid == owner.pid
        owner.kill()
        owner.wait()
    lock = CollectorLock(path)
    lock.acquire()
    lock.release()


def test_a_lock_file_that_names_nobody_still_locks(tmp_path: Path) -> None:
    path = tmp_path / "line1.lock"
    owner = CollectorLock(path)
    owner.acquire()
    path.write_text("")
    with pytest.raises(LockHeld) as caught:
        CollectorLock(path).acquire()
    assert caught.value.pid is None
    owner.release()
