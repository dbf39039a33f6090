"""The collector process: one event loop, one task for each device, and the signals."""

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collectors.contract.columns import Columns
from collectors.contract.config_error import ConfigError
from collectors.contract.config_types import AnyCollector
from collectors.contract.heartbeat import ReloadOutcome, heartbeat_path
from collectors.contract.signals import CLEAR_CACHE, EXIT_OK, RELOAD_CONFIG, RESET_CONNECTIONS
from collectors.history.spool import SpoolWriter
from collectors.runtime.commands import CommandDesk, Hands
from collectors.runtime.config_file import load_beside, log_problems
from collectors.runtime.device import DeviceTask, Outlet
from collectors.runtime.driver import create_driver
from collectors.runtime.heartbeat import Beater
from collectors.runtime.packed_config import PackedConfig, PackedDevice
from collectors.runtime.reachability import DeviceState
from collectors.runtime.stdin import read_commands
from collectors.runtime.vitals import Vitals

EXIT_CRASH = 1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SYNC_S = 1.0

_log = logging.getLogger(__name__)


class Runner:
    """Runs one collector until it is told to stop or one of its parts crashes."""

    def __init__(self, path: Path, home: Path, packed: PackedConfig) -> None:
        self._path = path
        config = packed.config
        self._home = home
        self._spool = SpoolWriter(
            home / "spool" / config.name,
            max_bytes=config.spool.max_bytes,
            max_age_s=config.spool.max_age_s,
            keeps_oldest=config.spool.on_full == "block",
        )
        self._unstarted = packed.devices
        self._vitals = Vitals(packed=packed, spool_status=self._spool.status)
        self._beater = Beater(heartbeat_path(home, config.name), self._vitals)
        self._outlet = Outlet(
            deliver=self._deliver,
            connection_changed=self._beater.beat_soon,
            punctuality_of=self._vitals.punctuality_of,
        )
        hands = Hands(
            device=self._vitals.devices.get,
            reset=self._reset_connections,
            set_factor=self._set_factor,
            clear_cache=self._clear_cache,
        )
        self._desk = CommandDesk(hands, self._vitals.outcomes, self._beater.beat_soon)
        self._origin_mono = time.monotonic()
        self._places = 0
        self._commands: asyncio.Queue[signal.Signals | BaseException] = asyncio.Queue()
        self._asked_to_stop = asyncio.Event()
        self._changing = asyncio.Lock()
        """Held by whoever stops and starts devices: a signal and a command may come together."""

    async def run(self, hold_s: float = 0.0) -> int:
        """Acquire until SIGTERM or SIGINT.

        SIGHUP reloads the file, SIGUSR1 resets the connections, SIGUSR2 clears what was learned.

        Args:
            hold_s: Connect to no device for so long; signals wait, commands are refused, a stop
                does not wait.

        Returns:
            The exit code: 0 if stopped by a signal, 1 after a crash.
        """
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._ask_to_stop, number)
        for number in (RELOAD_CONFIG, RESET_CONNECTIONS, CLEAR_CACHE):
            loop.add_signal_handler(number, self._commands.put_nowait, number)
        sync = asyncio.create_task(self._sync_spool(), name="spool sync")
        sync.add_done_callback(self._ended)
        if hold_s > 0:
            self._vitals.held_until = datetime.now(UTC) + timedelta(seconds=hold_s)
        self._beater.start()
        stdin = await read_commands(self._desk.receive)
        code = EXIT_OK if await self._is_stopped_within(hold_s) else await self._acquire()
        if stdin is not None:
            stdin.close()
        sync.cancel()
        await self._desk.close()
        await self._stop_devices(list(self._vitals.devices.values()))
        self._beater.stop()
        self._spool.close()
        _log.info("collector stopped", extra={"exit_code": code})
        return code

    async def _is_stopped_within(self, hold_s: float) -> bool:
        if hold_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked_to_stop.wait(), hold_s)
            self._vitals.held_until = None
            self._beater.beat_soon()
        return self._asked_to_stop.is_set()

    async def _acquire(self) -> int:
        for packed in self._unstarted:
            self._start_device(packed)
            await asyncio.sleep(0)  # those that run already should not wait
        self._unstarted = ()
        self._desk.is_open = True
        _settle_memory()
        _log.info(
            "collector started",
            extra={
                "protocol": self._vitals.config.protocol,
                "devices": len(self._vitals.devices),
                "revision": self._vitals.config_revision,
            },
        )
        return await self._obey()

    def _ask_to_stop(self, number: signal.Signals) -> None:
        self._asked_to_stop.set()
        self._commands.put_nowait(number)

    async def _obey(self) -> int:
        while True:
            command = await self._commands.get()
            if isinstance(command, BaseException):
                _log.critical("collector crashed", exc_info=command)
                return EXIT_CRASH
            if command == RELOAD_CONFIG:
                await self._reload()
            elif command == RESET_CONNECTIONS:
                await self._reset_connections(None)
            elif command == CLEAR_CACHE:
                self._clear_cache()
            else:
                return EXIT_OK

    def _deliver(self, reading: Columns, kept: Sequence[int] | None) -> None:
        self._vitals.totals.count(reading, kept)
        if kept is None or kept:
            self._spool.put_columns(reading, kept)

    async def _sync_spool(self) -> None:
        # In a thread: a busy disk can take seconds to confirm, and acquisition never waits.
        while True:
            await asyncio.sleep(_SYNC_S)
            await asyncio.to_thread(self._spool.sync_if_due)

    def _start_device(self, packed: PackedDevice, state: DeviceState | None = None) -> None:
        device = packed.device
        make_driver = functools.partial(
            create_driver, self._vitals.config.protocol, device, home=self._home
        )
        if state is None:
            state = DeviceState(place=self._places)
            self._places += 1
        task = DeviceTask(device, make_driver, self._outlet, self._origin_mono, state)
        task.digest = packed.digest
        if self._vitals.frequency_factor != 1:
            task.set_factor(self._vitals.frequency_factor)
        self._vitals.devices[device.id] = task
        task.start(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (crash := task.exception()) is not None:
            self._commands.put_nowait(crash)

    async def _stop_devices(self, tasks: Sequence[DeviceTask]) -> None:
        await asyncio.gather(*(task.stop() for task in tasks))

    async def _reset_connections(self, device_id: str | None) -> None:
        async with self._changing:
            tasks = [t for name, t in self._vitals.devices.items() if device_id in (None, name)]
            await self._stop_devices(tasks)
            for task in tasks:
                task.start(self._ended)
        self._vitals.connection_resets += 1
        self._beater.beat_soon()
        _log.info("connections reset", extra={"devices": len(tasks)})

    def _set_factor(self, factor: float) -> None:
        self._vitals.set_factor(factor)
        self._beater.beat_soon()
        _log.info("frequency changed", extra={"factor": factor})

    def _clear_cache(self) -> None:
        for task in self._vitals.devices.values():
            task.forget()
        self._vitals.cache_clears += 1
        self._beater.beat_soon()
        _log.info("cache cleared")

    async def _reload(self) -> None:
        revision, problem = "", ""
        try:
            packed = await load_beside(self._path)
            revision = packed.revision
            self._check_reloadable(packed.config)
        except ConfigError as exc:
            log_problems(exc.problems)
            problem = exc.problems[0].text()
        else:
            if revision == self._vitals.config_revision:
                _log.info("configuration unchanged", extra={"revision": revision})
            else:
                async with self._changing:
                    await self._apply(packed)
                _settle_memory()
        self._vitals.last_reload = ReloadOutcome(
            at=datetime.now(UTC), accepted=not problem, revision=revision, problem=problem
        )
        self._beater.beat_soon()

    def _check_reloadable(self, config: AnyCollector) -> None:
        old = self._vitals.config
        for key in ("protocol", "spool"):
            if getattr(config, key) != getattr(old, key):
                raise ConfigError.single(str(self._path), key, "needs_restart", {"key": key})

    async def _apply(self, packed: PackedConfig) -> None:
        """Go over to a changed file; devices and groups that are the same never notice."""
        tasks = self._vitals.devices
        new = {device.id: device for device in packed.devices}
        both = {name: task for name, task in tasks.items() if name in new}
        same = {name for name, task in both.items() if task.digest == new[name].digest}
        adopted = {n for n, t in both.items() if n not in same and _adopt(t, new[n])}
        stopped = {name: tasks.pop(name) for name in list(tasks) if name not in same | adopted}
        await self._stop_devices(list(stopped.values()))
        self._vitals.adopt(packed)
        removed = set(stopped) - set(new)
        for name in new.keys() - same - adopted:
            # The counters of a device go on under its new settings.
            earlier = stopped.pop(name, None)
            self._start_device(new[name], earlier.state if earlier else None)
        for task in stopped.values():
            self._vitals.retired_late_cycles += task.state.late_cycles
            self._vitals.retired_skipped_cycles += task.state.skipped_cycles
        logging.getLogger().setLevel(packed.config.log_level.upper())
        _log.info(
            "configuration reloaded",
            extra={
                "revision": packed.revision,
                "same": len(same),
                "adopted": len(adopted),
                "removed": len(removed),
                "started": len(new) - len(same) - len(adopted),
            },
        )


def _settle_memory() -> None:
    """Let go of what is no longer needed; what is there then stays, so never look through it."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    # Otherwise a quarter of what is frozen would have to pile up before the next full collection.
    gc.collect()


def _adopt(task: DeviceTask, packed: PackedDevice) -> bool:
    if not task.adopt(packed.device):
        return False
    task.digest = packed.digest
    return True
