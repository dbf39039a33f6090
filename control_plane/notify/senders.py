"""Sends one message through one channel. To add a kind of channel: its entry in
:mod:`control_plane.notify.channel_file`, a function here, and its line in ``SENDERS``."""

import contextlib
import hmac
import json
import logging
import os
import smtplib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import asdict
from email.message import EmailMessage
from typing import Any, Final

import urllib3

from control_plane.errors import NotifyFailed
from control_plane.notify.channel_file import (
    AppriseEntry,
    Channel,
    EmailEntry,
    LogEntry,
    WebhookEntry,
)
from control_plane.notify.message import Message

_TIMEOUT_S: Final = 15.0
_ANSWER_CHARACTERS: Final = 200
_SHORTEST_SUBJECT: Final = 200


def send(channel: Channel, message: Message) -> None:
    """Send, and return when the other side has taken it.

    Raises:
        NotifyFailed: what went wrong, as the other side says it; no secret is in it.
    """
    try:
        SENDERS[channel.entry.kind](channel, message)
    except (OSError, ValueError, smtplib.SMTPException, urllib3.exceptions.HTTPError) as exc:
        reason = channel.secrets.masked(_reason(exc))
        raise NotifyFailed(channel=channel.name, reason=reason) from None


def _email(channel: Channel, message: Message) -> None:
    entry = channel.entry
    assert isinstance(entry, EmailEntry)
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.title.split())[:_SHORTEST_SUBJECT]
    mail["From"] = entry.sender
    mail["To"] = ", ".join(entry.recipients)
    mail["Date"] = message.at
    # The same notices have the same id, so that a mail that is sent again can be told.
    mail["Message-ID"] = f"<{message.key}@daqplane.invalid>"
    mail.set_content(message.text)
    context = ssl.create_default_context()
    if entry.tls == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            entry.host, entry.port, timeout=_TIMEOUT_S, context=context
        )
    else:
        smtp = smtplib.SMTP(entry.host, entry.port, timeout=_TIMEOUT_S)
    with contextlib.closing(smtp):
        if entry.tls == "starttls":
            smtp.starttls(context=context)
        if entry.username is not None:
            smtp.login(entry.username, channel.secrets["password_file"])
        if refused := smtp.send_message(mail):
            raise smtplib.SMTPRecipientsRefused(refused)
        with contextlib.suppress(smtplib.SMTPException, OSError):
            smtp.quit()  # The mail is on its way, whatever becomes of the connection.


def _webhook(channel: Channel, message: Message) -> None:
    entry, secrets = channel.entry, channel.secrets
    assert isinstance(entry, WebhookEntry)
    body = json.dumps(_document(message), ensure_ascii=False).encode("utf-8", "replace")
    sent_at = str(round(message.at.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "daqplane",
        "Idempotency-Key": message.key,
        "X-Daqplane-Time": sent_at,
    }
    if "hmac_file" in secrets:
        signed = hmac.digest(
            secrets["hmac_file"].encode(), sent_at.encode() + b"." + body, "sha256"
        )
        headers["X-Daqplane-Signature"] = f"sha256={signed.hex()}"
    if "token_file" in secrets:
        headers["Authorization"] = f"Bearer {secrets['token_file']}"
    with urllib3.PoolManager(retries=False, timeout=_TIMEOUT_S) as pool:
        answer = pool.request(
            "POST",
            entry.url or secrets["url_file"],
            body=body,
            headers=headers,
            redirect=False,
            preload_content=False,
        )
        text = answer.read(_ANSWER_CHARACTERS).decode("utf-8", "replace")
        answer.release_conn()
    if not 200 <= answer.status < 300:
        raise ValueError(f"HTTP {answer.status}: {' '.join(text.split())}".rstrip(": "))


def _document(message: Message) -> Mapping[str, Any]:
    return {
        "version": 1,
        "key": message.key,
        "sender": message.sender,
        "sent_at": message.at.isoformat().replace("+00:00", "Z"),
        "title": message.title,
        "text": message.text,
        "severity": message.severity,
        "test": not message.told,
        "notices": [asdict(each) for each in message.told],
    }


def _log_file(channel: Channel, message: Message) -> None:
    entry = channel.entry
    assert isinstance(entry, LogEntry)
    line = json.dumps(_document(message), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    file = os.open(channel.home / entry.file, flags, 0o640)
    try:
        # One write, so that lines of two processes do not mix.
        if os.write(file, line) != len(line):
            raise OSError(f"{entry.file}: the disk is full")
    finally:
        os.close(file)


def _apprise(channel: Channel, message: Message) -> None:
    assert isinstance(channel.entry, AppriseEntry)
    # Half a second and 46 MB, so only where a channel needs it.
    import apprise  # noqa: PLC0415

    service = apprise.Apprise()
    if not service.add(channel.secrets["url_file"]):
        raise ValueError("apprise does not understand the URL in url_file")
    kinds = {"critical": "failure", "warning": "warning", "advisory": "info"}
    kind = kinds.get(str(message.severity), "success" if message.told else "info")
    capture = apprise.LogCapture(level=logging.WARNING, fmt="%(message)s")  # type: ignore[no-untyped-call]
    with capture as captured:
        done = service.notify(title=message.title, body=message.text, notify_type=kind)
        said = captured.getvalue() if captured else ""
    if not done:
        raise ValueError(" ".join(said.split()) or "apprise could not send, and does not say why")


SENDERS: Final[Mapping[str, Callable[[Channel, Message], None]]] = {
    "email": _email,
    "webhook": _webhook,
    "log": _log_file,
    "apprise": _apprise,
}


def _reason(exc: Exception) -> str:
    match exc:
        case smtplib.SMTPRecipientsRefused():
            return "; ".join(
                f"{who}: {code} {_text(why)}" for who, (code, why) in exc.recipients.items()
            )
        case smtplib.SMTPResponseException():
            return f"{exc.smtp_code} {_text(exc.smtp_error)}"
        case urllib3.exceptions.NewConnectionError():
            return str(exc)  # By its class it would be a timeout.
        case urllib3.exceptions.TimeoutError():
            return f"no answer within {_TIMEOUT_S:.0f} s"
        case OSError() if exc.strerror:
            return exc.strerror
        case _:
            return str(exc) or type(exc).__name__


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
