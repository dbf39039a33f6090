"""Stores behind TLS: one's own certificate authority is trusted if named, and tokens are sent."""

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from store_samples import record, sample

from collectors.contract.store_urls import parse_stores
from collectors.history.read import HistoryError
from collectors.history.readers import open_reader
from collectors.history.store import StoreUnavailable
from collectors.history.stores import open_store

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")


@dataclass
class SecureServer:
    """Takes every write, knows nothing, and refuses ``/metrics``."""

    port: int
    certificate: Path
    tokens: dict[str, str] = field(default_factory=dict)
    """What came in ``Authorization``, by path."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SecureServer]:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    found = SecureServer(port=0, certificate=certificate)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            path = self.path.partition("?")[0]
            found.tokens[path] = self.headers.get("Authorization", "")
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"status":"success","data":[]}' if path == "/api/v1/series" else b""
            self.send_response(200 if body else 204)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            found.tokens[self.path] = self.headers.get("Authorization", "")
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    found.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    yield found
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_named_authority_is_trusted_and_the_token_is_sent(
    server: SecureServer, tmp_path: Path
) -> None:
    query = f"token_env=TOKEN&ca_file={server.certificate}"
    for url in (
        f"influx2+https://localhost:{server.port}/?org=o&bucket=b&{query}",
        f"vm+https://localhost:{server.port}?{query}",
    ):
        server.tokens.clear()
        store = open_store(parse_stores(url)[0], tmp_path, {"TOKEN": "secret"})
        assert store.append("line1", [record([sample(1.5)])]).stored == 1
        assert server.tokens["/api/v2/write"] == "Token secret"
        # A server that does not let us see its figures can still be written to.
        assert store.boot_id() is None
        store.close()
    assert server.tokens["/metrics"] == "Bearer secret"
    reader = open_reader(parse_stores(url)[0], tmp_path, {"TOKEN": "secret"})
    assert reader.series("line1") == []
    assert server.tokens["/api/v1/series"] == "Bearer secret"


def test_a_certificate_of_nobody_known_is_refused(server: SecureServer, tmp_path: Path) -> None:
    for url in (
        f"influx2+https://localhost:{server.port}/?org=o&bucket=b",
        f"vm+https://localhost:{server.port}",
    ):
        store = open_store(parse_stores(url)[0], tmp_path)
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            store.append("line1", [record([sample(1.5)])])
        store.close()
        with pytest.raises(HistoryError, match=r"(?i)certificate"):
            open_reader(parse_stores(url)[0], tmp_path).series("line1")
    assert server.tokens == {}
