"""The documented configurations of reverse proxies, each run by the real program."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from served import Served, answers, free_port, make_certificate, serving, upgrade

from control_plane.auth.permissions import Actor, Role
from control_plane.console import build_console
from control_plane.settings import load_settings

DOCUMENTED = Path(__file__).parents[2] / "docs" / "deployment"
NAME = "daq.example.com"
PASSWORD = "a long password"
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
CLIENT = "127.0.0.2"
"""Another address of this machine, which is no trusted proxy."""


def nginx(directory: Path, port: int, other: int, text: str) -> list[str]:
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    text = text.replace("listen 80", f"listen 127.0.0.1:{other}")
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = directory / "nginx.conf"
    file.write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{text}\n}}\n"
    )
    return ["nginx", "-c", str(file), "-p", str(directory), "-e", str(directory / "error.log")]


def caddy(directory: Path, port: int, other: int, text: str) -> list[str]:
    head = f"{{\n\tadmin off\n\thttp_port {other}\n\thttps_port {port}\n}}\n"
    text = text.replace(f"{NAME} {{", f"{NAME}:{port} {{\n\tbind 127.0.0.1")
    file = directory / "Caddyfile"
    file.write_text(head + text)
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]


PROXIES = {"nginx": ("nginx.conf", nginx), "caddy": ("Caddyfile", caddy)}


@contextmanager
def running(program: str, directory: Path, behind: int) -> Iterator[Served]:
    """Run the documented configuration before the server at port ``behind``."""
    cert, _ = make_certificate(directory / "tls", NAME)
    port, other = free_port(), free_port()
    documented, command_of = PROXIES[program]
    text = (DOCUMENTED / documented).read_text()
    text = text.replace("/etc/daqplane/", f"{directory}/tls/")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{behind}")
    command = command_of(directory, port, other, text)
    with (directory / "output").open("wb") as output:
        home = {"HOME": str(directory), "PATH": "/usr/sbin:/usr/bin:/bin"}
        process = subprocess.Popen(command, stdout=output, stderr=output, env=home, cwd=directory)
    served = Served(process=process, port=port, certificate=cert, name=NAME, source=CLIENT)
    try:
        deadline = time.monotonic() + 15
        while not answers(served):
            assert process.poll() is None, (directory / "output").read_text()
            assert time.monotonic() < deadline, (directory / "output").read_text()
            time.sleep(0.05)
        yield served
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("program", PROXIES)
def test_the_documented_proxy_hands_on_who_asks_and_how(program: str, tmp_path: Path) -> None:
    if shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install {program})")
    home = tmp_path / "home"
    home.mkdir()
    console = build_console(load_settings({"DAQ_HOME": str(home)}))
    console.account_commands.add_user(ME, "bob", Role.OPERATOR, PASSWORD)
    trusted = {"DAQ_TRUSTED_PROXIES": "127.0.0.1", "DAQ_HOSTS": NAME}
    with serving(home, **trusted) as behind, running(program, tmp_path, behind.port) as proxy:
        origin = f"https://{NAME}:{proxy.port}"
        answer = proxy.ask(
            "POST",
            "/api/v1/session",
            {"username": "bob", "password": PASSWORD},
            X_Forwarded_For="203.0.113.1",
            X_Forwarded_Proto="http",
            Origin=origin,
        )
        assert answer.status == 200, answer.body
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-")
        assert "; Secure" in cookie
        signed_in = {"Cookie": cookie.partition(";")[0], "X_CSRF_Token": answer.json["csrf_token"]}
        (session,) = proxy.ask("GET", "/api/v1/sessions", **signed_in).json["sessions"]
        # Not what the client claims, and not the proxy.
        assert session["origin"] == CLIENT
        upgrade(proxy, signed_in["Cookie"]).close()
        assert proxy.ask("DELETE", "/api/v1/session", **signed_in, Origin=origin).status == 204
        assert proxy.ask("GET", "/api/v1/processes", **signed_in).status == 401
