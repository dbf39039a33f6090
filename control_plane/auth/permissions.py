"""Who may do what."""

import enum
from dataclasses import dataclass

from control_plane.errors import NotPermitted


class Role(enum.StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Permission(enum.StrEnum):
    VIEW = "view"
    COMMAND = "command"
    """Start, stop and restart collectors."""
    WRITE = "write"
    """Write values to devices, where a point is marked writable."""
    CONFIGURE = "configure"
    """Change what collectors collect."""
    AUDIT = "audit"
    """Read, check and export the audit trail."""
    ADMINISTER = "administer"
    """Collector files, users, API tokens, sessions of others."""


_ALLOWED: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.VIEW}),
    Role.OPERATOR: frozenset(
        {Permission.VIEW, Permission.COMMAND, Permission.WRITE, Permission.CONFIGURE}
    ),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Someone who asks for something; ``origin`` is an address or ``console``."""

    name: str
    role: Role
    origin: str


def allows(role: Role, permission: Permission) -> bool:
    """Tell whether ``role`` allows ``permission``."""
    return permission in _ALLOWED[role]


def may(actor: Actor, permission: Permission) -> bool:
    """Tell whether the actor's role allows ``permission``."""
    return allows(actor.role, permission)


def require(actor: Actor, permission: Permission) -> None:
    """Raise NotPermitted unless the actor's role allows ``permission``."""
    if not may(actor, permission):
        needed = next(role for role in Role if permission in _ALLOWED[role])
        raise NotPermitted(role=actor.role.value, needed=needed.value)
