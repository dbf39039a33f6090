"""A supervisord with programs that only sleep, with or without the plugin."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from installation import wait_for

from control_plane.errors import SupervisorUnreachable
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.transport import UnixAddress

_MAIN = """
[unix_http_server]
file={home}/s.sock
[supervisord]
nodaemon=true
silent=true
logfile={home}/supervisord.log
pidfile={home}/s.pid
minfds=4096
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{home}/s.sock
"""
_PLUGIN = """
[rpcinterface:daq]
supervisor.rpcinterface_factory=control_plane.supervisor.plugin:make_rpcinterface
run={run}
"""
_INET = """
[inet_http_server]
port=127.0.0.1:{port}
username={username}
password={password}
"""
_PROGRAM = """
[program:{name}]
command={command}
startsecs=1
startretries=1
autorestart=unexpected
redirect_stderr=true
stdout_logfile={home}/{name}.log
"""


@dataclass(frozen=True, kw_only=True)
class Inet:
    """A TCP port on loopback and the credentials for it."""

    port: int
    username: str
    password: str


@dataclass
class BareSupervisord:
    home: Path
    process: subprocess.Popen[bytes]
    clients: list[SupervisorClient] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.home / "s.sock"

    def client(self, timeout_s: float = 10.0) -> SupervisorClient:
        """Return a client that is closed with this supervisord."""
        self.clients.append(SupervisorClient(UnixAddress(self.socket), timeout_s))
        return self.clients[-1]

    def supervisorctl(self, *arguments: str) -> str:
        program = Path(sys.executable).with_name("supervisorctl")
        return subprocess.run(
            [str(program), "-c", str(self.home / "supervisord.conf"), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout


@contextlib.contextmanager
def bare_supervisord(
    commands: Mapping[str, str],
    *,
    plugin: bool = True,
    inet: Inet | None = None,
    run: Path | None = None,
) -> Iterator[BareSupervisord]:
    """Run supervisord with these programs until the block ends.

    ``run`` is the directory of heartbeats and ledgers that the plugin looks into.
    """
    with tempfile.TemporaryDirectory(prefix="daq-s-") as directory:
        home = Path(directory)
        text = _MAIN.format(home=home) + (_PLUGIN.format(run=run or "") if plugin else "")
        if inet is not None:
            text += _INET.format(**asdict(inet))
        for name, command in commands.items():
            text += _PROGRAM.format(name=name, command=command, home=home)
        (home / "supervisord.conf").write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", home / "supervisord.conf"],
            stderr=subprocess.DEVNULL,
        )
        running = BareSupervisord(home, process)
        try:
            wait_for(lambda: _answers(running), "supervisord answers", 20)
            yield running
        finally:
            for client in running.clients:
                client.close()
            process.terminate()
            process.wait(30)


def _answers(running: BareSupervisord) -> bool:
    try:
        return all(i.pid or i.stopped_at for i in running.client().processes().values())
    except SupervisorUnreachable:
        return False
