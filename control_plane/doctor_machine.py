"""The usual mistakes around an installation: rights, clock, port, limits, backups, devices."""

import ctypes
import os
import resource
import stat
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from control_plane.doctor_findings import Finding, finding, ok
from control_plane.errors import ControlPlaneError, SettingsError
from control_plane.panel_port import check_port
from control_plane.settings import Settings, load_settings
from control_plane.storage.audit import AuditFilter, AuditTrail
from control_plane.telemetry.heartbeats import latest_heartbeat
from control_plane.telemetry.storage_status import look_at_storage

_FDS_A_PROGRAM: Final = 3
_FDS_OF_SUPERVISORD: Final = 200
_OTHERS_MAY_WRITE: Final = 0o022
_OTHERS_MAY_READ: Final = 0o077
_PRIVATE: Final = ("pki/**/*.key", "pki/**/*key*.pem", "seals/*.key", "secrets/*", "secrets.d/*")
"""Of DAQ_HOME: what only its owner may read."""
_BACKUP_EVERY: Final = timedelta(days=7)
_YOUNG_S: Final = 15.0
"""A heartbeat that is older tells of no present link."""
_TIME_ERROR: Final = 5
"""adjtimex(2): nobody disciplines the clock."""
_BYTES_OF_TIMEX: Final = 512
"""More than ``struct timex`` has on any platform."""


def settings_in_use(settings: Settings, pid: int | None) -> Settings:
    """Return the settings that the running control plane has, ours if it cannot be asked.

    Whoever calls us has another environment than the service.
    """
    if pid is None:
        return settings
    try:
        environ: Mapping[str, str] = psutil.Process(pid).environ()
        return load_settings(environ, settings.home)
    except (psutil.Error, OSError, SettingsError):
        return settings


def port_and_socket(settings: Settings) -> Iterator[Finding]:
    """What would keep an installation that is down from starting."""
    try:
        check_port(settings.http_host, settings.http_port)
    except ControlPlaneError as exc:
        yield finding("fail", "port_taken", problem=exc.message(settings.language))
    if settings.socket_path.exists():
        yield finding("warn", "stale_socket", path=settings.socket_path)


def rights(home: Path) -> Iterator[Finding]:
    """Who may read and write what only daqplane's user should."""
    me = os.geteuid()
    for path in (home, *_children(home)):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if status.st_uid != me:
            yield finding("fail", "foreign_owner", path=path, uid=status.st_uid, wanted=me)
            if path == home:
                return
        elif stat.S_ISDIR(status.st_mode) and status.st_mode & _OTHERS_MAY_WRITE:
            yield finding("warn", "open_directory", path=path)
    for path in sorted({path for pattern in _PRIVATE for path in home.glob(pattern)}):
        if path.is_file() and path.stat().st_mode & _OTHERS_MAY_READ:
            yield finding("fail", "open_secret", path=path)


def _children(home: Path) -> list[Path]:
    return [path for path in sorted(home.iterdir()) if path.name != "log"]  # It has its own check.


def clock() -> Iterator[Finding]:
    """Whether the kernel says that something keeps the clock right; see adjtimex(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_BYTES_OF_TIMEX))  # No mode: only asks.
    if state >= 0:  # Some containers may not ask.
        yield finding("warn", "clock_unsynchronised") if state == _TIME_ERROR else ok("clock")


def open_files(collectors: int, supervisord: int | None) -> Finding:
    """Whether supervisord, or else we, may open enough files for so many collectors."""
    try:
        limit, _ = resource.prlimit(supervisord or 0, resource.RLIMIT_NOFILE)
    except (PermissionError, ProcessLookupError):
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FDS_A_PROGRAM * collectors + _FDS_OF_SUPERVISORD
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return ok("open_files", limit=limit, needed=needed)
    return finding("fail", "open_files_low", limit=limit, needed=needed)


def backups(trail: AuditTrail, now: datetime) -> Iterator[Finding]:
    """Whether there was a backup lately, once there is something to lose."""
    since = now - _BACKUP_EVERY
    made = trail.entries(AuditFilter(action="backup.create", outcome="done"), limit=1)
    if made and made[0].event.at >= since:
        yield ok("backup", at=f"{made[0].event.at:%Y-%m-%d %H:%M}")
    elif trail.entries(AuditFilter(end=since), limit=1):
        yield finding("warn", "no_backup", days=_BACKUP_EVERY.days)


def devices(home: Path, collectors: Iterable[str]) -> Iterator[Finding]:
    """Devices that do not answer collectors that run."""
    for name in collectors:
        seen = latest_heartbeat(home, name)
        if seen is None or seen.age_s > _YOUNG_S:
            continue
        for link in seen.beat.connections:
            if not link.is_connected:
                where = f"{link.device_ip}:{link.device_port}"
                said = {"address": where, "reason": link.last_error or "?"}
                yield finding("warn", "device_down", name=name, device=link.device_id, **said)


def stores(home: Path) -> Iterator[Finding]:
    """Stores that take nothing, as the historian says."""
    storage = look_at_storage(home)
    for store in storage.stores if storage and storage.age_s <= _YOUNG_S else ():
        if store.error is not None:
            yield finding("fail", "store_down", url=store.url, reason=store.error)


def versions(running_supervisor: str, home: Path, python: str) -> Iterator[Finding]:
    """Programs of another version than the one that examines."""
    installed = version("supervisor")
    if running_supervisor != installed:
        yield finding("warn", "supervisor_differs", running=running_supervisor, installed=installed)
    for path in sorted((home / "supervisord.conf.d").glob("*.conf")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        command = next((line for line in lines if line.startswith("command=")), "")
        if command and not command.startswith(f"command={python} "):
            used = command.removeprefix("command=").partition(" ")[0]
            yield finding("warn", "other_python", file=path, used=used, python=python)
