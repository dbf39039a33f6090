"""What a user may do: check the permission, do it, write the audit trail, wake the monitor.

The API and the command line come through here alike, so there is one path for each action.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePath

from control_plane.auth.attempts import SignInAttempts
from control_plane.auth.passwords import hash_password, verify_password
from control_plane.auth.permissions import Actor, Permission, Role, require
from control_plane.auth.tokens import API_TOKEN_PREFIX, new_token, token_hash
from control_plane.clock import Clock
from control_plane.domain.audit import AuditEvent
from control_plane.domain.process import Desired
from control_plane.errors import (
    BadCredentials,
    Busy,
    ControlPlaneError,
    NotPermitted,
    SupervisorUnreachable,
    UnknownProcess,
)
from control_plane.storage.accounts import Accounts
from control_plane.storage.audit import AuditTrail
from control_plane.storage.desired_states import DesiredStates
from control_plane.storage.pending_commands import Pending, PendingCommands
from control_plane.supervisor.event_stream import ForeignCall
from control_plane.supervisor.process_manager import (
    Action,
    CommandResult,
    OnBegin,
    ProcessManager,
    refused,
)

log = logging.getLogger(__name__)

_INTERRUPTED_LATELY = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandMemory:
    """What is kept of commands: who gave them, what is wanted now, and which have not ended."""

    audit: AuditTrail
    desired: DesiredStates
    pending: PendingCommands


class ProcessCommands:
    """Start, stop and restart collectors on behalf of somebody."""

    def __init__(
        self,
        manager: ProcessManager,
        memory: CommandMemory,
        clock: Clock,
        is_collector: Callable[[str], bool],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._manager = manager
        self._actions: dict[str, Callable[[str, OnBegin], CommandResult]] = {
            "start": manager.start,
            "stop": manager.stop,
            "restart": manager.restart,
        }
        self._audit = memory.audit
        self._desired = memory.desired
        self._pending = memory.pending
        self._clock = clock
        self._is_collector = is_collector
        self._wake = wake

    def command(self, actor: Actor, action: Action, name: str) -> CommandResult:
        """Do it and wait until its effect was seen.

        Raises:
            NotPermitted, UnknownProcess, Busy, SupervisorUnreachable, SupervisorFault.
        """
        try:
            require(actor, Permission.COMMAND)
        except NotPermitted:
            self._record(actor, action, name, "denied")
            raise
        # Our own services are not for this path: a stopped control plane cannot start itself.
        if not self._is_collector(name):
            raise UnknownProcess(name=name)
        return self._do(actor, action, name)

    def interrupted(self) -> list[Pending]:
        """Return the commands that a control plane began and died over."""
        return self._pending.all(self._clock.now() - _INTERRUPTED_LATELY)

    def finish(self, commands: Sequence[Pending]) -> None:
        """End interrupted commands: a restart between its stop and its start, say.

        Each is sent again only as far as its effect is not there yet.
        """
        for command in commands:
            if command not in self.interrupted():
                continue  # Somebody has commanded otherwise meanwhile.
            actor = Actor(name=command.actor, role=Role.OPERATOR, origin=command.origin)
            if command.action not in self._actions or not self._is_collector(command.process):
                self._pending.end(command.process)
                continue
            # The stop of a restart has been sent: what is left of it is a start.
            action: Action = "stop" if command.action == "stop" else "start"
            log.warning(
                "command was interrupted and is ended now",
                extra={"collector": command.process, "action": command.action},
            )
            try:
                self._do(actor, action, command.process)
            except ControlPlaneError as exc:
                log.error(
                    "interrupted command cannot be ended",
                    extra={"collector": command.process, "reason": str(exc)},
                )

    def _begin(self, actor: Actor, action: Action, name: str, detail: str = "") -> None:
        # Written first: the monitor asks it whether the new process was wanted, and after a crash
        # of ours it tells what was under way.
        self._record(actor, action, name, "requested", detail)
        now = self._clock.now()
        wanted = Desired.STOP if action == "stop" else Desired.RUN
        self._desired.want(name, wanted, actor.name, now)
        pending = Pending(process=name, action=action, actor=actor.name, origin=actor.origin)
        self._pending.begin(pending, now)

    def _do(self, actor: Actor, action: Action, name: str) -> CommandResult:
        try:
            result = self._actions[action](name, lambda name: self._begin(actor, action, name))
        except ControlPlaneError as exc:
            # What supervisord did not answer it may still do.
            unclear = isinstance(exc, SupervisorUnreachable)
            self._record(actor, action, name, "unknown" if unclear else "failed", exc.code)
            if not isinstance(exc, Busy):
                self._pending.end(name)
            raise
        except BaseException:
            # Ctrl-C on the command line: whoever pressed it does not want it done later.
            self._pending.end(name)
            raise
        finally:
            self._wake()
        self._pending.end(name)
        self._record(actor, action, name, result.outcome.value, result.detail)
        return result

    def bulk(self, actor: Actor, action: Action, names: Sequence[str]) -> list[CommandResult]:
        """Do it to many collectors; each has its own result, and one that fails fails alone.

        Raises:
            NotPermitted, SupervisorUnreachable.
        """
        require(actor, Permission.COMMAND)
        known = [name for name in names if self._is_collector(name)]
        try:
            results = self._manager.bulk(
                action, known, lambda name: self._begin(actor, action, name, "bulk")
            )
        except BaseException:
            for name in known:
                self._pending.end(name)
            raise
        finally:
            self._wake()
        for result in results:
            if result.detail != "busy":
                self._pending.end(result.process)
            self._record(actor, action, result.process, result.outcome.value, result.detail)
        unknown = [name for name in names if name not in known]
        return results + [refused(name, action, "unknown") for name in unknown]

    def adopt(self, call: ForeignCall) -> None:
        """Take over what somebody asked supervisord for without us, with supervisorctl say.

        Such a stop is the operator's will like any other: it is noted, kept, and no fault.
        """
        if _is_our_own(call):
            return
        known_action = call.action in ("start", "stop")
        event = AuditEvent(
            at=call.at,
            actor=call.actor,
            origin="supervisord",
            action=f"process.{call.action}" if known_action else call.action,
            target=call.target,
            outcome="requested",
            detail=call.command,
        )
        self._audit.record(event)
        if known_action and self._is_collector(call.target):
            wanted = Desired.STOP if call.action == "stop" else Desired.RUN
            self._desired.want(call.target, wanted, call.actor, call.at)
            self._pending.end(call.target)
        self._wake()

    def _record(
        self, actor: Actor, action: Action, name: str, outcome: str, detail: str = ""
    ) -> None:
        event = AuditEvent(
            at=self._clock.now(),
            actor=actor.name,
            origin=actor.origin,
            action=f"process.{action}",
            target=name,
            outcome=outcome,
            detail=detail,
        )
        self._audit.record(event)


def _is_our_own(call: ForeignCall) -> bool:
    """Calls of the panel and of ``daqplane`` are in the audit trail already, with their user."""
    words = call.command.split()[:4]
    module = words[1:3] == ["-m", "control_plane"]
    return module or any(PurePath(word).name == "daqplane" for word in words[:2])


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A session that was just opened; ``token`` goes into the cookie and nowhere else."""

    token: str
    csrf_token: str
    name: str
    role: Role


_SETTING_UP = ":setup"
"""Stands in for the user name, which has no colon, where attempts are counted."""


class AccountCommands:
    """Sign-in, first set-up, users and tokens."""

    def __init__(self, accounts: Accounts, audit: AuditTrail, clock: Clock) -> None:
        self._accounts = accounts
        self._audit = audit
        self._clock = clock
        self._attempts = SignInAttempts(clock.monotonic)

    def sign_in(self, name: str, password: str, origin: str) -> SignIn:
        """Raises BadCredentials or RateLimited."""
        self._attempts.begin(name, origin)
        user = self._accounts.user(name)
        if not verify_password(password, user.password_hash if user else None) or user is None:
            self._record(name, origin, "session.open", name, "denied")
            raise BadCredentials
        self._attempts.succeeded(name, origin)
        self._record(name, origin, "session.open", name, "done")
        return self._open(name, Role(user.role))

    def sign_out(self, token: str, name: str, origin: str) -> None:
        self._accounts.end_session(token_hash(token))
        self._record(name, origin, "session.close", name, "done")

    def new_setup_token(self) -> str:
        """Return the token of a fresh set-up link; older ones stop working."""
        token = new_token()
        self._accounts.replace_setup_token(token_hash(token), self._clock.now())
        return token

    def set_up(self, token: str, name: str, password: str, origin: str) -> SignIn:
        """Make the first administrator and sign in.

        Raises:
            BadSetupToken, WeakPassword, RateLimited.
        """
        self._attempts.begin(_SETTING_UP, origin)
        hashed = hash_password(password)
        self._accounts.set_up(token_hash(token), name, hashed, self._clock.now())
        self._attempts.succeeded(_SETTING_UP, origin)
        self._record(name, origin, "user.add", name, "done", "first administrator")
        return self._open(name, Role.ADMIN)

    def add_user(self, actor: Actor, name: str, role: Role, password: str) -> None:
        """Raises NotPermitted, WeakPassword or UserExists."""
        require(actor, Permission.ADMINISTER)
        self._accounts.add_user(name, role.value, hash_password(password), self._clock.now())
        self._record(actor.name, actor.origin, "user.add", name, "done", role.value)

    def set_password(self, actor: Actor, name: str, password: str) -> None:
        """Raises NotPermitted, WeakPassword or UnknownUser."""
        require(actor, Permission.ADMINISTER)
        self._accounts.set_password(name, hash_password(password))
        self._record(actor.name, actor.origin, "user.passwd", name, "done")

    def create_token(self, actor: Actor, name: str, role: Role) -> str:
        """Return a new API token; it is shown once and cannot be read back.

        Raises:
            NotPermitted, UserExists.
        """
        require(actor, Permission.ADMINISTER)
        token = new_token(API_TOKEN_PREFIX)
        self._accounts.add_token(name, role.value, token_hash(token), self._clock.now())
        self._record(actor.name, actor.origin, "token.create", name, "done", role.value)
        return token

    def _open(self, name: str, role: Role) -> SignIn:
        token, csrf_token = new_token(), new_token()
        self._accounts.open_session(name, token_hash(token), csrf_token, self._clock.now())
        return SignIn(token=token, csrf_token=csrf_token, name=name, role=role)

    def _record(
        self, actor: str, origin: str, action: str, target: str, outcome: str, detail: str = ""
    ) -> None:
        event = AuditEvent(
            at=self._clock.now(),
            actor=actor,
            origin=origin,
            action=action,
            target=target,
            outcome=outcome,
            detail=detail,
        )
        self._audit.record(event)
