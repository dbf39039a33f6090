"""Every sentence that people can meet exists in both languages, with the same placeholders."""

import json
import re
import string
from pathlib import Path

import pytest

from collectors.contract.messages import LANGUAGES, sentence
from control_plane.errors import ControlPlaneError

ROOT = Path(__file__).parents[2]
PACKAGES = sorted({path.parent for path in ROOT.glob("[cs]*/**/messages.*.json")})


def load(package: Path, language: str) -> dict[str, str]:
    return json.loads((package / f"messages.{language}.json").read_text(encoding="utf-8"))


def placeholders(text: str) -> set[str]:
    # The Chinese text of a nested sentence travels under its own name.
    names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
    return {name.removesuffix("_zh") for name in names}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_both_languages_have_the_same_sentences_and_placeholders(package: Path) -> None:
    english, chinese = (load(package, language) for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    differing = [c for c in english if placeholders(english[c]) != placeholders(chinese[c])]
    assert differing == []
    words = {code: re.sub(r"{[a-z_]*}", "", text) for code, text in english.items()}
    untranslated = [c for c in english if english[c] == chinese[c] and re.search("[a-z]", words[c])]
    # Names of products stay as they are.
    assert set(untranslated) <= {"doctor.python"}


def all_errors(base: type[ControlPlaneError] = ControlPlaneError) -> list[type[ControlPlaneError]]:
    return [base, *(found for sub in base.__subclasses__() for found in all_errors(sub))]


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_has_its_sentence(error: type[ControlPlaneError]) -> None:
    for language in LANGUAGES:
        assert sentence("control_plane", f"problem.{error.code}", {}, language)


def test_every_code_that_the_control_plane_uses_is_in_its_catalogue() -> None:
    source = "\n".join(p.read_text() for p in sorted((ROOT / "control_plane").rglob("*.py")))
    checks = re.findall(r'_(?:healthy|warning|critical|unknown)\(\s*kind,\s*"([a-z_.]+)"', source)
    findings = re.findall(r'\b(?:ok|finding)\(\s*(?:"(?:ok|warn|fail)", )?"([a-z_]+)"', source)
    said = re.findall(r'\bsay\("([a-z_]+)"', source)
    looked_up = re.findall(r'_t\("([a-z_.]+)"', source)
    used = {
        *(f"check.{code}" for code in checks),
        *(f"doctor.{code}" for code in findings),
        *(f"cli.{code}" for code in said),
        *looked_up,
    }
    assert len(checks) > 15
    assert len(said) > 8
    assert used - load(ROOT / "control_plane", "en").keys() == set()


def test_a_missing_value_stays_visible() -> None:
    assert "{name}" in sentence("control_plane", "problem.busy", {})


def test_no_sentence_of_a_check_is_left_over() -> None:
    source = (ROOT / "control_plane" / "health" / "checks.py").read_text(encoding="utf-8")
    listed = {c for c in load(ROOT / "control_plane", "en") if c.startswith("check.")}
    assert {code for code in listed if f'"{code.removeprefix("check.")}"' not in source} == set()
