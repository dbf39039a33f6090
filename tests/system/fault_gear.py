"""What it takes to hurt an installation from outside: a clock, a disk, another machine."""

import contextlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, Self

import psutil
from bare_supervisord import Inet, bare_supervisord
from fault_files import COLLECTOR
from installation import free_port

HERE = Path(__file__).parent


class ClockShim:
    """Sets the wall clock of every process that was started with :attr:`environment`."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "clock"
        self.file.write_bytes(bytes(64 * 16))
        self.library = directory / "clock_shim.so"
        self._steps: list[tuple[float, float]] = []
        command = ["cc", "-O2", "-shared", "-fPIC", HERE / "clock_shim.c", "-ldl"]
        subprocess.run([*command, "-o", self.library], check=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "CLOCK_SHIM": str(self.file)}

    def set_ahead(self, seconds: float) -> None:
        """Let the clock be so far ahead of the real one from now on."""
        self._steps.append((time.time(), seconds))
        packed = b"".join(struct.pack("dd", *step) for step in self._steps)
        with self.file.open("r+b") as file:
            file.write(packed)


class SmallDisk:
    """A disk that can be made full: a file system in memory, which is made smaller."""

    _BYTES: Final = 3_000_000_000
    """More than the gigabyte that is little; what is not written takes no memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def is_possible(cls) -> bool:
        """Tell whether we may mount; root in a container often may not."""
        with tempfile.TemporaryDirectory() as directory:
            try:
                with cls(Path(directory) / "disk"):
                    return True
            except (subprocess.CalledProcessError, FileNotFoundError):
                return False

    def __enter__(self) -> Self:
        self._directory.mkdir()
        self._mount(["-t", "tmpfs"], self._BYTES, "mode=700")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self._directory], check=True, timeout=20)

    def fill(self) -> None:
        """Leave room for nothing."""
        used = shutil.disk_usage(self._directory).used
        self._mount([], used, "remount")

    def free(self) -> None:
        self._mount([], self._BYTES, "remount")

    def _mount(self, arguments: list[str], size_bytes: int, option: str) -> None:
        options = ["-o", f"size={size_bytes},{option}"]
        command = ["mount", *arguments, *options, "tmpfs", str(self._directory)]
        subprocess.run(command, check=True, timeout=20, capture_output=True)


class FarNode:
    """Another machine: a supervisord on TCP with a collector, which can be killed and come back."""

    COLLECTOR: Final = "away@far"

    def __init__(self, directory: Path, port: int) -> None:
        self.home = directory / "far"
        (self.home / "collectors.d").mkdir(parents=True)
        for each in ("run/heartbeat", "run/lock", "log", "spool"):
            (self.home / each).mkdir(parents=True)
        file = self.home / "collectors.d" / "away.toml"
        file.write_text(COLLECTOR.format(name="away", port=port))
        self.inet = Inet(port=free_port(), username="daq", password="correct horse")
        self._command = f"{sys.executable} -m collectors run {file} --home {self.home}"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        run, programs = self.home / "run", {"away": self._command}
        self._running = self._stack.enter_context(
            bare_supervisord(programs, inet=self.inet, run=run)
        )
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._running.process, *self._orphans()):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.terminate()
                process.wait(20)
        self._stack.close()

    def join(self, home: Path) -> None:
        """Have the installation in ``home`` drive this node."""
        secret = home / "secrets" / "far"
        secret.parent.mkdir()
        secret.touch(mode=0o600)
        secret.write_text(self.inet.password)
        url = f"http://127.0.0.1:{self.inet.port}"
        entry = {"name": "far", "url": url, "username": "daq", "password_file": "secrets/far"}
        lines = [f'{key} = "{value}"' for key, value in entry.items()]
        (home / "nodes.toml").write_text("\n".join(["[[node]]", *lines, ""]))

    def kill(self) -> None:
        self._running.process.kill()
        self._running.process.wait()

    def come_back(self) -> None:
        configuration = self._running.home / "supervisord.conf"
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", configuration]
        self._running.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def _orphans(self) -> list[psutil.Process]:
        named = str(self.home)
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(named in part for part in process.info["cmdline"] or [])
        ]
