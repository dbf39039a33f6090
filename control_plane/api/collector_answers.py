"""What the routes of collector files have in common."""

from collections.abc import Callable, Mapping

from flask import request

from collectors.contract.config_problems import ConfigError
from collectors.contract.messages import sentence
from control_plane.api.collector_models import ConfigApplied, ConfigText
from control_plane.api.endpoint import Answer
from control_plane.api.errors import language_of_request
from control_plane.auth.permissions import Actor, Permission, may
from control_plane.bootstrap import ControlPlane
from control_plane.collector_changes import Applied
from control_plane.collector_texts import with_document
from control_plane.errors import (
    BadInput,
    Busy,
    InvalidProgramFile,
    KeyInUse,
    NotPermitted,
    RevisionConflict,
    RevisionRequired,
    SupervisorUnreachable,
    UnknownProcess,
)

CHANGE_ERRORS = (
    NotPermitted,
    RevisionConflict,
    RevisionRequired,
    ConfigError,
    InvalidProgramFile,
    Busy,
    KeyInUse,
    SupervisorUnreachable,
)


def masking(plane: ControlPlane) -> Callable[[Actor, str], tuple[str, bool]]:
    """Return what takes secrets out of a text for whoever may not change it.

    No secret belongs into these files, see ``password_file``; but one may have been typed there.
    """

    def mask(actor: Actor, text: str) -> tuple[str, bool]:
        if may(actor, Permission.CONFIGURE):
            return text, False
        redactor = plane.console.logs.secrets.redactor()
        lines = (redactor.line(line) for line in text.encode().split(b"\n"))
        shown = b"\n".join(lines).decode("utf-8", "replace")
        return shown, shown != text

    return mask


def based_on() -> str:
    """Return the one revision of ``If-Match``, empty without: then nothing will be changed."""
    tags = sorted(request.if_match.as_set())
    return tags[0] if len(tags) == 1 and not request.if_match.star_tag else ""


def text_of(plane: ControlPlane, name: str, body: ConfigText) -> str:
    """Return the text that a body means; raises BadInput."""
    if body.document is None:
        return body.text or ""
    try:
        return with_document(present_text(plane, name), body.document)
    except (ValueError, TypeError, RecursionError) as exc:
        raise BadInput.of("document", "other", reason=exc) from None


def as_applied(applied: Applied) -> ConfigApplied:
    """Return what came of a change, in words too."""
    facts: Mapping[str, object] = {"name": applied.name, "revision": applied.revision}
    code = f"cli.applied.{applied.outcome}"
    message = sentence("control_plane", code, facts, language_of_request())
    return ConfigApplied.model_validate({**facts, "outcome": applied.outcome, "message": message})


def applied_answer(
    applied: Applied, headers: Mapping[str, str] | None = None
) -> Answer[ConfigApplied]:
    """Return the answer to a change, with the new ETag."""
    tagged = {"ETag": f'"{applied.revision}"', **(headers or {})}
    return Answer(body=as_applied(applied), headers=tagged)


def present_text(plane: ControlPlane, name: str) -> str:
    """Return what the file says now, nothing if there is none."""
    try:
        return plane.console.collector_configs.read(name).text
    except UnknownProcess:
        return ""
