"""What each rule asks for before people are told, and how that is changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Final

from control_plane.domain.alerts import AlertSeverity


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLimits:
    """Limits of one rule.

    Attributes:
        enabled: Whether the rule is looked at.
        for_s: So long must the condition hold (monotonic) before the alert fires.
        clear_s: So long must it be gone before the alert is resolved.
        hard_after: In so many looks in a row at least.
        threshold: Limit of the rule's figure, in the rule's own unit, where it has one.
        severity: Instead of what the rule itself finds; the rule's own unless given.
    """

    enabled: bool = True
    for_s: float = 0.0
    clear_s: float = 5.0
    hard_after: int = 1
    threshold: float | None = None
    severity: AlertSeverity | None = None


DEFAULT_RULES: Final[Mapping[str, RuleLimits]] = {
    # Of one collector. process_state clears when the process has lasted `threshold` seconds;
    # cpu, memory and log_errors have the limits of the health checks unless given their own.
    "process_state": RuleLimits(threshold=600.0),
    "blind": RuleLimits(for_s=90.0),
    "connection": RuleLimits(),
    "data_flow": RuleLimits(for_s=15.0),
    "frozen_values": RuleLimits(for_s=5.0),
    "cpu": RuleLimits(for_s=90.0, clear_s=30.0),
    "memory": RuleLimits(for_s=90.0, clear_s=30.0),
    "log_errors": RuleLimits(for_s=60.0, clear_s=30.0),
    "request_errors": RuleLimits(for_s=60.0, clear_s=30.0, threshold=20.0),
    "spool": RuleLimits(for_s=30.0, clear_s=30.0, threshold=50.0),
    "recovery": RuleLimits(for_s=10.0),
    "configuration": RuleLimits(for_s=5.0),
    # Of what several collectors depend on.
    "gateway": RuleLimits(),
    "node": RuleLimits(for_s=10.0),
    "store_down": RuleLimits(for_s=30.0),
    "store_lag": RuleLimits(for_s=60.0, clear_s=30.0, threshold=300.0),
    "historian": RuleLimits(for_s=30.0),
    "records_missing": RuleLimits(for_s=30.0, clear_s=60.0),
    # Of this machine and of the control plane itself.
    "disk": RuleLimits(for_s=10.0, clear_s=30.0, threshold=10.0),
    "clock_step": RuleLimits(threshold=2.0),
    "monitor_stalled": RuleLimits(threshold=10.0),
    "slow_look": RuleLimits(for_s=60.0, clear_s=30.0, threshold=2000.0),
    "live_dropped": RuleLimits(clear_s=60.0),
    "notify_queue": RuleLimits(for_s=60.0, clear_s=30.0, threshold=200.0),
    "state_database": RuleLimits(for_s=10.0),
    "client_banned": RuleLimits(clear_s=60.0),
    "audit_trail": RuleLimits(),
    "sealed_logs": RuleLimits(),
}
"""Thresholds: % of a core, MB, lines in 5 min, % of requests, % of the spool, s, % free, ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Other limits of one rule, for the subjects whose names match a shell pattern."""

    rule: str
    subject: str
    changes: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLimits:
    """All limits.

    Attributes:
        rules: By rule, for every subject that no override names.
        repeat_s: An alert that nobody acknowledges is told again this often; 0 is never.
        flapping: Whether an alert that comes and goes is held open as one.
        flap_sample_s: A state that lasts counts once in this time as unchanged.
        window_s: Over which failed requests and cut-off panels are counted, and for so long a jump
            of the clock is worth telling.
        gateway_collectors: So many collectors must have lost a host to blame the host.
    """

    rules: Mapping[str, RuleLimits] = field(default_factory=lambda: DEFAULT_RULES)
    overrides: tuple[Override, ...] = ()
    repeat_s: float = 4 * 3600.0
    flap_sample_s: float = 30.0
    flapping: bool = True
    window_s: float = 300.0
    gateway_collectors: int = 3

    def of(self, rule: str, subject: str) -> RuleLimits:
        """Return what holds for one rule and subject; later overrides win."""
        limits = self.rules[rule]
        for override in self.overrides:
            if override.rule == rule and fnmatchcase(subject, override.subject):
                limits = replace(limits, **override.changes)  # type: ignore[arg-type]
        return limits

    def threshold(self, rule: str, subject: str) -> float:
        """Return the limit of the rule's figure."""
        return self.of(rule, subject).threshold or 0.0
