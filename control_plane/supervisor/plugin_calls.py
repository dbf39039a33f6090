"""What only a supervisord with our plugin answers; see :mod:`control_plane.supervisor.plugin`."""

from collections.abc import Callable
from typing import Any

from control_plane.domain.logs import LogChunk
from control_plane.domain.node import NodeStats, program_and_node
from control_plane.supervisor.answers import EventBatch, event_batch, log_chunk, node_stats


class PluginCalls:
    """Shares connection, lock and errors with the client that it belongs to."""

    def __init__(self, call: Callable[..., Any], node: str) -> None:
        self._call = call
        self._node = node

    def wait_events(self, boot: str, since: int, timeout_s: float) -> EventBatch:
        """Return what happened after event ``since``, waiting up to ``timeout_s`` for the first.

        The client's own time-out must be longer.

        Raises:
            SupervisorFault: supervisord runs without the plugin.
        """
        return event_batch(self._call("daq.waitEvents", boot, since, timeout_s))

    def stats(self) -> NodeStats:
        """Return figures, newest heartbeats and log sizes of every running program.

        Raises:
            SupervisorFault: supervisord runs without the plugin.
        """
        return node_stats(self._call("daq.getStats"), self._node)

    def read_log(self, name: str, inode: int, offset: int, limit_bytes: int) -> LogChunk:
        """Return bytes of a program's log from a place on; see the plugin's ``readLog``.

        Raises:
            UnknownProcess, SupervisorFault: the latter also without the plugin or without a log.
        """
        place = str(inode), offset, limit_bytes
        return log_chunk(self._call("daq.readLog", program_and_node(name)[0], *place))

    def forget_crashes(self, name: str) -> None:
        """Let a collector's own restart limit count anew; needs the plugin.

        Raises:
            SupervisorFault, UnknownProcess.
        """
        self._call("daq.forgetCrashes", program_and_node(name)[0])
