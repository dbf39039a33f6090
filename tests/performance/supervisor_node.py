"""A supervisord with many programs that only sleep, as the benches need it, and what it costs."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path

# Whichever of the bench's files is run or imported first makes the rest importable.
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

from bare_supervisord import BareSupervisord
from installation import wait_for
from supervisor.xmlrpc import SupervisorTransport

from control_plane.domain.process import SupervisorState
from control_plane.errors import SupervisorUnreachable
from control_plane.supervisor.process_manager import ProcessManager

_PROGRAM_S = 300
"""Whatever happens to the bench, its programs end by themselves."""
SLEEPER = f"/bin/sleep {_PROGRAM_S}"
PYTHON_SLEEPER = (
    f'{sys.executable} -S -E -c "import signal, sys, time; '
    f'signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep({_PROGRAM_S})"'
)
_MAIN = """
[unix_http_server]
file=%(here)s/s.sock
[supervisord]
nodaemon=true
silent=true
logfile=%(here)s/log/supervisord.log
pidfile=%(here)s/run/s.pid
minfds=4096
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(here)s/s.sock
[include]
files=supervisord.conf.d/*.conf
"""
_PLUGIN = """
[rpcinterface:daq]
supervisor.rpcinterface_factory=control_plane.supervisor.plugin:make_rpcinterface
"""
_LISTENER = """
[eventlistener:bench-listener]
command={python} {home}/listener.py {home}/events
events=PROCESS_STATE
buffer_size=1000
"""
_LISTENER_SCRIPT = """
import sys, time
from supervisor import childutils
with open(sys.argv[1], "a", buffering=1) as out:
    while True:
        headers, payload = childutils.listener.wait()
        out.write(f"{time.monotonic()} {headers['eventname']} {payload}\\n")
        childutils.listener.ok()
"""
_PROGRAM = """
[program:{name}]
command={command}
autorestart=unexpected
startsecs=1
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={home}/log/{name}.log
"""


class Node(BareSupervisord):
    """``supervisord.conf.d`` of its home holds one file for each program, as an installation's."""

    def stock(self) -> xmlrpc.client.ServerProxy:
        """Return what supervisorctl and other panels use: plain XML-RPC."""
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

    def manager(self) -> ProcessManager:
        return ProcessManager(self.client(), self.home / "run")

    def cpu_s(self) -> float:
        """Return the CPU time of supervisord alone, exact to the nanosecond."""
        # clock_getcpuclockid(3) as Linux encodes it; psutil has it in steps of 10 ms only.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def children(self) -> set[int]:
        """Return the pids of its processes without asking supervisord, which a call would wake."""
        pid = self.process.pid
        return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def add_program_file(self, name: str, command: str = SLEEPER) -> None:
        text = _PROGRAM.format(name=name, command=command, home=self.home)
        (self.home / "supervisord.conf.d" / f"{name}.conf").write_text(text)

    def wait_until_running(self) -> None:
        """Return when every program has lasted its startsecs."""
        client = self.client()

        def all_run() -> bool:
            try:
                infos = client.processes().values()
            except SupervisorUnreachable:
                return False
            time.sleep(0.05)
            return all(info.state is SupervisorState.RUNNING for info in infos)

        wait_for(all_run, "all programs run", 30)


def program_names(count: int) -> list[str]:
    return [f"p{number:03}" for number in range(count)]


@contextlib.contextmanager
def running_node(
    count: int, *, plugin: bool, listener: bool = False, command: str = SLEEPER
) -> Iterator[Node]:
    """Run ``count`` programs until the block ends, with our plugin or on stock supervisord."""
    with tempfile.TemporaryDirectory(prefix="daq-b-") as directory:
        home = Path(directory)
        for part in ("run", "log", "supervisord.conf.d"):
            (home / part).mkdir()
        text = _MAIN + (_PLUGIN if plugin else "")
        if listener:
            (home / "listener.py").write_text(_LISTENER_SCRIPT)
            text += _LISTENER.format(python=sys.executable, home=home)
        (home / "supervisord.conf").write_text(text)
        node = Node(home, None)  # type: ignore[arg-type] # its files come before its process
        for name in program_names(count):
            node.add_program_file(name, command)
        node.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", home / "supervisord.conf"],
            stderr=subprocess.DEVNULL,
        )
        try:
            node.wait_until_running()
            yield node
        finally:
            _end(node)


def _end(node: Node) -> None:
    if node.process.poll() is None:
        # Stopped one by one they take stock supervisord a minute.
        with contextlib.suppress(OSError, xmlrpc.client.Error):
            node.stock().supervisor.stopAllProcesses(False)
        node.process.terminate()
        try:
            node.process.wait(20)
        except subprocess.TimeoutExpired:
            for pid in (*node.children(), node.process.pid):
                os.kill(pid, signal.SIGKILL)
            node.process.wait()
    for client in node.clients:
        client.close()
