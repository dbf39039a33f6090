"""The methods ``daq.*`` and the few places where they hook into supervisord."""

import base64
import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.http import NOT_DONE_YET, deferring_http_channel
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.states import getProcessStateDescription
from supervisor.xmlrpc import Faults, RPCError, supervisor_xmlrpc_handler

from control_plane.supervisor.plugin.recorder import Recorder
from control_plane.supervisor.plugin.waker import Waker

API_VERSION = 3
MAX_WAIT_S = 60.0
MAX_READ_BYTES = 1 << 20
_MAX_ROTATED = 100
_ANSWER_BYTES = 256 * 1024
"""Stock supervisord sends 4 KB a turn, and each turn looks at every descriptor."""
_IDLE_CHECK_S = 1.0
_BOOTED_AT = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
"""Taken once: a start derived from it stays the same while the clock is adjusted."""

# These outlive supervisord's own restart, which builds everything else anew.
_recorder = Recorder()
_waker: Waker | None = None
_waiting: list[Any] = []
_current_channel: Any = None


class RpcInterface:
    """Answers are JSON in one string: a tenth of the cost of XML-RPC structures."""

    def __init__(self, supervisord: Any, run: Path | None) -> None:
        self._supervisord = supervisord
        self._run = run

    def getVersion(self) -> int:
        """Return the version of this interface."""
        return API_VERSION

    def getSnapshot(self) -> str:
        """Return every process: ``{boot, seq, at, processes: [{name, state, pid, …}]}``."""
        return json.dumps(
            {
                "boot": _recorder.boot,
                "seq": _recorder.sequence,
                "at": time.time(),
                "processes": [_describe(process) for process in self._processes()],
            }
        )

    def waitEvents(self, boot: str, since: int, timeout: float) -> Any:
        """Return events after ``since``, waiting up to ``timeout`` s for the first.

        ``{boot, seq, gap, events}``; ``gap`` says that some are lost: take a snapshot.
        """
        channel, deadline = _current_channel, time.monotonic() + min(timeout, MAX_WAIT_S)

        def poll() -> Any:
            foreign = boot != _recorder.boot
            found, lost = ([], True) if foreign else _recorder.since(since)
            if not found and not lost and time.monotonic() < deadline:
                return NOT_DONE_YET
            if channel in _waiting:
                _waiting.remove(channel)
            answer = {"boot": _recorder.boot, "seq": _recorder.sequence, "gap": lost}
            return json.dumps({**answer, "events": found})

        first = poll()
        if first is not NOT_DONE_YET:
            return first
        poll.delay = _IDLE_CHECK_S  # type: ignore[attr-defined] # supervisor's way to say how often
        if channel is not None:
            _waiting.append(channel)
        return poll

    def getAudit(self) -> str:
        """Return the newest calls of anybody: time, method, parameters, pid, uid, command."""
        return json.dumps(list(_recorder.rpcs))

    def getStats(self) -> str:
        """Return /proc figures, heartbeat file and log size of every program."""
        found = [_stats(process, self._run) for process in self._processes()]
        started = _proc_figures(os.getpid()).get("started")
        return json.dumps({"at": time.time(), "started": started, "processes": found})

    def readLog(self, name: str, inode: str, offset: int, limit: int) -> str:
        """Return raw bytes of a program's log from a place on, in base64.

        ``{inode, offset, size, data, lost, files}``. A place in a rotated file is gone on from
        there; behind the end of one, another inode says that the next newer file has begun.
        ``files`` lists all of them as ``[inode, size]``, the oldest first, if no bytes are wanted.
        """
        path = Path(self._process(name).config.stdout_logfile or os.devnull)
        files = _with_rotated(path)
        number, start, is_lost = _place(files, inode, offset)
        try:
            with files[number][0].open("rb") as file:
                status = os.fstat(file.fileno())
                data = os.pread(file.fileno(), max(0, min(limit, MAX_READ_BYTES)), start)
        except OSError as exc:
            raise RPCError(Faults.NO_FILE, exc.strerror) from exc
        answer = {
            "inode": str(status.st_ino),
            "offset": start + len(data),
            "size": status.st_size,
            "lost": is_lost,
            "data": base64.b64encode(data).decode(),
        }
        listed = [] if limit > 0 else [file[1:] for file in reversed(files)]
        return json.dumps({**answer, "files": listed})

    def forgetCrashes(self, name: str) -> bool:
        """Let a collector's own restart limit count anew; for whoever starts it on request."""
        if self._run is not None:
            ledger = self._run / "ledger" / f"{self._process(name).config.name}.json"
            with contextlib.suppress(OSError):
                ledger.unlink(missing_ok=True)
        return True

    def _process(self, name: str) -> Any:
        """Only known programs can be named, so no path can."""
        found = next((p for p in self._processes() if p.config.name == name), None)
        if found is None:
            raise RPCError(Faults.BAD_NAME, name)
        return found

    def _processes(self) -> list[Any]:
        groups = self._supervisord.process_groups.values()
        return [process for group in groups for process in group.processes.values()]


def make_rpcinterface(supervisord: Any, run: str = "", **_config: str) -> RpcInterface:
    """Build the interface; supervisord calls this once for each of its HTTP servers."""
    try:
        _hook_into(supervisord)
    except Exception as exc:  # noqa: BLE001 - a failing plugin must not stop supervisord
        supervisord.options.logger.critical(f"daq plugin is off: {exc!r}")
    return RpcInterface(supervisord, Path(run) if run else None)


def _hook_into(supervisord: Any) -> None:
    global _waker  # noqa: PLW0603 - must survive supervisord's own restart
    if _waker is not None:
        # A restart of supervisord closed our descriptors; a second HTTP server changes nothing.
        _waker.disarm()
    _waker = Waker()
    _waker.arm()
    _recorder.on_event = _tell_those_who_wait
    if (events.ProcessStateEvent, _recorder.process_state_changed) not in events.callbacks:
        events.subscribe(events.ProcessStateEvent, _recorder.process_state_changed)
        for kind in (events.SupervisorStateChangeEvent, events.ProcessGroupEvent):
            events.subscribe(kind, _recorder.other_event)
    deferring_http_channel.ac_out_buffer_size = _ANSWER_BYTES
    _wrap_once(supervisord.options, "waitpid", _noting_exits)
    _wrap_once(supervisor_xmlrpc_handler, "continue_request", _noting_calls)


def _wrap_once(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    if not getattr(original, "wrapped_by_daq", False):
        wrapped = wrapper(original)
        wrapped.wrapped_by_daq = True
        setattr(owner, name, wrapped)


def _noting_exits(waitpid: Callable[[], tuple[int | None, int | None]]) -> Callable[[], Any]:
    def noting() -> tuple[int | None, int | None]:
        pid, status = waitpid()
        if pid and status is not None:
            with contextlib.suppress(Exception):
                _recorder.child_reaped(pid, status)
        return pid, status

    return noting


def _noting_calls(continue_request: Callable[..., None]) -> Callable[..., None]:
    def noting(self: Any, data: str, request: Any) -> None:
        global _current_channel  # noqa: PLW0603 - supervisor does not hand it to methods
        _current_channel = request.channel
        with contextlib.suppress(Exception):
            params, method = self.loads(data)
            _recorder.rpc_called(method or "", params, request)
        try:
            continue_request(self, data, request)
        finally:
            _current_channel = None

    return noting


def _tell_those_who_wait() -> None:
    _waiting[:] = [each for each in _waiting if each in asyncore.socket_map.values()]
    for channel in _waiting:
        # Ask its deferred answer again in the next turn instead of after a second.
        channel.last_writable_check = 0
    if _waker is not None:
        _waker.wake()


def _describe(process: Any) -> dict[str, object]:
    return {
        "name": process.config.name,
        "state": getProcessStateDescription(process.state),
        "pid": process.pid or None,
        "start": process.laststart or None,
        "stop": process.laststop or None,
        "exit_status": process.exitstatus or 0,
        "spawn_error": process.spawnerr or "",
        "exit": _recorder.exit_of(process.config.name),
    }


def _stats(process: Any, run: Path | None) -> dict[str, object]:
    figures: dict[str, object] = {"name": process.config.name, "pid": process.pid or None}
    figures |= _proc_figures(process.pid)
    figures["log"] = _inode_and_size(Path(process.config.stdout_logfile or os.devnull))
    if run is not None:
        with contextlib.suppress(OSError, ValueError):
            path = run / "heartbeat" / f"{process.config.name}.json"
            figures["heartbeat"] = path.read_text(encoding="utf-8")
            figures["heartbeat_age_s"] = max(0.0, time.time() - path.stat().st_mtime)
    return figures


def _proc_figures(pid: int) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        # proc(5): behind the command's name field 14 is user time, 15 system time, 22 the start.
        text = Path(f"/proc/{pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return {
            "cpu_s": (int(fields[11]) + int(fields[12])) / ticks,
            "rss_bytes": int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
            "state": fields[0],
            "started": _BOOTED_AT + int(fields[19]) / ticks,
        }
    return {}


def _with_rotated(path: Path) -> list[tuple[Path, str, int]]:
    """Return a log and the files rotated away from it with inode and size, the newest first."""
    files = [(path, *_inode_and_size(path))]
    for number in range(1, _MAX_ROTATED + 1):
        rotated = path.with_name(f"{path.name}.{number}")
        inode, size = _inode_and_size(rotated)
        if not inode:
            break
        files.append((rotated, inode, size))
    return files


def _place(files: list[tuple[Path, str, int]], inode: str, offset: int) -> tuple[int, int, bool]:
    """Return which file to read, from where, and whether the place that was asked for is lost."""
    number = next((n for n, file in enumerate(files) if file[1] == inode), None)
    if number is None:
        return 0, 0, inode != "0"
    if number and offset >= files[number][2]:
        return number - 1, 0, False
    return (number, offset, False) if offset <= files[number][2] else (number, 0, True)


def _inode_and_size(path: Path) -> tuple[str, int]:
    """Inodes are text because a number of XML-RPC ends at 2**31."""
    try:
        status = path.stat()
    except OSError:
        return "", 0
    return str(status.st_ino), status.st_size
