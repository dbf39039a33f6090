"""The reference of all configuration, written from the types that validate it."""

from control_plane.config_reference.page import config_reference

__all__ = ["config_reference"]
