"""docs/security.md promises a proof for each threat: each must be a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "security.md"
ROW = re.compile(
    r"^\| \*\*[STRIDE]\*\* (?P<threat>[^|]+)\|(?P<control>[^|]+)\|(?P<proofs>[^|]+)\|$"
)
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_threat_has_a_control_and_proofs_that_exist() -> None:
    rows = [ROW.match(line) for line in DOCUMENT.read_text(encoding="utf-8").splitlines()]
    threats = [row for row in rows if row is not None]
    assert len(threats) >= 25
    missing = []
    for row in threats:
        proofs = PROOF.findall(row["proofs"])
        assert row["control"].strip(), row["threat"]
        assert proofs, row["threat"]
        for file, name in proofs:
            path = ROOT / file
            if not path.is_file() or f"\ndef {name}(" not in path.read_text(encoding="utf-8"):
                missing.append(f"{file}::{name}")
    assert missing == []


def test_each_letter_of_stride_is_thought_of() -> None:
    letters = re.findall(r"^\| \*\*(\w)\*\* ", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(letters) == set("STRIDE")


def test_the_documents_that_it_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)", DOCUMENT.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (DOCUMENT.parent / link).exists()] == []
