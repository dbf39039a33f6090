"""Checks an installation from outside and says for each finding what to mend."""

import os
import platform
import resource
import shutil
import urllib.error
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from control_plane.console import Console
from control_plane.domain.process import SupervisorState
from control_plane.errors import ControlPlaneError
from control_plane.settings import Settings
from control_plane.storage.collector_files import CollectorFiles, misnamed
from control_plane.supervisor.program_files import SERVICES
from control_plane.tls import own_panel

_FDS_A_PROGRAM = 3
_FDS_OF_SUPERVISORD = 200
_LITTLE_DISK_GB = 1.0
_OTHERS_MAY_WRITE = 0o022


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report; ``code`` names the sentence ``doctor.CODE``."""

    level: Literal["ok", "warn", "fail"]
    code: str
    params: dict[str, object] = field(default_factory=dict)


def examine_installation(console: Console, panel_dist: Path) -> Iterator[Finding]:
    """Yield findings one by one; building ``console`` already proved home and database usable."""
    settings = console.settings
    yield _ok("python", version=platform.python_version())
    yield _ok("home", home=settings.home)
    yield _ok("database")
    yield from _users(console)
    yield from _disk(settings.home)
    yield from _logs(settings.log_dir)
    known = yield from _supervisord(console)
    yield from _nodes(console)
    yield from _collectors(console, known)
    built = (panel_dist / "index.html").is_file()
    yield _ok("panel_built") if built else _finding("warn", "panel_missing")
    if known is not None:
        yield _panel(settings)


def _supervisord(console: Console) -> Generator[Finding, None, set[str] | None]:
    client = console.nodes.local.client
    try:
        version, pid = client.version(), client.pid()
        infos = client.processes()
    except ControlPlaneError as exc:
        yield _finding("fail", "supervisord_down", reason=exc.params.get("reason", exc))
        return None
    yield _ok("supervisord", version=version, pid=pid)
    if client.has_plugin():
        yield _ok("plugin")
    else:
        yield _finding("warn", "plugin_missing")
    for name in SERVICES:
        state = infos[name].state if name in infos else SupervisorState.UNKNOWN
        works = state in (SupervisorState.RUNNING, SupervisorState.STARTING)
        code = "service" if works else "service_down"
        yield _finding("ok" if works else "fail", code, name=name, state=state.value)
    return set(infos)


def _nodes(console: Console) -> Iterator[Finding]:
    for problem in console.nodes.problems:
        yield _finding("fail", "node_bad", problem=problem.text(console.settings.language))
    for name, node in console.nodes.remote().items():
        try:
            version, plugin = node.client.version(), node.client.has_plugin()
        except ControlPlaneError as exc:
            params = {"address": node.address.label, "reason": exc.params.get("reason", exc)}
            yield _finding("fail", "node_down", name=name, **params)
            continue
        if plugin:
            yield _ok("node", name=name, version=version)
        else:
            yield _finding("warn", "node_stock", name=name, version=version)


def _collectors(console: Console, known: set[str] | None) -> Iterator[Finding]:
    directory = console.settings.collectors_dir
    for path in misnamed(directory):
        yield _finding("warn", "misnamed", file=path)
    files = CollectorFiles(directory).scan()
    for file in files.values():
        for problem in file.problems:
            text = problem.text(console.settings.language)
            yield _finding("fail", "collector_bad", problem=text)
        if file.config is not None:
            yield _ok("collector", name=file.name)
        if known is not None and file.name not in known:
            yield _finding("warn", "collector_not_loaded", name=file.name, file=file.path)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FDS_A_PROGRAM * len(files) + _FDS_OF_SUPERVISORD
    enough = limit == resource.RLIM_INFINITY or limit >= needed
    code = "open_files" if enough else "open_files_low"
    yield _finding("ok" if enough else "fail", code, limit=limit, needed=needed)


def _users(console: Console) -> Iterator[Finding]:
    count = len(console.accounts.users())
    yield _ok("users", count=count) if count else _finding("warn", "no_users")


def _disk(home: Path) -> Iterator[Finding]:
    free_gb = shutil.disk_usage(home).free / 1e9
    little = free_gb < _LITTLE_DISK_GB
    code = "disk_low" if little else "disk"
    yield _finding("fail" if little else "ok", code, free_gb=f"{free_gb:.1f}")


def _logs(log_dir: Path) -> Iterator[Finding]:
    status = log_dir.stat()
    if status.st_mode & _OTHERS_MAY_WRITE or status.st_uid != os.geteuid():
        yield _finding("warn", "log_dir_open", path=log_dir)


def _panel(settings: Settings) -> Finding:
    url = f"{settings.panel_url}healthz"
    try:
        with own_panel(settings.tls_cert).open(url, timeout=3):
            return _ok("panel", url=url)
    except (urllib.error.URLError, OSError) as exc:
        return _finding("fail", "panel_down", url=url, reason=exc)


def _ok(code: str, **params: object) -> Finding:
    return _finding("ok", code, **params)


def _finding(level: Literal["ok", "warn", "fail"], code: str, **params: object) -> Finding:
    return Finding(level=level, code=code, params=params)
