"""``daqplane run``: checks the ground, starts supervisord and stays until told to stop."""

import contextlib
import getpass
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

from control_plane.auth.permissions import Actor, Role
from control_plane.console import Console, build_console, prepare_home
from control_plane.demo import set_up_demo, simulators_of
from control_plane.domain.observation import CollectorFile
from control_plane.errors import (
    AlreadyRunning,
    ControlPlaneError,
    DidNotStart,
    InvalidProgramFile,
)
from control_plane.last_words import LastWords
from control_plane.panel_port import check_port
from control_plane.parent import end_with_parent
from control_plane.settings import Settings
from control_plane.storage.collector_files import CollectorFiles, misnamed
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.program_files import check_program_name, write_installation
from control_plane.supervisor.transport import UnixAddress
from control_plane.tls import own_panel, server_context

_READY_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 12.0
"""Longer than supervisord's own patience with a program (stopwaitsecs, 10 s)."""

Say = Callable[..., None]
"""Prints the sentence ``cli.CODE`` filled with the keyword arguments."""


def run_in_foreground(settings: Settings, *, demo: bool, say: Say) -> int:
    """Run everything until SIGINT or SIGTERM; return the exit code.

    Raises:
        HomeUnusable, AlreadyRunning, PortInUse, StorageError, DidNotStart: before anything runs,
        or with everything stopped again.
    """
    began = time.monotonic()
    prepare_home(settings.home)
    _check_not_running(settings)
    check_port(settings.http_host, settings.http_port)
    if settings.tls_cert and settings.tls_key:
        server_context(settings.tls_cert, settings.tls_key)
    if demo and set_up_demo(settings.home):
        say("demo_ready", home=settings.home)
    console = build_console(settings)
    _write_programs(console, say)
    with _stop_requests() as stop_requested, _supervisord(settings) as (child, words):
        if not _wait_until_ready(settings, child, words, stop_requested):
            return _stop(child, settings, say)
        _greet(console, say, time.monotonic() - began)
        while not stop_requested():
            if child.poll() is not None:
                say("supervisord_ended", status=child.returncode)
                return 1
            # A signal ends the sleep early only by its handler; a short one keeps Ctrl-C snappy.
            time.sleep(0.1)
        return _stop(child, settings, say)


def _check_not_running(settings: Settings) -> None:
    client = SupervisorClient(UnixAddress(settings.socket_path), timeout_s=2.0)
    try:
        pid = client.pid()
    except ControlPlaneError:
        return
    finally:
        client.close()
    raise AlreadyRunning(home=str(settings.home), pid=pid)


def _write_programs(console: Console, say: Say) -> None:
    settings = console.settings
    for path in misnamed(settings.collectors_dir):
        say("misnamed_file", file=path)
    names: list[str] = []
    for file in CollectorFiles(settings.collectors_dir).scan().values():
        _report_problems(file, settings, say)
        try:
            names.append(check_program_name(file.name, "collector"))
        except InvalidProgramFile as exc:
            say("collector_refused", file=file.path, problem=exc.message(settings.language))
    simulators = simulators_of(settings.home)
    write_installation(settings.home, names, simulators, console.desired.stopped())


def _report_problems(file: CollectorFile, settings: Settings, say: Say) -> None:
    for problem in file.problems:
        say("bad_collector_file", problem=problem.text(settings.language))


@contextlib.contextmanager
def _supervisord(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], LastWords]]:
    """Run supervisord in a session of its own, so that Ctrl-C reaches us and not its children."""
    command = [sys.executable, "-m", "supervisor.supervisord", "-n"]
    command += ["-c", str(settings.home / "supervisord.conf")]
    environment = os.environ | {
        "DAQ_HOME": str(settings.home),
        "DAQ_HTTP_HOST": settings.http_host,
        "DAQ_HTTP_PORT": str(settings.http_port),
        "DAQ_TLS_CERT": str(settings.tls_cert or ""),
        "DAQ_TLS_KEY": str(settings.tls_key or ""),
    }
    words = LastWords(settings.log_dir / "supervisord.console.log")
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=words.fileno,
        stderr=words.fileno,
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - no thread runs here yet
    )
    words.listen()
    try:
        yield child, words
    finally:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_STOP_DEADLINE_S)


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    requested: list[int] = []
    kept = {
        number: signal.signal(number, lambda received, _frame: requested.append(received))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield lambda: bool(requested)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _wait_until_ready(
    settings: Settings,
    child: subprocess.Popen[bytes],
    words: LastWords,
    stop_requested: Callable[[], bool],
) -> bool:
    """Return whether the panel answers; ``False`` when asked to stop meanwhile."""
    deadline = time.monotonic() + _READY_DEADLINE_S
    url, panel = f"{settings.panel_url}healthz", own_panel(settings.tls_cert)
    while not stop_requested():
        if child.poll() is not None:
            reason = words.text().strip()[-500:]
            raise DidNotStart(part="supervisord", reason=reason or f"code {child.returncode}")
        try:
            with panel.open(url, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            pass
        if time.monotonic() > deadline:
            log = settings.log_file("control-plane")
            raise DidNotStart(part="control-plane", reason=f"see {log}")
        time.sleep(0.05)
    return False


def _greet(console: Console, say: Say, seconds: float) -> None:
    settings = console.settings
    base = settings.panel_url
    say("panel_address", url=base, seconds=f"{seconds:.1f}")
    if not console.accounts.has_users():
        actor = Actor(name=f"console:{getpass.getuser()}", role=Role.ADMIN, origin="console")
        token = console.account_commands.new_setup_token(actor)
        say("setup_link", url=f"{base}setup#{token}")
    home, programs = _shown(settings.home), _shown(Path(sys.executable).parent)
    say(
        "how_to_stop",
        daqplane=f"{programs}/daqplane --home {home}",
        supervisorctl=f"{programs}/supervisorctl -c {home}/supervisord.conf",
    )


def _shown(path: Path) -> str:
    """Return the path as somebody in the current directory would type it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _stop(child: subprocess.Popen[bytes], settings: Settings, say: Say) -> int:
    began = time.monotonic()
    say("stopping")
    child.terminate()
    try:
        child.wait(_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        say("did_not_stop", log=settings.log_dir / "supervisord.log")
        child.kill()
        return 1
    say("stopped", seconds=f"{time.monotonic() - began:.1f}")
    return 0
