"""A real PostgreSQL of its own, reachable through a unix socket only."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg

_START_S = 30.0
# Nothing here outlives a test, so nothing needs to reach the disk.
_OPTIONS = (
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=60",
    "shared_buffers=16MB",
)


def why_not() -> str | None:
    """Return why no server can be started on this machine, or ``None``."""
    if _binaries() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and _account() is None:
        return "PostgreSQL does not run as root, and there is no user called postgres"
    return None


class PostgresServer:
    """A cluster in a temporary directory; as root it runs as the user postgres."""

    def __init__(self) -> None:
        binaries = _binaries()
        assert binaries is not None
        self._binaries = binaries
        account = _account() if os.geteuid() == 0 else None
        self._as_user = {"user": account.pw_uid, "group": account.pw_gid} if account else {}
        # Short, because a unix socket's path holds 107 bytes at most.
        self._root = Path(tempfile.mkdtemp(prefix="daq-pg-"))
        if account:
            os.chown(self._root, account.pw_uid, account.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "-D", str(self._data), "-U", "daq", "-A", "trust", "-E", "UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip

    @property
    def _data(self) -> Path:
        return self._root / "data"

    def start(self) -> None:
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-k", str(self._root)]
        for option in _OPTIONS:
            command += ["-c", option]
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._root, **self._as_user
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self._root / "log").read_text(errors="replace"))
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop at once; connections are cut."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: "fast shutdown"
            self._process.wait(_START_S)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def create_database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://daq:any@/{name}?host={quote(str(self._root), safe='')}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._conninfo("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _conninfo(self, database: str) -> str:
        return f"host={self._root} user=daq dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            cwd=self._root, check=False, capture_output=True, text=True, **self._as_user,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def _binaries() -> Path | None:
    """Debian keeps the server's programs out of PATH, in a directory for each version."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    if found := shutil.which("initdb"):
        candidates.insert(0, Path(found).resolve().parent)
    return next((path for path in candidates if (path / "initdb").is_file()), None)


def _version(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdecimal() else 0


def _account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None
