"""Collector files: read, checked while somebody types, compared, applied, taken back."""

import contextlib
import difflib
import threading
from dataclasses import replace

from flask import Blueprint

from collectors.contract.config_problems import ConfigProblem
from control_plane.api.collector_answers import (
    CHANGE_ERRORS,
    applied_answer,
    based_on,
    masking,
    present_text,
    text_of,
)
from control_plane.api.collector_models import (
    CollectorConfig,
    CollectorList,
    CollectorQuery,
    CollectorRemoved,
    CollectorSummary,
    ConfigApplied,
    ConfigCheck,
    ConfigDiff,
    ConfigEdit,
    ConfigProblemView,
    ConfigText,
    DifferenceView,
    DiffQuery,
    NewCollector,
    RevisionList,
    RevisionQuery,
    RevisionText,
    Rollback,
)
from control_plane.api.collector_points import add_points_routes
from control_plane.api.endpoint import Answer, endpoint
from control_plane.api.errors import language_of_request
from control_plane.api.idempotency import once
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.collector_configs import Edit
from control_plane.collector_texts import (
    CheckedText,
    check_text,
    differences,
    document_of,
    revision_of_text,
)
from control_plane.domain.observation import CollectorFile
from control_plane.errors import (
    CollectorExists,
    InvalidProgramFile,
    NotPermitted,
    UnknownProcess,
    UnknownRevision,
)
from control_plane.storage.collector_files import CollectorFiles
from control_plane.storage.idempotent_answers import IdempotentAnswers

SAMPLE = """name = "line1"
protocol = "modbus_tcp"

[[devices]]
id = "press1"
host = "192.168.10.21"

[[devices.points]]
name = "temperature"
address = "holding:100"
"""


def collectors_blueprint(plane: ControlPlane) -> Blueprint:
    """Routes below ``/api/v1/collectors``."""
    blueprint = Blueprint("collectors", __name__, url_prefix="/api/v1/collectors")
    _add_reading(blueprint, plane)
    _add_checking(blueprint, plane)
    _add_changing(blueprint, plane)
    add_points_routes(blueprint, plane)
    return blueprint


def _add_reading(blueprint: Blueprint, plane: ControlPlane) -> None:
    configs = plane.console.collector_configs
    mask = masking(plane)
    files = CollectorFiles(plane.console.settings.collectors_dir)
    one_scan = threading.Lock()

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def list_collectors(query: CollectorQuery) -> CollectorList:
        """List the collector files of this machine."""
        with one_scan:
            present = files.scan().values()
        found = [_summary(file) for file in present if _matches(file, query)]
        key = query.sort.removeprefix("-")
        found.sort(
            key=lambda each: (
                (getattr(each, key) or 0, each.name)
                if key in ("devices", "points")
                else (str(getattr(each, key) or ""), each.name)
            ),
            reverse=query.sort.startswith("-"),
        )
        part = found[query.offset : query.offset + query.limit]
        return CollectorList(collectors=part, total=len(found))

    @blueprint.get("/<name>/config")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,), headers=("If-None-Match",))
    def show(name: str, actor: Actor) -> Answer[CollectorConfig]:
        """Show the file of a collector; its ETag is what a change is based on."""
        checked = configs.read(name)
        text, masked = mask(actor, checked.text)
        if masked:
            problems = _problems_as_shown(checked, text)
            checked = replace(checked, document=document_of(text), problems=problems)
        facts = ConfigCheck.facts(checked, language_of_request())
        view = CollectorConfig(**facts, text=text, masked=masked)
        return Answer(body=view, headers={"ETag": f'"{checked.revision}"'})

    @blueprint.get("/<name>/config/revisions")
    @endpoint(Permission.VIEW, errors=(UnknownProcess,))
    def revisions(name: str, query: RevisionQuery) -> RevisionList:
        """List the texts that the file had, newest first; also of a collector that was removed."""
        current: str | None = None
        found = configs.newest(name, query.limit, query.before)
        with contextlib.suppress(UnknownProcess):
            current = configs.read(name).revision
        return RevisionList(
            revisions=found,
            current=current,
            next_before=found[-1].id if len(found) == query.limit else None,
        )

    @blueprint.get("/<name>/config/revisions/<revision>")
    @endpoint(Permission.VIEW, errors=(UnknownRevision,))
    def revision_text(name: str, revision: str, actor: Actor) -> RevisionText:
        """Show one of these texts."""
        text, masked = mask(actor, configs.revision(name, revision))
        return RevisionText(collector=name, revision=revision, text=text, masked=masked)

    @blueprint.get("/<name>/config/diff")
    @endpoint(Permission.VIEW, errors=(UnknownProcess, UnknownRevision))
    def compare(name: str, query: DiffQuery, actor: Actor) -> ConfigDiff:
        """Compare two texts of a collector."""
        old, new = (
            configs.read(name).text if each == "current" else configs.revision(name, each)
            for each in (query.old, query.new)
        )
        return _diff(name, (old, mask(actor, old)[0]), (new, mask(actor, new)[0]))


def _add_checking(blueprint: Blueprint, plane: ControlPlane) -> None:
    configs = plane.console.collector_configs

    @blueprint.post("/<name>/config/validate")
    @endpoint(
        Permission.CONFIGURE, errors=(NotPermitted, InvalidProgramFile), example={"text": SAMPLE}
    )
    def validate(name: str, body: ConfigText, actor: Actor) -> ConfigCheck:
        """Judge a text while somebody types it; the collector need not exist yet."""
        checked = configs.check(actor, name, text_of(plane, name, body))
        return ConfigCheck(**ConfigCheck.facts(checked, language_of_request()))

    @blueprint.post("/<name>/config/diff")
    @endpoint(
        Permission.CONFIGURE, errors=(NotPermitted, InvalidProgramFile), example={"text": SAMPLE}
    )
    def preview(name: str, body: ConfigText, actor: Actor) -> ConfigDiff:
        """Compare a text with the present file before it is applied."""
        new = configs.check(actor, name, text_of(plane, name, body)).text
        old = present_text(plane, name)
        return _diff(name, (old, old), (new, new))


def _add_changing(blueprint: Blueprint, plane: ControlPlane) -> None:
    configs = plane.console.collector_configs
    only_once = once(IdempotentAnswers(plane.console.database), plane.console.clock)
    example = {"text": SAMPLE, "comment": "second press added"}

    @blueprint.post("")
    @only_once
    @endpoint(
        Permission.CONFIGURE,
        status=201,
        errors=(*CHANGE_ERRORS, CollectorExists),
        example={"name": "line1", "text": SAMPLE},
    )
    def create(body: NewCollector, actor: Actor) -> Answer[ConfigApplied]:
        """Put a new collector into service."""
        text = text_of(plane, body.name, body)
        applied = configs.create(actor, body.name, text, body.comment)
        where = {"Location": f"/api/v1/collectors/{body.name}/config"}
        return applied_answer(applied, where)

    @blueprint.put("/<name>/config")
    @only_once
    @endpoint(
        Permission.CONFIGURE,
        errors=(*CHANGE_ERRORS, UnknownProcess),
        example=example,
        headers=("If-Match",),
    )
    def apply(name: str, body: ConfigEdit, actor: Actor) -> Answer[ConfigApplied]:
        """Give a collector another text and wait until it is in use."""
        edit = Edit(text=text_of(plane, name, body), based_on=based_on(), comment=body.comment)
        return applied_answer(configs.apply(actor, name, edit))

    @blueprint.post("/<name>/config/rollback")
    @only_once
    @endpoint(
        Permission.CONFIGURE,
        errors=(*CHANGE_ERRORS, UnknownProcess, UnknownRevision),
        example={"revision": "0123456789ab", "comment": "back to what worked"},
        headers=("If-Match",),
    )
    def roll_back(name: str, body: Rollback, actor: Actor) -> Answer[ConfigApplied]:
        """Bring an earlier text back."""
        edit = Edit(text="", based_on=based_on(), comment=body.comment)
        return applied_answer(configs.roll_back(actor, name, body.revision, edit))

    @blueprint.delete("/<name>")
    @endpoint(
        Permission.ADMINISTER,
        errors=(*CHANGE_ERRORS, UnknownProcess),
        headers=("If-Match",),
    )
    def remove(name: str, actor: Actor) -> CollectorRemoved:
        """Stop a collector and take it out of service; its text is kept."""
        return CollectorRemoved.of(name, configs.remove(actor, name, based_on()))


def _diff(name: str, old: tuple[str, str], new: tuple[str, str]) -> ConfigDiff:
    """Compare two texts, each given as it is and as it is shown."""
    language = language_of_request()
    revisions = [revision_of_text(old[0]), revision_of_text(new[0])]
    before, after = (each[1].splitlines() for each in (old, new))
    lines = difflib.unified_diff(before, after, revisions[0], revisions[1], lineterm="")
    unified = "".join(f"{line}\n" for line in lines)
    found = differences(document_of(old[1]) or {}, document_of(new[1]) or {})
    problems = _problems_as_shown(check_text(name, new[0]), new[1])
    return ConfigDiff(
        old_revision=revisions[0],
        new_revision=revisions[1],
        unified=unified,
        differences=[DifferenceView.of(each) for each in found],
        problems=[ConfigProblemView.of(each, language) for each in problems],
    )


def _problems_as_shown(checked: CheckedText, shown: str) -> tuple[ConfigProblem, ...]:
    """Return what is wrong; a problem may quote a value, so it is looked for in what is shown."""
    is_as_shown = not checked.problems or shown == checked.text
    return checked.problems if is_as_shown else check_text(checked.name, shown).problems


def _matches(file: CollectorFile, query: CollectorQuery) -> bool:
    shown = f"{file.name} {file.config.display_name if file.config else ''}".lower()
    return (
        query.q.lower() in shown
        and query.protocol in (None, file.protocol)
        and query.valid in (None, file.config is not None)
    )


def _summary(file: CollectorFile) -> CollectorSummary:
    config = file.config
    return CollectorSummary(
        name=file.name,
        display_name=config.display_name if config else "",
        protocol=file.protocol,
        revision=file.revision,
        valid=config is not None,
        problems=len(file.problems),
        devices=len(config.devices) if config else 0,
        points=sum(len(device.points) for device in config.devices) if config else 0,
    )
