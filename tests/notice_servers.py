"""Real servers on this machine that take what channels send: SMTP and HTTP."""

import asyncio
import contextlib
import http.server
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass
class Mailbox:
    """What an SMTP server took; ``refuse`` is its answer to every recipient, if any."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    refuse: str = ""
    password: str = ""


class _Handler(MessageHandler):
    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__()
        self._mailbox = mailbox

    def handle_message(self, message: Message) -> None:
        self._mailbox.mails.append(message)

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if self._mailbox.refuse:
            return self._mailbox.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"


@contextlib.contextmanager
def smtp_server(mailbox: Mailbox) -> Iterator[Mailbox]:
    """Serve on a free port of 127.0.0.1; asks for a password if the mailbox has one."""
    loop = asyncio.new_event_loop()

    def judge(_s: Any, _se: Any, _e: Any, _mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password.decode() == mailbox.password
        return AuthResult(success=good, handled=False)

    def serve() -> SMTP:
        if not mailbox.password:
            return SMTP(_Handler(mailbox), loop=loop)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That a password in the clear is unwise.
            return SMTP(
                _Handler(mailbox),
                loop=loop,
                authenticator=judge,
                auth_required=True,
                auth_require_tls=False,
            )

    server = loop.run_until_complete(loop.create_server(serve, "127.0.0.1", mailbox.port))
    mailbox.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, name="smtp-server")
    thread.start()
    try:
        yield mailbox
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.AbstractServer) -> None:
    server.close()
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    await asyncio.sleep(0)


@dataclass
class Posts:
    """What an HTTP server was sent; it answers with ``statuses``, the last one for ever."""

    port: int = 0
    statuses: list[int] = field(default_factory=lambda: [200])
    answer: bytes = b"ok"
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextlib.contextmanager
def http_server(posts: Posts) -> Iterator[Posts]:
    """Serve on a free port of 127.0.0.1."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = posts.statuses.pop(0) if len(posts.statuses) > 1 else posts.statuses[0]
            posts.bodies.append(body)
            posts.headers.append(dict(self.headers))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", str(len(posts.answer)))
            self.end_headers()
            self.wfile.write(posts.answer)

        def log_message(self, *_arguments: object) -> None:
            """Silence."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", posts.port), Handler)
    posts.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, name="http-server")
    thread.start()
    try:
        yield posts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
