"""Puts the parts of recovery together; called by the composition root."""

from control_plane.console import Console
from control_plane.recovery.service import RecoveryHands, RecoveryService, RecoveryStores
from control_plane.recovery_actions import RecoveryActions
from control_plane.storage.recovery import MaintenanceWindows, RecoveryDecisions, RecoveryMemories
from control_plane.telemetry.host_usage import is_disk_low


def build_recovery(console: Console) -> RecoveryService:
    """Return the service, not yet started."""
    settings, database = console.settings, console.database
    stores = RecoveryStores(
        decisions=RecoveryDecisions(database),
        memories=RecoveryMemories(database),
        maintenance=MaintenanceWindows(database),
    )
    actions = RecoveryActions(
        console.process_commands, console.device_commands, console.log_integrity.remove_rotated
    )
    return RecoveryService(
        stores,
        console.limits,
        RecoveryHands(
            do=actions.do,
            under_way=console.process_commands.under_way,
            is_disk_low=lambda: is_disk_low(settings.home),
        ),
        console.clock,
    )
