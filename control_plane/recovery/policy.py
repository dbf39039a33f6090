"""What to do about each collector, or why nothing is done: pure, the same for the same input."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from control_plane.domain.recovery import (
    Circuit,
    Decision,
    Guard,
    RecoveryAction,
    RecoveryConfig,
    Situation,
)
from control_plane.recovery.memory import Memory
from control_plane.recovery.rules import (
    BAD_CONFIG,
    CONFIG_MENDED,
    DEVICE,
    STALE,
    ErrorRecoveryStrategy,
    Rule,
)

_MINUTE_S = 60.0
_REDUCE_PAUSE_S = 60.0
_CLEAR_PAUSE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What one decision has to know of all the others.

    Attributes:
        restarts_lately: Automatic restarts of any collector in the last minute.
        fails_together: Many began to fail within a minute: restarts would not help.
        silent_gateways: Hosts behind which several collectors' devices are silent.
    """

    restarts_lately: int
    fails_together: bool
    silent_gateways: frozenset[str]


def decide_all(
    situations: Sequence[Situation],
    memories: Mapping[str, Memory],
    config: RecoveryConfig,
    now: float,
) -> list[tuple[Decision, Memory]]:
    """Decide for every collector, in the order given, and return what to remember of each.

    ``now`` is in seconds, of the clock of :class:`Memory`.
    """
    strategy = ErrorRecoveryStrategy(config)
    known = {seen.process: memories.get(seen.process, Memory()) for seen in situations}
    found = {seen.process: strategy.rule_for(seen, known[seen.process]) for seen in situations}
    fleet = _survey(situations, known, found, config, now)
    results = []
    for seen in situations:
        decided = decide(seen, known[seen.process], found[seen.process], fleet, config, now)
        if decided[0].action is RecoveryAction.RESTART_PROCESS:
            fleet = replace(fleet, restarts_lately=fleet.restarts_lately + 1)
        results.append(decided)
    return results


def _survey(
    situations: Sequence[Situation],
    memories: Mapping[str, Memory],
    found: Mapping[str, Rule | None],
    config: RecoveryConfig,
    now: float,
) -> Fleet:
    judged = [seen for seen in situations if seen.wanted and seen.reachable]
    restarts = sum(at > now - _MINUTE_S for m in memories.values() for at in m.restarts)
    failing = sum(
        _fails_lately(found[seen.process], memories[seen.process], now) for seen in judged
    )
    gateways = Counter(
        seen.gateway for seen in judged if found[seen.process] is DEVICE and seen.gateway
    )
    return Fleet(
        restarts_lately=restarts,
        fails_together=failing >= config.common_cause_least
        and failing >= config.common_cause_share * len(judged),
        silent_gateways=frozenset(
            host for host, count in gateways.items() if count >= config.common_cause_least
        ),
    )


def _fails_lately(rule: Rule | None, memory: Memory, now: float) -> bool:
    if rule is None or rule.action is not RecoveryAction.RESTART_PROCESS:
        return False
    return rule.episode != memory.episode or memory.episode_since > now - _MINUTE_S


def decide(
    seen: Situation,
    memory: Memory,
    rule: Rule | None,
    fleet: Fleet,
    config: RecoveryConfig,
    now: float,
) -> tuple[Decision, Memory]:
    """Decide for one collector; ``rule`` is what its trouble asks for."""
    if not seen.reachable:
        return _nothing(seen, "unreachable", Guard.UNREACHABLE), memory
    if not seen.wanted:
        # Whoever stopped it has seen it: a later start begins with a clean sheet.
        return _nothing(seen, "stopped", Guard.STOPPED), Memory(in_flight=memory.in_flight)
    memory = replace(memory, restarts=_within(memory.restarts, config, now))
    if rule is None:
        return _fine(seen, memory, config, now)
    if not memory.in_flight:
        # What is seen while our own action is under way is no trouble of its own.
        memory = _in_episode(memory, rule, config, now)
    wanted = _wanted(rule, seen, memory, config)
    guard = _guard(seen, memory, wanted, fleet, config, now)
    decision = Decision(
        process=seen.process,
        category=rule.category,
        rule=rule.name,
        wanted=wanted,
        action=RecoveryAction.NO_ACTION if guard else wanted,
        guard=guard,
        attempt=memory.attempts + 1,
        facts=_facts(seen, memory, wanted, config, now),
    )
    return decision, memory if guard else _acted(memory, rule, wanted, seen, config, now)


def _nothing(seen: Situation, rule: str, guard: Guard | None = None) -> Decision:
    none = RecoveryAction.NO_ACTION
    return Decision(
        process=seen.process, category=None, rule=rule, wanted=none, action=none, guard=guard
    )


def _within(restarts: tuple[float, ...], config: RecoveryConfig, now: float) -> tuple[float, ...]:
    return tuple(at for at in restarts if at > now - config.window_s)


def _fine(
    seen: Situation, memory: Memory, config: RecoveryConfig, now: float
) -> tuple[Decision, Memory]:
    """Forget a trouble only after it has stayed away, and give back what was taken."""
    since = now if memory.fine_since is None else memory.fine_since
    memory = replace(memory, fine_since=since, refused_revision="")
    if now - since >= config.stable_after_s:
        memory = replace(
            memory, episode="", attempts=0, circuit=Circuit.CLOSED, circuit_until=0.0, opened=0
        )
    if memory.factor <= 1.0 or now - max(memory.factor_at, since) < config.reduce_back_after_s:
        return _nothing(seen, "fine"), memory
    held = _held_back(seen, memory, config)
    decision = Decision(
        process=seen.process,
        category=None,
        rule="give_back",
        wanted=RecoveryAction.REDUCE_FREQUENCY,
        action=RecoveryAction.NO_ACTION if held else RecoveryAction.REDUCE_FREQUENCY,
        guard=held,
        facts={"factor": memory.factor / 2},
    )
    if held:
        return decision, memory
    halved = max(1.0, memory.factor / 2)
    return decision, replace(
        memory, factor=halved, factor_at=now, acted_at=now, in_flight=decision.action.value
    )


def _in_episode(memory: Memory, rule: Rule, config: RecoveryConfig, now: float) -> Memory:
    """Begin a new episode where the trouble is another one, and judge the circuit's one try."""
    if memory.episode != rule.episode:
        memory = replace(memory, episode=rule.episode, episode_since=now, attempts=0, told=False)
    if memory.circuit is Circuit.HALF_OPEN and memory.acted_at >= memory.circuit_until:
        came_back = memory.fine_since is not None
        if came_back or now - memory.acted_at >= config.settle_s:
            memory = _opened(memory, config, now)
    if memory.circuit is Circuit.OPEN and now >= memory.circuit_until:
        memory = replace(memory, circuit=Circuit.HALF_OPEN)
    return replace(memory, fine_since=None)


def _opened(memory: Memory, config: RecoveryConfig, now: float) -> Memory:
    pause_s = min(config.half_open_max_s, config.half_open_after_s * 2.0**memory.opened)
    return replace(
        memory, circuit=Circuit.OPEN, circuit_until=now + pause_s, opened=memory.opened + 1
    )


def _wanted(rule: Rule, seen: Situation, memory: Memory, config: RecoveryConfig) -> RecoveryAction:
    """Return the rule's action, or a person's attention where the action is used up."""
    used_up = (
        rule.action is RecoveryAction.RESTART_PROCESS
        and memory.circuit is Circuit.CLOSED
        and len(memory.restarts) >= seen.max_restart_attempts
    ) or (
        rule.action is RecoveryAction.REDUCE_FREQUENCY and memory.factor >= config.reduce_max_factor
    )
    return RecoveryAction.ALERT_OPERATOR if used_up else rule.action


def _guard(
    seen: Situation,
    memory: Memory,
    wanted: RecoveryAction,
    fleet: Fleet,
    config: RecoveryConfig,
    now: float,
) -> Guard | None:
    """Return the first guard that holds, in the order of :class:`Guard`."""
    if seen.in_maintenance:
        return Guard.MAINTENANCE
    if wanted is RecoveryAction.ALERT_OPERATOR:
        return Guard.ALERTED if memory.told else None
    if memory.in_flight:
        return Guard.IN_FLIGHT
    if now < memory.acted_at + pause_s(memory, wanted, config):
        return Guard.COOLDOWN
    if wanted is RecoveryAction.RESTART_PROCESS:
        guard = _restart_guard(memory, fleet, config)
    else:
        resets = wanted is RecoveryAction.RESET_CONNECTION
        common = resets and seen.gateway in fleet.silent_gateways
        guard = Guard.COMMON_CAUSE if common else None
    return guard or (Guard.DRY_RUN if config.dry_run else None)


def _restart_guard(memory: Memory, fleet: Fleet, config: RecoveryConfig) -> Guard | None:
    if memory.circuit is Circuit.OPEN:
        return Guard.CIRCUIT_OPEN
    if fleet.fails_together:
        return Guard.COMMON_CAUSE
    if fleet.restarts_lately >= config.fleet_restarts_per_minute:
        return Guard.BUDGET
    return None


def _held_back(seen: Situation, memory: Memory, config: RecoveryConfig) -> Guard | None:
    if seen.in_maintenance:
        return Guard.MAINTENANCE
    if memory.in_flight:
        return Guard.IN_FLIGHT
    return Guard.DRY_RUN if config.dry_run else None


def pause_s(memory: Memory, wanted: RecoveryAction, config: RecoveryConfig) -> float:
    """Return how long after the newest action ``wanted`` may follow."""
    match wanted:
        case RecoveryAction.RESTART_PROCESS:
            doubled = config.backoff_base_s * 2.0 ** max(0, len(memory.restarts) - 1)
            return max(config.settle_s, min(config.backoff_max_s, doubled))
        case RecoveryAction.RESET_CONNECTION:
            doubled = config.reset_base_s * 2.0 ** max(0, memory.attempts - 1)
            least = config.settle_s if memory.episode == STALE.episode else 0.0
            return max(least, min(config.reset_max_s, doubled))
        case RecoveryAction.CLEAR_CACHE:
            return _CLEAR_PAUSE_S
        case _:
            return _REDUCE_PAUSE_S


def _facts(
    seen: Situation, memory: Memory, wanted: RecoveryAction, config: RecoveryConfig, now: float
) -> dict[str, object]:
    until = memory.acted_at + pause_s(memory, wanted, config)
    if memory.circuit is Circuit.OPEN:
        until = memory.circuit_until
    return {
        "restarts": len(memory.restarts),
        "limit": seen.max_restart_attempts,
        "window_min": round(config.window_s / 60),
        "wait_s": max(0, round(until - now)) if until > now else 0,
        "factor": min(config.reduce_max_factor, memory.factor * 2),
    }


def _acted(
    memory: Memory,
    rule: Rule,
    wanted: RecoveryAction,
    seen: Situation,
    config: RecoveryConfig,
    now: float,
) -> Memory:
    """Remember an action that is about to be taken."""
    if rule is BAD_CONFIG:
        memory = replace(memory, refused_revision=seen.revision)
    if wanted is RecoveryAction.ALERT_OPERATOR:
        if rule.action is RecoveryAction.RESTART_PROCESS:
            memory = _opened(memory, config, now)
        return replace(memory, told=True)
    memory = replace(memory, attempts=memory.attempts + 1, acted_at=now, in_flight=wanted.value)
    if wanted is RecoveryAction.RESTART_PROCESS:
        revision = seen.revision if rule is CONFIG_MENDED else memory.refused_revision
        return replace(memory, restarts=(*memory.restarts, now), refused_revision=revision)
    if wanted is RecoveryAction.REDUCE_FREQUENCY:
        factor = min(config.reduce_max_factor, memory.factor * 2)
        return replace(memory, factor=factor, factor_at=now)
    return memory
