"""The command line ``daqplane``; works on the installation's files, control plane up or down."""

# Importing a module puts its commands into the group.
from control_plane.cli import accounts, archives, collectors, installation, nodes, recovery, status  # noqa: F401
from control_plane.cli.root import main

__all__ = ["main"]
