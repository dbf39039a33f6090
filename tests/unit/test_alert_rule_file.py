"""alerts.toml: what is refused is named, and everything else holds."""

import re
from pathlib import Path

import pytest
from alert_samples import CRASHED, Plant, facts, status

from collectors.contract.messages import LANGUAGES, catalogue
from control_plane.alerting.limits import DEFAULT_RULES, AlertLimits
from control_plane.alerting.rule_file import RuleFile, read_rule_file
from control_plane.domain.alerts import AlertSeverity

GOOD = """
[alerts]
repeat_s = 600
gateway_collectors = 5

[rule.cpu]
threshold = 60
for_s = 30
severity = "critical"

[[override]]
rule = "cpu"
subject = "line1-*"
threshold = 95
"""


def read(home: Path, text: str) -> RuleFile:
    (home / "alerts.toml").write_text(text, encoding="utf-8")
    return read_rule_file(home / "alerts.toml")


def test_without_the_file_the_built_in_limits_hold(tmp_path: Path) -> None:
    found = read_rule_file(tmp_path / "alerts.toml")
    assert (found.limits, found.problems) == (AlertLimits(), ())


def test_limits_change_for_all_and_for_some(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.problems == ()
    limits = found.limits
    assert (limits.repeat_s, limits.gateway_collectors) == (600.0, 5)
    assert limits.threshold("cpu", "press") == 60.0
    assert limits.threshold("cpu", "line1-press") == 95.0
    of = limits.of("cpu", "line1-press")
    assert (of.for_s, of.severity) == (30.0, AlertSeverity.CRITICAL)
    assert limits.of("memory", "x") == DEFAULT_RULES["memory"]


@pytest.mark.parametrize(
    ("text", "key", "code"),
    [
        ("[rule", "", "not_toml"),
        ("[rules.cpu]\nthreshold = 1", "rules", "unknown_key"),
        ("[rule.cpuu]\nthreshold = 1", "rule.cpuu", "unknown_key"),
        ("[rule.cpu]\ntreshold = 1", "rule.cpu.treshold", "unknown_key"),
        ("[rule.cpu]\nthreshold = -1", "rule.cpu.threshold", "too_small"),
        ("[rule.cpu]\nfor_s = 1e9", "rule.cpu.for_s", "too_big"),
        ("[rule.cpu]\nfor_s = nan", "rule.cpu.for_s", "not_number"),
        ("[rule.cpu]\nhard_after = 1.5", "rule.cpu.hard_after", "not_integer"),
        ('[rule.cpu]\nseverity = "bad"', "rule.cpu.severity", "not_one_of"),
        ("rule = 1", "rule", "invalid"),
        ("rule.cpu = 1", "rule.cpu", "invalid"),
        ("alerts = 1", "alerts", "invalid"),
        ("[alerts]\nrepeat = 1", "alerts.repeat", "unknown_key"),
        ("override = 1", "override", "not_a_table_list"),
        ('[[override]]\nrule = "cpuu"\nsubject = "*"', "override[0].rule", "not_one_of"),
        ('[[override]]\nrule = "cpu"', "override[0].subject", "missing"),
        ('[[override]]\nrule="cpu"\nsubject="*"\nx=1', "override[0].x", "unknown_key_far"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, key: str, code: str
) -> None:
    (problem, *_) = read(tmp_path, text).problems
    assert (problem.key, problem.code) == (key, code)
    for language in ("en", "zh-CN"):
        assert re.search(r"\{[a-z_]+\}", problem.text(language)) is None
        assert "alerts.toml" in problem.text(language)


def test_a_bad_part_leaves_the_good_ones(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD + "\n[rule.disk]\nthreshold = true\nx = 1\n[nothing]\n")
    assert len(found.problems) == 2
    assert found.limits.threshold("cpu", "press") == 60.0
    assert found.limits.of("disk", "local") == DEFAULT_RULES["disk"]


def test_a_severity_and_a_switch_take_effect(tmp_path: Path) -> None:
    text = """
    [rule.process_state]
    severity = "advisory"
    [[override]]
    rule = "process_state"
    subject = "lab-*"
    enabled = false
    """
    plant = Plant(limits=read(tmp_path, text).limits)
    events = plant.look(facts(status("line1", CRASHED), status("lab-1", CRASHED)))
    assert [(e.alert.subject.name, e.alert.severity) for e in events] == [
        ("line1", AlertSeverity.ADVISORY)
    ]


def test_every_rule_has_its_name_in_both_languages_and_no_sentence_is_left_over() -> None:

    root = Path(__file__).parents[2] / "control_plane" / "alerting"
    source = "\n".join(path.read_text(encoding="utf-8") for path in root.glob("*.py"))
    for language in LANGUAGES:
        listed = catalogue("control_plane.alerting", language)
        assert {c for c in listed if c.startswith("rule.")} == {f"rule.{r}" for r in DEFAULT_RULES}
        said = [c.removeprefix("alert.") for c in listed if c.startswith("alert.")]
        assert [c for c in said if f'"alert.{c}"' not in source and f'"{c}"' not in source] == []
