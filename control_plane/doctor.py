"""Checks an installation from outside and says for each finding what to mend."""

import os
import platform
import shutil
import sys
import urllib.error
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from control_plane.console import Console
from control_plane.doctor_findings import Finding, finding, ok
from control_plane.doctor_machine import (
    backups,
    clock,
    devices,
    open_files,
    port_and_socket,
    rights,
    settings_in_use,
    stores,
    versions,
)
from control_plane.domain.process import SupervisorState
from control_plane.errors import ControlPlaneError
from control_plane.settings import Settings
from control_plane.storage.collector_files import CollectorFiles, misnamed
from control_plane.supervisor.program_files import SERVICES
from control_plane.tls import own_panel

_LITTLE_DISK_GB = 1.0
_OTHERS_MAY_WRITE = 0o022


def examine_installation(console: Console, panel_dist: Path) -> Iterator[Finding]:
    """Yield findings one by one; building ``console`` already proved home and database usable."""
    settings = console.settings
    yield ok("python", version=platform.python_version())
    yield ok("home", home=settings.home)
    yield ok("database")
    yield from _users(console)
    yield from _disk(settings.home)
    yield from clock()
    yield from rights(settings.home)
    yield from _logs(settings.log_dir)
    yield from backups(console.audit.trail, console.clock.now())
    known = yield from _supervisord(console)
    yield from _nodes(console)
    yield from _collectors(console, known)
    yield from stores(settings.home)
    built = (panel_dist / "index.html").is_file()
    yield ok("panel_built") if built else finding("warn", "panel_missing")
    if known is not None:
        yield _panel(settings_in_use(settings, known.panel_pid))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """The programs that supervisord knows, its process and that of the panel."""

    programs: frozenset[str]
    pid: int
    panel_pid: int | None


def _supervisord(console: Console) -> Generator[Finding, None, _Running | None]:
    client = console.nodes.local.client
    try:
        version, pid = client.version(), client.pid()
        infos = client.processes()
    except ControlPlaneError as exc:
        yield finding("fail", "supervisord_down", reason=exc.params.get("reason", exc))
        yield from port_and_socket(console.settings)
        return None
    yield ok("supervisord", version=version, pid=pid)
    yield from versions(version, console.settings.home, sys.executable)
    if client.has_plugin():
        yield ok("plugin")
    else:
        yield finding("warn", "plugin_missing")
    for name in SERVICES:
        state = infos[name].state if name in infos else SupervisorState.UNKNOWN
        works = state in (SupervisorState.RUNNING, SupervisorState.STARTING)
        code = "service" if works else "service_down"
        yield finding("ok" if works else "fail", code, name=name, state=state.value)
    panel = infos.get("control-plane")
    return _Running(programs=frozenset(infos), pid=pid, panel_pid=panel.pid if panel else None)


def _nodes(console: Console) -> Iterator[Finding]:
    for problem in console.nodes.problems:
        yield finding("fail", "node_bad", problem=problem.text(console.settings.language))
    for name, node in console.nodes.remote().items():
        try:
            version, plugin = node.client.version(), node.client.has_plugin()
        except ControlPlaneError as exc:
            params = {"address": node.address.label, "reason": exc.params.get("reason", exc)}
            yield finding("fail", "node_down", name=name, **params)
            continue
        if plugin:
            yield ok("node", name=name, version=version)
        else:
            yield finding("warn", "node_stock", name=name, version=version)


def _collectors(console: Console, known: _Running | None) -> Iterator[Finding]:
    directory = console.settings.collectors_dir
    for path in misnamed(directory):
        yield finding("warn", "misnamed", file=path)
    files = CollectorFiles(directory).scan()
    for file in files.values():
        for problem in file.problems:
            text = problem.text(console.settings.language)
            yield finding("fail", "collector_bad", problem=text)
        if file.config is not None:
            yield ok("collector", name=file.name)
        if known is not None and file.name not in known.programs:
            yield finding("warn", "collector_not_loaded", name=file.name, file=file.path)
    yield open_files(len(files), known.pid if known else None)
    yield from devices(console.settings.home, files)


def _users(console: Console) -> Iterator[Finding]:
    count = len(console.accounts.users())
    yield ok("users", count=count) if count else finding("warn", "no_users")


def _disk(home: Path) -> Iterator[Finding]:
    free_gb = shutil.disk_usage(home).free / 1e9
    little = free_gb < _LITTLE_DISK_GB
    code = "disk_low" if little else "disk"
    yield finding("fail" if little else "ok", code, free_gb=f"{free_gb:.1f}")


def _logs(log_dir: Path) -> Iterator[Finding]:
    status = log_dir.stat()
    if status.st_mode & _OTHERS_MAY_WRITE or status.st_uid != os.geteuid():
        yield finding("warn", "log_dir_open", path=log_dir)


def _panel(settings: Settings) -> Finding:
    url = f"{settings.panel_url}healthz"
    try:
        with own_panel(settings.tls_cert).open(url, timeout=3):
            return ok("panel", url=url)
    except (urllib.error.URLError, OSError) as exc:
        return finding("fail", "panel_down", url=url, reason=exc)
