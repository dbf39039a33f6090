"""No secret gets past the redactor; what is none stays readable."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.logs.known_secrets import KnownSecrets
from control_plane.logs.reader import FileLog, RedactedLog
from control_plane.logs.redaction import MASK, Redactor

PATTERNS = Redactor()
CANARY = "CANARY7secret"


@pytest.mark.parametrize(
    "line",
    [
        f'{{"event": "connect", "url": "opc.tcp://user:{CANARY}@host:4840/x"}}',
        f'{{"event": "x", "password": "{CANARY}", "n": 1}}',
        f'{{"event": "x", "tokens": ["{CANARY}", "{CANARY}"], "n": 1}}',
        f'{{"event": "x", "secret": {{"value": "{CANARY}"}}, "n": 1}}',
        json.dumps({"event": json.dumps({"password": CANARY, "n": 1})}),
        json.dumps({"event": "x", "exception": f"Traceback\n  login(password='{CANARY}')\nE: x"}),
        json.dumps({"event": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"}),
        f"Authorization: Bearer {CANARY}",
        f"('authorization', 'Basic {CANARY}')",
        f"GET /write?token={CANARY}&bucket=x",
        f"POST https://hooks.slack.com/services/T00/B00/{CANARY}",
        f"INFLUX_TOKEN={CANARY} HOME=/root",
        f"python x.py --password {CANARY} --host h",
        f"['--api-key', '{CANARY}']",
        f"login with password '{CANARY}' failed",
        f"password is {CANARY}",
        f"密码：{CANARY} 登录失败",
        f"postgresql://daq:p@{CANARY}@db:5432/daq",
        f"https://{CANARY}@host/path",
        f"Set-Cookie: session={CANARY}; HttpOnly",
        "eyJhbGciOi.eyJzdWIi.CANARY7secret",
    ],
)
def test_secrets_are_known_by_how_they_are_written(line: str) -> None:
    redacted = PATTERNS.line(line.encode())
    assert b"CANARY" not in redacted
    assert MASK in redacted
    if line.startswith("{"):
        json.loads(redacted)


@pytest.mark.parametrize(
    "line",
    [
        "password expired for user bob",
        'password_file = "/srv/run/opcua.pw"',
        '{"token": null, "is_secret": true}',
        "mail to bob@example.com, see http://host:80/path",
        "opc.tcp://host:4840/UA opened",
        '{"event": "token expired", "address": "holding:0"}',
    ],
)
def test_what_is_no_secret_stays_readable(line: str) -> None:
    assert PATTERNS.line(line.encode()).decode() == line


SECRETS = st.text(st.characters(exclude_categories=("Cs",)), min_size=6, max_size=30).filter(
    lambda text: text.strip() == text and not set(text) <= set("redacted[]\\")
)


@given(SECRETS)
def test_a_known_secret_is_found_in_every_form(secret: str) -> None:
    redactor = Redactor([secret])
    forms = [
        secret,
        quote(secret, safe=""),
        json.dumps({"event": f"x {secret} y"}),
        json.dumps({"event": f"x {secret} y"}, ensure_ascii=False),
        json.dumps({"event": json.dumps({"a": secret})}),
        "x " + base64.b64encode(secret.encode()).decode() + " y",
    ]
    for form in forms:
        line = redactor.line(form.encode())
        assert MASK in line
        assert form.encode() not in line


@given(st.binary(max_size=300))
def test_any_bytes_can_be_redacted_and_a_second_time_changes_nothing(line: bytes) -> None:
    once = PATTERNS.line(line)
    assert PATTERNS.line(once) == once


def test_a_line_of_a_megabyte_of_traps_takes_linear_time() -> None:
    # A backtracking engine needs hours for these.
    for piece in (b'password="', b"a:b@", b"://x:", b"token ", b"-----BEGIN PRIVATE KEY-----"):
        assert PATTERNS.line(piece * (1_000_000 // len(piece)))


def test_files_and_variables_of_the_installation_are_known(tmp_path: Path) -> None:
    (tmp_path / "collectors.d").mkdir()
    files = {
        "nodes.toml": '[[node]]\nname = "n"\npassword_file = "n.pw"',
        "channels.toml": '[[channel]]\nkind = "apprise"\nurl_file = "hook.url"',
        "collectors.d/a.toml": f'[connection]\npassword_file = "{tmp_path}/opcua.pw"',
        "n.pw": "secret of the node\n",
        "hook.url": "dingtalk://KEYOFDING/13800000000",
        "opcua.pw": "secret of opcua",
        "store.token": "secret of the store",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    environ = {
        "DATABASE_URL": "postgresql://daq:secret%20of%20db@host/daq",
        "DAQ_STORES": f"influx2+http://h:8086?org=o&token_file={tmp_path}/store.token",
        "INFLUX_TOKEN": "secret in a variable",
    }
    mono = 0.0
    known = KnownSecrets(tmp_path, environ, lambda: mono)
    texts = [files["n.pw"].strip(), "KEYOFDING", files["opcua.pw"], files["store.token"]]
    texts += ["secret of db", "secret%20of%20db", "secret in a variable"]
    for text in texts:
        assert known.redactor().line(f"x {text} y".encode()) == b"x [redacted] y", text
    (tmp_path / "n.pw").write_text("another secret of the node")
    mono = 3.0
    assert known.redactor().line(b"another secret of the node") == MASK


def test_a_redacted_log_hands_out_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "p.log"
    path.write_bytes(b"one\npassword=CANARY7\n")
    log = RedactedLog(FileLog(path), lambda: PATTERNS)
    tail = log.tail(10)
    assert tail.lines == (b"one", b"password=[redacted]")
    path.write_bytes(path.read_bytes() + b"token=CANARY7\n")
    assert log.after(tail.cursor, 10).lines == (b"token=[redacted]",)


@given(
    st.lists(
        st.sampled_from(
            [b"", b"one", b"password=CANARY7", b"token: x9", b"@", b"known-secret", b"A" * 60]
        ),
        max_size=8,
    )
)
def test_many_lines_are_masked_as_each_of_them_alone(lines: list[bytes]) -> None:
    redactor = Redactor(["known-secret"])
    assert redactor.lines(tuple(lines)) == tuple(redactor.line(each) for each in lines)
