"""Points of a collector as a spreadsheet, and back."""

import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Response, request

from collectors.contract.config_problems import ConfigError
from collectors.points_table.exporting import rows_of
from collectors.points_table.importing import plan_import, with_points
from collectors.points_table.problems import TableError
from collectors.points_table.sheet import sheet_file
from collectors.points_table.toml_points import NotRewritten, rewritten
from control_plane.api.collector_answers import CHANGE_ERRORS, as_applied, based_on
from control_plane.api.collector_models import (
    PointChangeView,
    PointsImported,
    PointsImportQuery,
    PointsQuery,
)
from control_plane.api.endpoint import Answer, endpoint
from control_plane.auth.permissions import Actor, Permission
from control_plane.bootstrap import ControlPlane
from control_plane.collector_configs import Edit
from control_plane.collector_texts import CheckedText, revision_of_text
from control_plane.domain.config_revision import ConfigOrigin
from control_plane.errors import UnknownProcess, UnsupportedMedia

MEDIA_TYPES: Final = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_MAX_UNPACKED_BYTES: Final = 64_000_000


def add_points_routes(blueprint: Blueprint, plane: ControlPlane) -> None:
    """Add ``/NAME/config/points``."""
    configs = plane.console.collector_configs

    @blueprint.get("/<name>/config/points")
    @endpoint(
        Permission.VIEW, errors=(UnknownProcess, ConfigError), media=tuple(MEDIA_TYPES.values())
    )
    def export_points(name: str, query: PointsQuery) -> Response:
        """Download the points as CSV or XLSX, to be edited and imported again."""
        checked = configs.read(name)
        if checked.config is None:
            raise ConfigError(checked.problems)
        with tempfile.TemporaryDirectory(prefix="daq-points-") as directory:
            table = Path(directory) / f"points.{query.format}"
            sheet_file(table).write(table, rows_of(checked.config))
            content = table.read_bytes()
        response = Response(content, mimetype=MEDIA_TYPES[query.format])
        file = f"{name}-points.{query.format}"
        response.headers["Content-Disposition"] = f'attachment; filename="{file}"'
        response.headers["ETag"] = f'"{checked.revision}"'
        return response

    @blueprint.post("/<name>/config/points")
    @endpoint(
        Permission.CONFIGURE,
        errors=(*CHANGE_ERRORS, UnknownProcess, UnsupportedMedia, TableError),
        takes_media=tuple(MEDIA_TYPES.values()),
        headers=("If-Match",),
    )
    def import_points(name: str, query: PointsImportQuery, actor: Actor) -> Answer[PointsImported]:
        """Bring the points of a table into the file: every row or none."""
        plane.console.audit.allow(actor, Permission.CONFIGURE, "collector.import", name)
        if request.mimetype != MEDIA_TYPES[query.format]:
            raise UnsupportedMedia(given=request.mimetype or "-", wanted=MEDIA_TYPES[query.format])
        checked = configs.read(name)
        found, text = _planned(checked, query, request.get_data())
        applied = None
        if found and not query.dry_run:
            edit = Edit(
                text=text,
                based_on=based_on(),
                comment=query.comment,
                origin=ConfigOrigin.IMPORTED,
            )
            applied = as_applied(configs.apply(actor, name, edit))
        revision = revision_of_text(text)
        shown = PointsImported(changes=found, revision=revision, applied=applied)
        return Answer(
            body=shown, headers={"ETag": f'"{revision if applied else checked.revision}"'}
        )


def _planned(
    checked: CheckedText, query: PointsImportQuery, content: bytes
) -> tuple[list[PointChangeView], str]:
    """Return what changes, and the text of the file afterwards.

    Raises:
        ConfigError, TableError.
    """
    file, document = f"{checked.name}.toml", checked.document
    if document is None:
        raise ConfigError(checked.problems)
    with tempfile.TemporaryDirectory(prefix="daq-points-") as directory:
        table = Path(directory) / f"points.{query.format}"
        table.write_bytes(content)
        _refuse_bomb(table)
        try:
            sheet = sheet_file(table).read(table)
        except TableError as exc:
            raise _as_of(table.name, exc) from None
    found = plan_import(table.name, sheet, document, file, keep=query.keep)
    if not found.changes:
        return [], checked.text
    wanted: dict[str, Any] = with_points(document, found.edits)
    try:
        text = rewritten(checked.text, wanted, found.edits)
    except NotRewritten:
        raise TableError.single(file, "not_rewritten") from None
    changes = [
        PointChangeView(kind=each.kind, point=each.point, old=each.old, new=each.new)
        for each in found.changes
    ]
    return changes, text


def _refuse_bomb(table: Path) -> None:
    """A small file can unpack to a thousand times its size, in the memory of all of us."""
    if not zipfile.is_zipfile(table):
        return
    with zipfile.ZipFile(table) as archive:
        unpacked_bytes = sum(part.file_size for part in archive.infolist())
    if unpacked_bytes > _MAX_UNPACKED_BYTES:
        limit_mb = _MAX_UNPACKED_BYTES // 10**6
        raise TableError.single(table.name, "too_large", limit_mb=limit_mb)


def _as_of(file: str, error: TableError) -> TableError:
    """Name the table as its sender knows it, not as it lies here."""
    return TableError([replace(each, file=file) for each in error.problems])
