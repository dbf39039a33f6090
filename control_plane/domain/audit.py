"""One line of the audit trail."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Who did what to what, when, from where, and what came of it.

    Attributes:
        actor: User name, ``token:NAME`` or ``console:USER``.
        origin: Address of the request, or ``console``.
        action: ``process.restart``, ``session.open``, …
        outcome: ``done``, ``failed``, ``unknown`` or ``denied``.
        detail: Facts as text; never a secret.
    """

    at: datetime
    actor: str
    origin: str
    action: str
    target: str
    outcome: str
    detail: str = ""
