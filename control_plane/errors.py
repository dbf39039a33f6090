"""Every error that a user can meet, each with a stable code and a sentence in two languages."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from collectors.contract.messages import DEFAULT_LANGUAGE, sentence

_MOST_SAID = 5


class ControlPlaneError(Exception):
    """Base of all; ``problem.CODE`` in the catalogue is the sentence, remedy included."""

    code: ClassVar[str] = "internal"

    def __init__(self, **params: object) -> None:
        self.params = params
        super().__init__(self.message())

    def message(self, language: str = DEFAULT_LANGUAGE) -> str:
        return sentence("control_plane", f"problem.{self.code}", self.params, language)


class BadRequest(ControlPlaneError):
    """The request does not have the form that this call takes (``reason``)."""

    code = "bad_request"


class BadInput(BadRequest):
    """Parameters or fields that are missing, unknown or not as they may be.

    Attributes:
        problems: (field, kind, facts) of each; ``field.KIND`` is its sentence.
    """

    def __init__(self, problems: Sequence[tuple[str, str, Mapping[str, object]]]) -> None:
        self.problems = tuple(problems)
        super().__init__()

    @classmethod
    def of(cls, field: str, kind: str, **facts: object) -> "BadInput":
        """Return the error of one field."""
        return cls([(field, kind, facts)])

    def sentences(self, language: str) -> list[str]:
        return [
            sentence("control_plane", f"field.{kind}", {**facts, "field": name}, language)
            for name, kind, facts in self.problems
        ]

    def message(self, language: str = DEFAULT_LANGUAGE) -> str:
        reason = "; ".join(self.sentences(language)[:_MOST_SAID])
        return sentence("control_plane", f"problem.{self.code}", {"reason": reason}, language)


class SettingsError(ControlPlaneError):
    """An environment variable or option has a value that cannot be used."""

    code = "settings"


class HomeUnusable(ControlPlaneError):
    """DAQ_HOME cannot hold this installation's files."""

    code = "home_unusable"


class PortInUse(ControlPlaneError):
    """Another program listens where the panel should."""

    code = "port_in_use"


class AlreadyRunning(ControlPlaneError):
    """Another supervisord owns this DAQ_HOME."""

    code = "already_running"


class DidNotStart(ControlPlaneError):
    """A part of the installation ended or did not answer after its start."""

    code = "did_not_start"


class SupervisorUnreachable(ControlPlaneError):
    """supervisord does not answer on its socket."""

    code = "supervisor_unreachable"


class NodeUnreachable(SupervisorUnreachable):
    """The supervisord of another machine does not answer."""

    code = "node_unreachable"


class SupervisorFault(ControlPlaneError):
    """supervisord refused a call for a reason that has no class of its own."""

    code = "supervisor_fault"


class UnknownProcess(ControlPlaneError):
    """No collector of this name exists."""

    code = "unknown_process"


class UnknownNode(ControlPlaneError):
    """No other machine of this name is in the node file."""

    code = "node_unknown"


class BadMaintenance(ControlPlaneError):
    """Maintenance without an end, or one that ends too late."""

    code = "bad_maintenance"


class UnknownAlert(ControlPlaneError):
    """No alert of this number exists."""

    code = "unknown_alert"


class UnknownSilence(ControlPlaneError):
    """No shelf of this number holds."""

    code = "unknown_silence"


class UnknownChannel(ControlPlaneError):
    """No usable channel of this name is in the channel file."""

    code = "unknown_channel"


class NotifyFailed(ControlPlaneError):
    """A channel could not send (``reason``)."""

    code = "notify_failed"


class NotRunning(ControlPlaneError):
    """The collector has no process that could obey."""

    code = "not_running"


class SignalNotAllowed(ControlPlaneError):
    """A signal that collectors do not promise anything for."""

    code = "signal_not_allowed"


class LogsUnreadable(ControlPlaneError):
    """A log, or the chain of seals, is there and cannot be read (``reason``)."""

    code = "logs_unreadable"


class CollectorExists(ControlPlaneError):
    """A collector of this name is there already."""

    code = "collector_exists"


class UnknownRevision(ControlPlaneError):
    """No text of this collector has this revision, or it is not kept any more."""

    code = "unknown_revision"


class RevisionConflict(ControlPlaneError):
    """Somebody has changed it since it was read; ``revision`` is the present one."""

    code = "revision_conflict"


class RevisionRequired(ControlPlaneError):
    """A change must say which revision it is based on."""

    code = "revision_required"


class UnsupportedMedia(ControlPlaneError):
    """The body is of a kind (``given``) that this call does not take; ``wanted`` says which."""

    code = "unsupported_media"


class Busy(ControlPlaneError):
    """Another command for the same process has not ended."""

    code = "busy"


class KeyInUse(ControlPlaneError):
    """The idempotency key belongs to another request, or to one that has not ended."""

    code = "key_in_use"


class InvalidProgramFile(ControlPlaneError):
    """A program file would break supervisord's configuration."""

    code = "invalid_program_file"


class StorageError(ControlPlaneError):
    """The state database cannot be opened or migrated."""

    code = "storage"


class NewerSchema(ControlPlaneError):
    """The state database holds migrations (``migrations``) that this program does not know."""

    code = "newer_schema"


class BackupFailed(ControlPlaneError):
    """The archive of a backup cannot be written."""

    code = "backup_failed"


class BadArchive(ControlPlaneError):
    """A file is no backup, or a damaged one."""

    code = "bad_archive"


class ArchiveTooNew(ControlPlaneError):
    """A backup was written in a form that this program does not know yet."""

    code = "archive_too_new"


class StillRunning(ControlPlaneError):
    """Part of the installation runs while its files are to be replaced."""

    code = "still_running"


class RestoreFailed(ControlPlaneError):
    """The files of a backup cannot be put in place; what was there is back."""

    code = "restore_failed"


class RestoreInterrupted(ControlPlaneError):
    """A restore was killed half-way, so the files are those of two times."""

    code = "restore_interrupted"


class ExportTooLarge(ControlPlaneError):
    """An export has more rows than its form of file takes."""

    code = "export_too_large"


class TooManyExports(ControlPlaneError):
    """As many exports are under way as may be."""

    code = "too_many_exports"


class UnknownExport(ControlPlaneError):
    """No export of this id was begun by this user."""

    code = "unknown_export"


class ExportCancelled(ControlPlaneError):
    """The export was ended by the one who began it."""

    code = "export_cancelled"


class NotAuthenticated(ControlPlaneError):
    """No session and no token, or an ended one."""

    code = "not_authenticated"


class BadCredentials(ControlPlaneError):
    """User name or password is wrong."""

    code = "bad_credentials"


class BadSetupToken(ControlPlaneError):
    """The set-up link is used, expired or wrong."""

    code = "bad_setup_token"


class WeakPassword(ControlPlaneError):
    """The password is shorter than the rule asks."""

    code = "weak_password"


class UserExists(ControlPlaneError):
    """The user name is taken."""

    code = "user_exists"


class UnknownUser(ControlPlaneError):
    """No user of this name exists."""

    code = "unknown_user"


class LastAdmin(ControlPlaneError):
    """Without this user nobody could administer the installation any more."""

    code = "last_admin"


class UnknownToken(ControlPlaneError):
    """No API token of this name exists."""

    code = "unknown_token"


class BadExpiry(ControlPlaneError):
    """An API token would expire before it could be used."""

    code = "bad_expiry"


class UnknownSession(ControlPlaneError):
    """No open session has this id, or it is somebody else's."""

    code = "unknown_session"


class NotPermitted(ControlPlaneError):
    """The role does not allow this."""

    code = "not_permitted"
    is_noted = False
    """Whether the refusal is in the audit trail already."""


class CsrfRejected(ControlPlaneError):
    """A change came without the session's CSRF token, or from another site."""

    code = "csrf"


class RateLimited(ControlPlaneError):
    """Too many attempts; ``retry_after_s`` says when to come back."""

    code = "rate_limited"


class ClientBanned(RateLimited):
    """This address did what no honest client does; ``retry_after_s`` says until when it is out."""

    code = "client_banned"


class TooManyConnections(RateLimited):
    """One user or address holds as many live connections as one may (``limit``)."""

    code = "too_many_connections"


class UpgradeRequired(ControlPlaneError):
    """A request for the live channel that is no WebSocket handshake."""

    code = "upgrade_required"


class TooManyClients(ControlPlaneError):
    """The live channel serves as many clients as it may."""

    code = "too_many_clients"
