"""Real time series servers on a free port, and a shim between two of InfluxDB's APIs.

``.ci/system.sh`` unpacks both from Debian into ``.engines``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

_UNPACKED = Path(__file__).parents[1] / ".engines" / "usr" / "bin"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_START_DEADLINE_S = 20.0


def find_engine(name: str) -> str | None:
    """Return the path of a server's program, ``None`` if this machine has none."""
    return shutil.which(name, path=f"{_UNPACKED}{os.pathsep}{os.environ.get('PATH', '')}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, data: bytes | None = None, **query: str) -> bytes:
    asked = f"{url}?{urllib.parse.urlencode(query)}" if query else url
    with _DIRECT.open(urllib.request.Request(asked, data=data), timeout=10) as answer:
        body: bytes = answer.read()
        return body


class Engine:
    """A server process that can be killed and started again on the same port and files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def ready_path(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        with (self.directory / "output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env=os.environ | self.environment(),
            )
        deadline = time.monotonic() + _START_DEADLINE_S
        while True:
            try:
                get(self.url + self.ready_path())
                return
            except OSError:
                assert self.process.poll() is None, (self.directory / "output").read_text()
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash does."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()


class VictoriaMetrics(Engine):
    """Shows what was sent twice once, and takes any time since 1970."""

    def command(self) -> list[str]:
        return [
            str(find_engine("victoria-metrics")),
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-storageDataPath={self.directory / 'data'}",
            "-dedup.minScrapeInterval=1ms",
            "-retentionPeriod=100y",
            "-memory.allowedBytes=128MB",
        ]

    def ready_path(self) -> str:
        return "/health"

    def flush(self) -> None:
        """Make what was written visible to readers at once."""
        get(f"{self.url}/internal/force_flush")

    def export(self, selector: str = '{__name__!=""}') -> list[dict[str, Any]]:
        """Return every series with all of its values."""
        self.flush()
        query = {"match[]": selector, "start": "0", "end": "4102444800"}
        lines = get(f"{self.url}/api/v1/export", **query).splitlines()
        return [json.loads(line) for line in lines]


class InfluxOne(Engine):
    """InfluxDB 1.6, whose storage engine and errors are those of 2; see :class:`Shim`."""

    def command(self) -> list[str]:
        return [str(find_engine("influxd")), "run", "-config", os.devnull]

    def environment(self) -> dict[str, str]:
        directory = self.directory
        return {
            "INFLUXDB_REPORTING_DISABLED": "true",
            "INFLUXDB_BIND_ADDRESS": "127.0.0.1:0",
            "INFLUXDB_META_DIR": str(directory / "meta"),
            "INFLUXDB_DATA_DIR": str(directory / "data"),
            "INFLUXDB_DATA_WAL_DIR": str(directory / "wal"),
            "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{self.port}",
            "INFLUXDB_MONITOR_STORE_ENABLED": "false",
        }

    def ready_path(self) -> str:
        return "/ping"

    def query(self, text: str) -> list[dict[str, Any]]:
        """Return the series that an InfluxQL query gives."""
        data = urllib.parse.urlencode({"q": text, "db": "plant", "epoch": "ns"}).encode()
        result: dict[str, Any] = json.loads(get(f"{self.url}/query", data))["results"][0]
        assert "error" not in result, result
        series: list[dict[str, Any]] = result.get("series", [])
        return series


class _ShimHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: ClassVar[str]

    def do_POST(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if url.path != "/api/v2/write":
            self.answer(404, {"code": "not found", "message": "path not found"})
            return
        precision = {"ns": "n"}.get(query["precision"], query["precision"])
        asked = urllib.parse.urlencode({"db": query["bucket"], "precision": precision})
        request = urllib.request.Request(f"{self.target}/write?{asked}", data=body)
        try:
            with _DIRECT.open(request, timeout=10):
                self.answer(204, None)
        except urllib.error.HTTPError as exc:
            self.answer(exc.code, {"code": "invalid", "message": json.load(exc)["error"]})
        except OSError as exc:
            self.answer(503, {"code": "unavailable", "message": str(exc)})

    def answer(self, status: int, document: dict[str, str] | None) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


class Server:
    """An HTTP server of a test's own, on a port of the kernel's choice."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def shim_before(engine: InfluxOne) -> Server:
    """Answer ``/api/v2/write`` of InfluxDB 2 with ``/write`` of InfluxDB 1, errors in 2's form."""
    return Server(type("Handler", (_ShimHandler,), {"target": engine.url}))
