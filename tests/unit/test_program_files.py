from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from supervisor.options import ServerOptions

from control_plane.errors import InvalidProgramFile
from control_plane.supervisor.program_files import (
    check_program_name,
    render_program,
    write_installation,
)


def parse_as_supervisord_does(home: Path) -> ServerOptions:
    options = ServerOptions()
    options.realize(["-c", str(home / "supervisord.conf")])
    return options


def prepare(home: Path) -> Path:
    for name in ("run", "log", "collectors.d"):
        (home / name).mkdir(parents=True, exist_ok=True)
    return home


def test_supervisord_reads_what_is_written(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    write_installation(home, ["line1"], ["sim-modbus"])
    programs = {c.name: c for g in parse_as_supervisord_does(home).process_group_configs
                for c in g.process_configs}  # fmt: skip
    assert set(programs) == {"line1", "sim-modbus", "historian", "control-plane"}
    line1 = programs["line1"]
    assert line1.command.endswith(f"-m collectors run {home}/collectors.d/line1.toml --home {home}")
    assert (line1.startsecs, line1.startretries, line1.exitcodes) == (5, 3, [0, 78])
    assert line1.stopasgroup
    assert line1.killasgroup
    assert line1.redirect_stderr
    assert line1.stdout_logfile == f"{home}/log/line1.log"


def test_programs_that_are_gone_are_removed_and_foreign_files_kept(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    write_installation(home, ["line1", "line2"], [])
    foreign = home / "supervisord.conf.d" / "mine.conf"
    foreign.write_text("[program:mine]\ncommand=/bin/true\n")
    write_installation(home, ["line2"], [])
    assert {p.name for p in foreign.parent.glob("*.conf")} == {
        "line2.conf", "mine.conf", "historian.conf", "control-plane.conf",
    }  # fmt: skip


@settings(max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_no_name_can_add_anything_to_the_configuration(name: str) -> None:
    try:
        text = render_program("collector", name, Path("/srv/daq"))
    except InvalidProgramFile:
        return
    sections = [line for line in text.splitlines() if line.startswith("[")]
    assert sections == [f"[program:{name}]"]
    assert "\r" not in text


@pytest.mark.parametrize(
    "name", ["historian", "control-plane", "all", "sim-x", "A", "", "a b", "a" * 49]
)
def test_reserved_and_unusable_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidProgramFile):
        check_program_name(name, "collector")


@pytest.mark.parametrize("path", ["/a b", "relative", "/a\nb", "/a%(ENV_PATH)s"])
def test_paths_that_supervisord_would_interpret_are_refused(path: str) -> None:
    with pytest.raises(InvalidProgramFile):
        render_program("collector", "line1", Path(path))
