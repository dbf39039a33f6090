"""Puts the parts that look at processes together; called by the composition root."""

from control_plane.chronicle import Chronicle
from control_plane.console import Console
from control_plane.domain.node import LOCAL_NODE, Tier
from control_plane.live.hub import Hub
from control_plane.monitor import Judging, Monitor
from control_plane.node_watch import LOOK_TIMEOUT_S, Context, NodeWatches
from control_plane.observer import ObservedNode, Observer
from control_plane.storage.collector_files import CollectorFiles
from control_plane.storage.process_history import ProcessHistory
from control_plane.supervisor.client import SupervisorClient
from control_plane.supervisor.event_stream import EventStream
from control_plane.telemetry.local import LocalTelemetry


class ObservationParts:
    """The monitor and what it looks through; started and stopped together."""

    def __init__(self, console: Console, process_history: ProcessHistory, hub: Hub) -> None:
        local, adopt = console.nodes.local, console.process_commands.adopt
        # A connection of its own: a slow command must not hold up the look at everything else.
        self._client = SupervisorClient(local.address, LOOK_TIMEOUT_S)
        self._watches = NodeWatches(
            console.nodes,
            observing_context(console),
            on_change=lambda: self.monitor.wake(),  # noqa: PLW0108 - built below
            on_foreign_call=adopt,
        )
        self.monitor = Monitor(
            Judging(limits=console.limits, home=console.settings.home),
            (local_observer(console, self._client), self._watches),
            process_history,
            Chronicle(process_history, console.audit.trail, console.desired, console.clock),
            hub,
            console.clock,
        )
        self._events = EventStream(local.address, self.monitor.wake, adopt)

    def start(self) -> None:
        """Look once, so that there is a picture, then at every change."""
        self.monitor.start()
        self._events.start()

    def stop(self) -> None:
        """End every thread and connection of these parts."""
        self._events.stop()
        self.monitor.stop()
        self._watches.stop()
        self._client.close()


def observing_context(console: Console) -> Context:
    """Return what observers of other machines need."""
    return Context(
        clock=console.clock,
        secrets=console.logs.secrets,
        stopped_by_operators=console.desired.stopped,
        known_processes=ProcessHistory(console.database).known_processes,
    )


def local_observer(console: Console, client: SupervisorClient) -> Observer:
    """Return an observer of this machine."""
    settings, clock = console.settings, console.clock
    catalogue = CollectorFiles(settings.collectors_dir)
    return Observer(
        ObservedNode(
            name=LOCAL_NODE,
            address=console.nodes.local.address.label,
            stock_tier=Tier.PIDFD_POLL,
            client=client,
            telemetry=LocalTelemetry(settings.home, clock.monotonic),
            list_collectors=lambda _: catalogue.scan(),
            log_of=console.logs.reader,
        ),
        console.desired.stopped,
        clock,
    )
