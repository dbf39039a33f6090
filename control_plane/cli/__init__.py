"""The command line ``daqplane``; works on the installation's files, control plane up or down."""

# Importing a module puts its commands into the group.
from control_plane.cli import (  # noqa: F401
    accounts,
    alerts,
    archives,
    audit,
    collectors,
    description,
    installation,
    logs,
    nodes,
    recovery,
    status,
)
from control_plane.cli.root import main

__all__ = ["main"]
