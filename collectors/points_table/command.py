"""``python -m collectors points export|import``."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from collectors.contract.config import load_collector
from collectors.contract.config_problems import ConfigError, read_toml
from collectors.contract.messages import sentence
from collectors.contract.signals import EXIT_CONFIG, EXIT_OK
from collectors.points_table.changes import summary
from collectors.points_table.exporting import rows_of
from collectors.points_table.importing import plan_import, with_points
from collectors.points_table.problems import PACKAGE, TableError
from collectors.points_table.sheet import sheet_file
from collectors.points_table.toml_points import NotRewritten, rewritten


def export_points(file: Path, table: Path, language: str) -> int:
    """Write the points of a collector file into a table.

    Raises:
        ConfigError: the collector file cannot be used.
    """
    config = load_collector(file)
    try:
        sheet_file(table).write(table, rows_of(config))
    except TableError as exc:
        return _failed(exc, language)
    except OSError as exc:
        return _failed(TableError.single(str(table), "not_written", reason=exc.strerror), language)
    count = sum(len(device.points) for device in config.devices)
    print(sentence(PACKAGE, "export.done", {"count": count, "table": table}, language))
    return EXIT_OK


def import_points(
    table: Path, file: Path, language: str, dry_run: bool = False, keep: bool = False
) -> int:
    """Bring the points of a table into a collector file, all of them or none.

    Raises:
        ConfigError: the collector file cannot be used.
    """
    document = read_toml(file)
    try:
        sheet = sheet_file(table).read(table)
        found = plan_import(str(table), sheet, document, str(file), keep=keep)
        if found.changes and not dry_run:
            _write(file, document, with_points(document, found.edits), found.edits)
    except TableError as exc:
        return _failed(exc, language)
    print(summary(found.changes, is_dry_run=dry_run, file=str(file), language=language))
    return EXIT_OK


def _failed(error: TableError, language: str) -> int:
    for problem in error.problems:
        print(problem.text(language), file=sys.stderr)
    return EXIT_CONFIG


def _write(file: Path, read: dict[str, Any], wanted: dict[str, Any], edits: Any) -> None:
    """Replace the file as a whole, unless somebody changed it meanwhile.

    Raises:
        TableError: the file was left as it is.
    """
    name = str(file)
    try:
        before = file.read_bytes()
        if read_toml(file) != read:
            raise TableError.single(name, "changed_meanwhile")
        text = rewritten(before.decode(), wanted, edits)
        _replace(file, text.encode())
    except NotRewritten:
        raise TableError.single(name, "not_rewritten") from None
    except OSError as exc:
        raise TableError.single(name, "not_written", reason=exc.strerror) from None


def _check(temporary: Path, file: Path) -> None:
    """Accept what a collector could read.

    Raises:
        ConfigError: too large; names the file that it was to replace.
    """
    try:
        read_toml(temporary)
    except ConfigError as exc:
        problem = exc.problems[0]
        raise ConfigError.single(str(file), "", problem.code, problem.params) from None


def _replace(file: Path, content: bytes) -> None:
    # Behind a symbolic link it is the file that changes, not the link.
    target = file.resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _check(temporary, file)
        temporary.chmod(target.stat().st_mode & 0o7777)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
