"""The collector process: one event loop, one task for each device, and the signals."""

import asyncio
import contextlib
import functools
import logging
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collectors.contract.config import AnyCollector, AnyDevice, load_collector, revision_of
from collectors.contract.config_problems import ConfigError, ConfigProblem
from collectors.contract.heartbeat import heartbeat_path
from collectors.contract.points import Sample
from collectors.contract.signals import EXIT_OK, RELOAD_CONFIG, RESET_CONNECTIONS
from collectors.history.spool import SpoolWriter
from collectors.runtime.device import DeviceState, DeviceTask, Outlet
from collectors.runtime.driver import create_driver
from collectors.runtime.heartbeat import Beater, Vitals

EXIT_CRASH = 1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SYNC_S = 1.0

_log = logging.getLogger(__name__)


def log_problems(problems: Sequence[ConfigProblem]) -> None:
    """Write one line for each thing that is wrong in the configuration file."""
    for problem in problems:
        _log.error(
            "configuration refused",
            extra={
                "file": problem.file,
                "key": problem.key,
                "code": problem.code,
                "problem": problem.message(),
                "remedy": problem.remedy(),
            },
        )


def load_with_revision(path: Path) -> tuple[AnyCollector, str]:
    """Return the configuration and the hash of exactly that text.

    Raises:
        ConfigError: the file cannot be used.
    """
    while True:
        before = _revision(path)
        config = load_collector(path)
        if before == _revision(path):
            return config, before


def _revision(path: Path) -> str:
    try:
        return revision_of(path)
    except OSError:
        return ""  # load_collector says what is wrong with the file


class Runner:
    """Runs one collector until it is told to stop or one of its parts crashes."""

    def __init__(self, path: Path, home: Path, config: AnyCollector, revision: str) -> None:
        self._path = path
        self._spool = SpoolWriter(
            home / "spool" / config.name,
            max_bytes=config.spool.max_bytes,
            max_age_s=config.spool.max_age_s,
        )
        self._vitals = Vitals(
            config=config, config_revision=revision, spool_status=self._spool.status
        )
        self._beater = Beater(heartbeat_path(home, config.name), self._vitals)
        self._outlet = Outlet(deliver=self._deliver, connection_changed=self._beater.beat_soon)
        self._origin_mono = time.monotonic()
        self._commands: asyncio.Queue[signal.Signals | BaseException] = asyncio.Queue()
        self._asked_to_stop = asyncio.Event()

    async def run(self, hold_s: float = 0.0) -> int:
        """Acquire until SIGTERM or SIGINT; SIGHUP reloads, SIGUSR1 resets connections.

        Args:
            hold_s: Connect to no device for so long; reloads and resets wait, a stop does not.

        Returns:
            The exit code: 0 if stopped by a signal, 1 after a crash.
        """
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._ask_to_stop, number)
        for number in (RELOAD_CONFIG, RESET_CONNECTIONS):
            loop.add_signal_handler(number, self._commands.put_nowait, number)
        sync = asyncio.create_task(self._sync_spool(), name="spool sync")
        sync.add_done_callback(self._ended)
        if hold_s > 0:
            self._vitals.held_until = datetime.now(UTC) + timedelta(seconds=hold_s)
        self._beater.start()
        code = EXIT_OK if await self._is_stopped_within(hold_s) else await self._acquire()
        sync.cancel()
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
        for device in self._vitals.config.devices:
            self._start_device(device)
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
                await self._reset_connections()
            else:
                return EXIT_OK

    def _deliver(self, samples: Sequence[Sample]) -> None:
        self._vitals.totals.count(samples)
        self._spool.put(samples)

    async def _sync_spool(self) -> None:
        # In a thread: a busy disk can take seconds to confirm, and acquisition never waits.
        while True:
            await asyncio.sleep(_SYNC_S)
            await asyncio.to_thread(self._spool.sync_if_due)

    def _start_device(self, device: AnyDevice, state: DeviceState | None = None) -> None:
        make_driver = functools.partial(create_driver, self._vitals.config.protocol, device)
        task = DeviceTask(
            device, make_driver, self._outlet, self._origin_mono, state or DeviceState()
        )
        self._vitals.devices[device.id] = task
        task.start(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (crash := task.exception()) is not None:
            self._commands.put_nowait(crash)

    async def _stop_devices(self, tasks: Sequence[DeviceTask]) -> None:
        await asyncio.gather(*(task.stop() for task in tasks))

    async def _reset_connections(self) -> None:
        tasks = list(self._vitals.devices.values())
        await self._stop_devices(tasks)
        for task in tasks:
            task.start(self._ended)
        self._vitals.connection_resets += 1
        self._beater.beat_soon()
        _log.info("connections reset", extra={"devices": len(tasks)})

    async def _reload(self) -> None:
        try:
            config, revision = load_with_revision(self._path)
            self._check_reloadable(config)
        except ConfigError as exc:
            log_problems(exc.problems)
            return
        if revision == self._vitals.config_revision:
            _log.info("configuration unchanged", extra={"revision": revision})
            return
        await self._apply(config, revision)

    def _check_reloadable(self, config: AnyCollector) -> None:
        old = self._vitals.config
        for key in ("protocol", "spool"):
            if getattr(config, key) != getattr(old, key):
                raise ConfigError.single(str(self._path), key, "needs_restart", {"key": key})

    async def _apply(self, config: AnyCollector, revision: str) -> None:
        """Rebuild the devices that are changed; the others never notice."""
        old = {device.id: device for device in self._vitals.config.devices}
        new = {device.id: device for device in config.devices}
        stopped = {
            device_id: self._vitals.devices.pop(device_id)
            for device_id in old
            if old[device_id] != new.get(device_id)
        }
        await self._stop_devices(list(stopped.values()))
        self._vitals.adopt(config, revision)
        started = [device for device_id, device in new.items() if old.get(device_id) != device]
        for device in started:
            # The counters of a device go on under its new settings.
            earlier = stopped.pop(device.id, None)
            self._start_device(device, earlier.state if earlier else None)
        for task in stopped.values():
            self._vitals.retired_late_cycles += task.state.late_cycles
            self._vitals.retired_skipped_cycles += task.state.skipped_cycles
        logging.getLogger().setLevel(config.log_level.upper())
        self._beater.beat_soon()
        _log.info(
            "configuration reloaded",
            extra={"revision": revision, "removed": len(stopped), "started": len(started)},
        )
