"""Every kind of channel against a real server, and what it says when it cannot send."""

import hashlib
import hmac
import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from notice_servers import Mailbox, Posts, http_server, smtp_server

from control_plane.alerting.view import alert_json
from control_plane.domain.alerts import (
    Alert,
    AlertEventKind,
    AlertSeverity,
    AlertState,
    Subject,
    SubjectKind,
)
from control_plane.errors import NotifyFailed
from control_plane.notify.channel_file import Channel, ChannelList, read_channel_file
from control_plane.notify.message import Told, message_of, trial_message
from control_plane.notify.senders import send

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
SECRET = "s3cret-Canary-42"
ALERT = Alert(
    id=7, rule="cpu", fingerprint="f", severity=AlertSeverity.CRITICAL, code="alert.cpu",
    subject=Subject(kind=SubjectKind.PROCESS, name="一号线\r\nBcc: x@y"), state=AlertState.FIRING,
    since=NOW, fired_at=NOW, last_change=NOW, params={"value": 91, "limit": 80},
    members=("a", "b"), evidence={"recommendations": ["restart"]},
)  # fmt: skip


def told(kind: AlertEventKind = AlertEventKind.FIRED, language: str = "zh-CN") -> Told:
    return Told(kind=kind, event=f"7:{kind}", alert=alert_json(ALERT, language))


APPRISE = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
MESSAGE = message_of([told()], "zh-CN", "plant-pc", NOW)


def read(home: Path, text: str, secret: str = SECRET, mode: int = 0o600) -> ChannelList:
    (home / "secrets").mkdir(exist_ok=True)
    (home / "log").mkdir(exist_ok=True)
    (home / "secrets" / "x").write_text(secret + "\n")
    (home / "secrets" / "x").chmod(mode)
    (home / "channels.toml").write_text(text, encoding="utf-8")
    return read_channel_file(home)


def channel(home: Path, text: str, secret: str = SECRET) -> Channel:
    found = read(home, f'[[channel]]\nname = "c"\n{text}', secret)
    assert [problem.text() for problem in found.problems] == []
    assert secret not in repr(found)
    return found.channels["c"]


def mail(port: int, more: str = "") -> str:
    return f"""
    kind = "email"
    host = "127.0.0.1"
    port = {port}
    tls = "none"
    sender = "daq@plant.local"
    recipients = ["bob@plant.local", "carol@plant.local"]
    {more}
    """


LOGIN = 'username = "daq"\npassword_file = "secrets/x"'


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server(Mailbox()) as mailbox:
        yield mailbox


@pytest.fixture
def posts() -> Iterator[Posts]:
    with http_server(Posts()) as posts:
        yield posts


def test_a_mail_arrives_whole_and_its_subject_cannot_add_headers(
    tmp_path: Path, mailbox: Mailbox
) -> None:
    send(channel(tmp_path, mail(mailbox.port)), MESSAGE)
    (got,) = mailbox.mails
    assert "bob@plant.local" in got["To"]
    assert got["Bcc"] is None
    assert got["Message-ID"] == f"<{MESSAGE.key}@daqplane.invalid>"
    text = got.get_payload(decode=True).decode("utf-8")
    assert "CPU 占单核 91 %，上限 80 %" in text
    assert "plant-pc" in text


def test_a_mail_server_that_asks_for_a_password_gets_it(tmp_path: Path) -> None:
    with smtp_server(Mailbox(password=SECRET)) as mailbox:
        send(channel(tmp_path, mail(mailbox.port, LOGIN)), MESSAGE)
        assert len(mailbox.mails) == 1
        with pytest.raises(NotifyFailed, match="535") as failed:
            send(channel(tmp_path, mail(mailbox.port, LOGIN), "wrong-pass"), MESSAGE)
        assert "wrong-pass" not in str(failed.value)


def test_the_mail_servers_own_words_come_back(tmp_path: Path) -> None:
    with (
        smtp_server(Mailbox(refuse="550 no such user here")) as mailbox,
        pytest.raises(NotifyFailed, match="550 no such user here"),
    ):
        send(channel(tmp_path, mail(mailbox.port)), MESSAGE)
    with pytest.raises(NotifyFailed, match="refused"):
        send(channel(tmp_path, mail(mailbox.port)), MESSAGE)


def test_a_mail_server_without_tls_gets_no_password(tmp_path: Path, mailbox: Mailbox) -> None:
    text = mail(mailbox.port, LOGIN).replace('tls = "none"', "")
    with pytest.raises(NotifyFailed, match="STARTTLS"):
        send(channel(tmp_path, text), MESSAGE)
    assert mailbox.mails == []


def test_a_webhook_gets_a_signed_document(tmp_path: Path, posts: Posts) -> None:
    text = f'kind = "webhook"\nurl = "{posts.url}"\nhmac_file = "secrets/x"'
    send(channel(tmp_path, text), MESSAGE)
    document, headers = json.loads(posts.bodies[0]), posts.headers[0]
    assert (document["version"], document["severity"], document["test"]) == (1, "critical", False)
    (notice,) = document["notices"]
    assert (notice["kind"], notice["alert"]["id"], notice["alert"]["rule"]) == ("fired", 7, "cpu")
    assert headers["Idempotency-Key"] == MESSAGE.key
    signed = headers["X-Daqplane-Time"].encode() + b"." + posts.bodies[0]
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Daqplane-Signature"] == f"sha256={expected}"


def test_a_webhook_takes_a_token_and_a_secret_address(tmp_path: Path, posts: Posts) -> None:
    url = f"{posts.url}?key={SECRET}"
    made = channel(tmp_path, 'kind = "webhook"\nurl_file = "secrets/x"', url)
    assert made.target == f"http://127.0.0.1:{posts.port}/…"
    send(made, MESSAGE)
    text = f'kind = "webhook"\nurl = "{posts.url}"\ntoken_file = "secrets/x"'
    send(channel(tmp_path, text), MESSAGE)
    assert posts.headers[1]["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("status", [302, 403, 500])
def test_a_webhooks_refusal_comes_back_without_the_secret(
    tmp_path: Path, posts: Posts, status: int
) -> None:
    posts.statuses, posts.answer = [status], f"no:\n token {SECRET} is wrong".encode()
    made = channel(tmp_path, 'kind = "webhook"\nurl_file = "secrets/x"', f"{posts.url}?k={SECRET}")
    with pytest.raises(NotifyFailed, match=rf"HTTP {status}: no: token \*\*\* is wrong"):
        send(made, MESSAGE)
    posts_are_closed = socket.socket()
    with posts_are_closed:
        posts_are_closed.bind(("127.0.0.1", 0))
        port = posts_are_closed.getsockname()[1]
        made = channel(
            tmp_path,
            'kind = "webhook"\nurl_file = "secrets/x"',
            f"http://127.0.0.1:{port}/{SECRET}",
        )
        with pytest.raises(NotifyFailed, match="refused") as failed:
            send(made, MESSAGE)
        assert SECRET not in str(failed.value)


def test_the_log_channel_writes_one_line_a_message_and_follows_no_link(tmp_path: Path) -> None:
    made = channel(tmp_path, 'kind = "log"')
    for _ in range(2):
        send(made, MESSAGE)
    lines = (tmp_path / "log" / "alerts.log").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["key"] for line in lines] == [MESSAGE.key] * 2
    (tmp_path / "log" / "alerts.log").unlink()
    (tmp_path / "log" / "alerts.log").symlink_to("/etc/passwd")
    with pytest.raises(NotifyFailed):
        send(made, MESSAGE)


@APPRISE
def test_apprise_sends_and_says_why_it_could_not(tmp_path: Path, posts: Posts) -> None:
    url = f"json://user:{SECRET}@127.0.0.1:{posts.port}/hook"
    made = channel(tmp_path, 'kind = "apprise"\nurl_file = "secrets/x"', url)
    assert made.target == "json://…"
    send(made, MESSAGE)
    assert "91 %" in json.loads(posts.bodies[0])["message"]
    posts.statuses = [401]
    with pytest.raises(NotifyFailed, match="401") as failed:
        send(made, MESSAGE)
    assert SECRET not in str(failed.value)
    with pytest.raises(NotifyFailed, match="apprise does not understand"):
        send(channel(tmp_path, 'kind = "apprise"\nurl_file = "secrets/x"', "nothing"), MESSAGE)


@APPRISE
@pytest.mark.parametrize(
    "url",
    [
        "dingtalk://SECxxxx@abcdefghijklmnopqrst/",
        "wecombot://12345678-1234-1234-1234-123456789012/",
        "feishu://abcdefghijklmnopqrstuvwxyz012345/",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#plant",
        "tgram://123456789:abcdefghijklmnopqrstuvwxyzABCDEFGHI/12315544/",
    ],
)
def test_apprise_knows_the_services_that_the_manual_names(url: str) -> None:
    import apprise  # noqa: PLC0415

    assert apprise.Apprise().add(url)


def test_several_notices_are_one_message() -> None:
    over = Told(
        kind=AlertEventKind.RESOLVED,
        event="7:resolved",
        alert=told().alert | {"resolved_at": NOW.isoformat(), "ending": "恢复正常"},
    )
    both = message_of([told(), over], "zh-CN", "pc", NOW)
    assert both.title.startswith("【严重】2 条通知：")
    assert "恢复正常" in both.text
    only_over = message_of([over], "en", "pc", NOW)
    assert only_over.severity is None
    assert only_over.title.startswith("[RESOLVED]")
    assert trial_message("c", "en", "pc", NOW).title == "Test of channel c"


GOOD = '[[channel]]\nname = "ops"\nkind = "log"\n'


@pytest.mark.parametrize(
    ("text", "key", "code"),
    [
        ("[[channel", "", "not_toml"),
        ("channels = 1", "channels", "unknown_key"),
        ("channel = 1", "channel", "not_a_table_list"),
        ("channel = [1]", "channel[0].kind", "not_one_of"),
        (GOOD.replace("log", "fax"), "channel[0].kind", "not_one_of"),
        (GOOD.replace("ops", "O p"), "channel[0].name", "bad_pattern"),
        (GOOD + "delay = 1", "channel[0].delay", "unknown_key"),
        (GOOD + "delay_s = 1e9", "channel[0].delay_s", "too_big"),
        (GOOD + 'min_severity = "bad"', "channel[0].min_severity", "not_one_of"),
        (GOOD + GOOD, "channel[1].name", "duplicate"),
        (GOOD.replace("log", "webhook"), "channel[0].url", "missing"),
        (GOOD.replace("log", "webhook") + 'url = "ftp://x"', "channel[0].url", "bad_pattern"),
        (GOOD.replace("log", "webhook") + 'url = "http://x"\nurl_file = "secrets/x"',
         "channel[0].url", "keys_exclude"),
        (GOOD.replace("log", "apprise") + 'url_file = "nowhere"', "channel[0].url_file",
         "missing_file"),
        ("[[channel]]\nname = 'm'\n" + mail(25, 'username = "daq"'), "channel[0].username",
         "key_needs"),
        ("[[channel]]\nname = 'm'\n" + mail(25).replace("bob@", "bob at "),
         "channel[0].recipients[0]", "bad_pattern"),
        (GOOD * 51, "channel", "list_too_long"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, key: str, code: str
) -> None:
    (problem, *_) = read(tmp_path, text).problems
    assert (problem.key, problem.code) == (key, code)
    for language in ("en", "zh-CN"):
        assert re.search(r"\{[a-z_]+\}", problem.text(language)) is None
        assert "channels.toml" in problem.text(language)


def test_a_secret_that_others_can_read_is_refused_and_the_other_channels_stay(
    tmp_path: Path,
) -> None:
    text = GOOD + '[[channel]]\nname = "chat"\nkind = "apprise"\nurl_file = "secrets/x"'
    found = read(tmp_path, text, mode=0o644)
    assert list(found.channels) == ["ops"]
    assert [problem.code for problem in found.problems] == ["open_secret"]
