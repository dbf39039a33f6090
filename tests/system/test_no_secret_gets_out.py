"""Secrets planted wherever an installation can hold one are in nothing that it shows or sends."""

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from log_plant import LogPlant, Writer, wait_until
from notice_servers import Posts, http_server
from simple_websocket import Client

pytestmark = pytest.mark.supervisord

MARK = "kN4ry"
"""Part of every secret; it stands nowhere else."""


def secret(number: int) -> str:
    return f"{MARK}{number:02}/q&Z=+{number * 7919:x}"


DAQPLANE = Path(sys.executable).with_name("daqplane")
CONFIGURED = {number: secret(number) for number in range(1, 6)}
"""In files and variables of the installation, in the log in every form of writing."""
SPOKEN = {number: f"{MARK}{number:02}x{number * 104729:x}" for number in range(6, 16)}
"""Known to nobody but a collector: only how they are written tells what they are."""


def log_lines() -> list[str]:
    s = SPOKEN
    trace = f"Traceback (most recent call last):\n  connect(password='{s[6]}')\nOSError: refused"
    lines = [
        json.dumps({"level": "ERROR", "event": "connect failed", "exception": trace}),
        json.dumps({"event": "settings", "opcua": {"user": "daq", "password": s[7]}}),
        json.dumps({"event": "call", "url": f"opc.tcp://daq:{s[8]}@10.0.0.5:4840/x"}),
        f"INFO: GET /write?bucket=b&token={s[9]}&org=plant HTTP/1.1",
        f"ERROR: refused, headers were {{'Authorization': 'Bearer {s[10]}'}}",
        f"WARNING: child of python x.py --password {s[11]} --host h ended",
        json.dumps({"event": json.dumps({"api_key": s[12], "n": 1})}),
        f"Set-Cookie: session={s[13]}; HttpOnly",
        f"ERROR: 密码：{s[14]} 登录失败",
        f"Traceback (most recent call last):\n  login('u', secret='{s[15]}')\nKeyError: {s[15]!r}x",
    ]
    lines[-1] = lines[-1].replace(f"KeyError: {s[15]!r}x", f"ValueError: token={s[15]}")
    for value in CONFIGURED.values():
        encoded = base64.b64encode(value.encode()).decode()
        lines += [
            f"ERROR: the server said {value} is wrong",
            json.dumps({"level": "ERROR", "event": f"said {value}", "deep": [{"x": value}]}),
            f"INFO: redirect to /x/{urllib.parse.quote(value, safe='')}",
            f"INFO: basic {encoded}",
        ]
    return lines


def plant_secrets(plant: LogPlant, posts: Posts) -> None:
    home, s = plant.home, CONFIGURED
    (home / "secrets").mkdir(mode=0o700)
    for name, number in (("opcua", 2), ("hmac", 3), ("node", 4)):
        file = home / "secrets" / name
        file.write_text(s[number])
        file.chmod(0o600)
    (home / "collectors.d" / "line1.toml").write_text(
        'name = "line1"\nprotocol = "opcua"\n[[devices]]\nid = "press1"\n'
        'url = "opc.tcp://127.0.0.1:1"\nuser = "daq"\npassword_file = "../secrets/opcua"\n'
        'points = [{ name = "t", address = "ns=2;s=t" }]\n'
    )
    (home / "channels.toml").write_text(
        f'[[channel]]\nname = "hook"\nkind = "webhook"\nurl = "{posts.url}"\n'
        'hmac_file = "secrets/hmac"\nmin_severity = "advisory"\ndelay_s = 0\ngroup_s = 0\n'
        '[[channel]]\nname = "file"\nkind = "log"\n'
    )
    (home / "nodes.toml").write_text(
        '[[node]]\nname = "line2"\nurl = "http://127.0.0.1:1"\nusername = "daq"\n'
        'password_file = "secrets/node"\n'
    )
    (home / "alerts.toml").write_text("[rule.log_errors]\nfor_s = 0\n")
    text = "import time\nfor line in LINES:\n    print(line, flush=True)\ntime.sleep(3600)\n"
    (home / "writer.py").write_text(f"LINES = {log_lines()!r}\n{text}")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[LogPlant]:
    environment = {
        "PLANT_API_TOKEN": CONFIGURED[1],
        "DAQ_STORES": "embedded: influx2+http://127.0.0.1:1/?org=o&bucket=b&token_env=INFLUX_WORD",
        "INFLUX_WORD": CONFIGURED[5],
        "DAQ_LANG": "en",
    }
    plant = LogPlant(tmp_path / "home", {"line1": Writer(count=0, per_s=1)}, environment)
    with http_server(Posts()) as posts:
        plant.prepare()
        plant_secrets(plant, posts)
        try:
            plant.start_supervisord()
            plant.start_server()
            wait_until(lambda: len(plant.get("/api/v1/processes/line1/logs")["entries"]) >= 20)
            wait_until(lambda: posts.bodies, 60)
            yield plant
        finally:
            plant.stop()
        told = b"".join(posts.bodies).decode() + str(posts.headers)
        assert leaks("notices", told) == []


def leaks(where: str, text: str) -> list[str]:
    """Return where a secret stands in a text, whatever way it is written."""
    encoded = [base64.b64encode(value.encode()).decode()[:14] for value in CONFIGURED.values()]
    found = re.findall("|".join([f".{{0,60}}{MARK}.{{0,12}}", *map(re.escape, encoded)]), text)
    return [f"{where}: {each}" for each in found]


def answers(plant: LogPlant) -> Iterator[tuple[str, str]]:
    base = "/api/v1/processes/line1"
    for path in plant.get("/api/v1/openapi.json")["paths"]:
        concrete = re.sub(r"\{[^}]*\}", "line1", path)
        yield path, plant.text(concrete)
    # Somebody looks for a secret to see where it stands: that is in the audit trail.
    looked_for = "/logs/search?text=" + urllib.parse.quote(CONFIGURED[1], safe="")
    for more in (looked_for, "/logs/download", "/logs/download?format=jsonl"):
        yield more, plant.text(base + more)
    for more in ("?tail=2000", "/search?limit=500", "/search?regex=said", "/search?level=ERROR"):
        yield more, plant.text(f"{base}/logs{more}")
    yield "metrics", plant.text("/metrics")
    yield "alerts", plant.text("/api/v1/alerts?state=all")
    yield "channel", plant.text("/api/v1/channels/hook/notices")


def frames(plant: LogPlant) -> str:
    headers = {"Authorization": f"Bearer {plant.token}"}
    ws = Client(f"ws://127.0.0.1:{plant.port}/ws", subprotocols=["daq.v1"], headers=headers)
    text = ""
    with contextlib.closing(ws):
        topics = ("process_status", "health_checks", "performance", "error_alerts", "log_streams")
        for topic in topics:
            wanted = {"name": "line1"} if topic == "log_streams" else {}
            request = {"op": "subscribe", "topic": topic, "filter": wanted, "tail": 500}
            ws.send(json.dumps(request))
        deadline = time.monotonic() + 20
        while not ("the server said" in text and text.count("snapshot") >= 4):
            assert time.monotonic() < deadline
            text += ws.receive(timeout=1) or ""
    return text


def command(plant: LogPlant, *arguments: str) -> str:
    found = subprocess.run(
        [DAQPLANE, "--home", str(plant.home), *arguments],
        env=os.environ | plant.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return found.stdout + found.stderr


def test_none_of_fifteen_secrets_is_shown_sent_or_written_by_us(plant: LogPlant) -> None:
    raw = (plant.home / "log" / "line1.log").read_text()
    planted = [*CONFIGURED.values(), *SPOKEN.values()]
    assert len(planted) == 15
    assert all(value in raw for value in planted)
    found: list[str] = []
    masks = 0
    for where, text in answers(plant):
        found += leaks(where, text)
        masks += text.count("[redacted]")
    assert masks > 100
    found += leaks("frames", frames(plant))
    for arguments in (
        ("logs", "line1", "-n", "500"),
        ("logs", "line1", "--grep", "said"),
        ("status",),
        ("status", "line1", "--json"),
        ("alerts", "--all"),
        ("doctor",),
        ("nodes",),
        ("channel", "list"),
        ("channel", "test", "hook"),
        ("audit", "list"),
        ("check", str(plant.home / "collectors.d" / "line1.toml")),
    ):
        found += leaks(" ".join(arguments), command(plant, *arguments))
    for pid in plant.pids():
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            found += leaks("arguments", " ".join(process.cmdline()))
    for file in [plant.home / "server.log", *plant.home.glob("log/[!l]*.log")]:
        found += leaks(file.name, file.read_text())
    for file in plant.home.glob("state.db*"):
        found += leaks(file.name, file.read_bytes().decode("latin-1"))
    assert found == []
