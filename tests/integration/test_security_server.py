"""Attacks on the real server over real sockets: each is refused, and others are served."""

import re
import secrets
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, make_certificate, serving, upgrade

from control_plane.auth.permissions import Actor, Role
from control_plane.console import Console, build_console
from control_plane.errors import SettingsError
from control_plane.settings import load_settings
from control_plane.tls import ServerContexts, server_context

PASSWORD = "a long password"
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")


def console_of(home: Path) -> Console:
    return build_console(load_settings({"DAQ_HOME": str(home)}))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    commands = console_of(home).account_commands
    for name, role in (("alice", Role.ADMIN), ("bob", Role.OPERATOR)):
        commands.add_user(ME, name, role, PASSWORD)
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Served]:
    """Behind a proxy of this machine that is trusted: each test comes from its own address."""
    with serving(home, DAQ_TRUSTED_PROXIES="127.0.0.1", DAQ_HOSTS="daq.example.com") as served:
        yield served


def sign_in(served: Served, name: str, password: str = PASSWORD, **headers: str) -> Any:
    body = {"username": name, "password": password}
    return served.ask("POST", "/api/v1/session", body, **headers)


def signed_in(served: Served, name: str, **headers: str) -> dict[str, str]:
    """Return the headers by which a browser shows that it is signed in."""
    answer = sign_in(served, name, **headers)
    assert answer.status == 200, answer.body
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return {"Cookie": cookie, "X_CSRF_Token": answer.json["csrf_token"], **headers}


def test_guesses_at_a_password_end_soon_cost_little_and_hold_up_nobody_else(
    server: Served,
) -> None:
    before = server.memory_bytes()
    statuses: list[int] = []
    attacker = {"X_Forwarded_For": "203.0.113.9"}

    def guess(number: int) -> None:
        for turn in range(10):
            answer = sign_in(server, "alice", f"guess {number} {turn}", **attacker)
            statuses.append(answer.status)

    guessers = [threading.Thread(target=guess, args=(number,)) for number in range(10)]
    for guesser in guessers:
        guesser.start()
    began = time.monotonic()
    # alice herself, from her own desk.
    assert sign_in(server, "alice", X_Forwarded_For="198.51.100.7").status == 200
    took_s = time.monotonic() - began
    for guesser in guessers:
        guesser.join()
    counted = Counter(statuses)
    assert counted.keys() == {401, 429}
    assert counted[401] <= 5
    assert took_s < 5
    # Two hashes at a time take 64 MiB each.
    assert server.memory_bytes() - before < 200 << 20
    assert sign_in(server, "alice", **attacker).json["code"] in ("rate_limited", "client_banned")


def test_guesses_from_everywhere_at_once_leave_threads_for_everybody_else(server: Served) -> None:
    before = server.memory_bytes()
    statuses: list[int] = []
    start = threading.Barrier(41)

    def guess(number: int) -> None:
        start.wait()
        address = {"X_Forwarded_For": f"203.0.114.{number}"}
        statuses.append(sign_in(server, f"user{number}", "guess", **address).status)

    guessers = [threading.Thread(target=guess, args=(number,)) for number in range(40)]
    for guesser in guessers:
        guesser.start()
    start.wait()
    worst_s = 0.0
    while any(guesser.is_alive() for guesser in guessers):
        began = time.monotonic()
        assert server.ask("GET", "/healthz").status == 200
        worst_s = max(worst_s, time.monotonic() - began)
    counted = Counter(statuses)
    assert counted.keys() == {401, 429}
    assert worst_s < 5
    assert server.memory_bytes() - before < 200 << 20


def test_an_address_that_anybody_may_claim_does_not_raise_the_limit(home: Path) -> None:
    with serving(home) as served:
        answers = [
            sign_in(served, "bob", "wrong", X_Forwarded_For=f"203.0.113.{n}") for n in range(8)
        ]
    assert [answer.status for answer in answers] == [401] * 5 + [429] * 3


def test_a_page_of_another_site_can_change_nothing(server: Served) -> None:
    bob = signed_in(server, "bob", X_Forwarded_For="198.51.100.8")
    path = "/api/v1/maintenance"
    body = {"process": "*", "minutes": 5, "reason": "x"}
    assert server.ask("POST", path, body, **bob).status == 200
    cookie = {"Cookie": bob["Cookie"], "X_Forwarded_For": bob["X_Forwarded_For"]}
    refused = [
        server.ask("POST", path, body, **cookie),
        server.ask("POST", path, body, **cookie | {"X_CSRF_Token": "wrong"}),
        server.ask("POST", path, body, **bob, Origin="https://evil.example"),
        server.ask("POST", path, body, **bob, Origin="null"),
        server.ask("POST", path, body, **bob, Sec_Fetch_Site="cross-site"),
        server.ask("POST", path, body, **bob, Sec_Fetch_Site="same-site"),
        server.ask("POST", path, b"process=*", **cookie | {"Content_Type": "text/plain"}),
        server.ask("DELETE", "/api/v1/session", **cookie),
    ]
    assert {(answer.status, answer.json["code"]) for answer in refused} == {(403, "csrf")}
    signing_in = sign_in(server, "bob", Origin="https://evil.example")
    assert (signing_in.status, signing_in.json["code"]) == (403, "csrf")
    # A form cannot send JSON, and nothing changes by GET.
    form = "application/x-www-form-urlencoded"
    posted = server.ask("POST", path, b"process=*", **bob, Content_Type=form)
    assert posted.status in (400, 415)
    assert server.ask("GET", "/api/v1/processes/line1/stop", **bob).status in (404, 405)


def test_a_session_id_that_somebody_else_chose_is_never_taken(server: Served) -> None:
    chosen = f"daq_session_{server.port}=chosen"
    answer = sign_in(server, "bob", Cookie=chosen, X_Forwarded_For="198.51.100.9")
    assert answer.status == 200
    assert "chosen" not in answer.headers["Set-Cookie"]
    assert server.ask("GET", "/api/v1/processes", Cookie=chosen).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/..%2f..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/../../../setup.cfg", "/assets/%2e%2e/%2e%2e/setup.cfg", "//etc/passwd",
        "/assets/..%5c..%5csetup.cfg", "/assets/%00", "/%2fetc%2fpasswd", "/assets//etc/passwd",
        "/api/v1/processes/..%2f..%2f..%2fetc%2fpasswd/logs",
        "/api/v1/processes/%2e%2e%2fserver/logs/download", "/api/v1/collectors/..%2fstate/config",
    ],
)  # fmt: skip
def test_no_address_leads_out_of_the_panel_or_the_logs(server: Served, path: str) -> None:
    bob = signed_in(server, "bob", X_Forwarded_For=f"198.51.101.{secrets.randbelow(250)}")
    answer = server.ask("GET", path, **bob)
    assert b"root:" not in answer.body
    assert b"[metadata]" not in answer.body
    if path.startswith("/api/"):
        assert answer.status in (400, 404, 422)
    elif answer.status == 200:  # the panel shows its own page for addresses that it does not know
        assert b"<!doctype html>" in answer.body.lower()
    else:
        assert answer.status in (308, 400, 404, 503)


def test_only_names_of_this_server_are_answered(server: Served) -> None:
    for host, status in (
        ("daq.example.com", 200), ("localhost", 200), ("evil.example", 400), ("", 400),
    ):  # fmt: skip
        assert server.ask("GET", "/healthz", Host=host).status == status, host


def test_headers_let_browsers_run_nothing_but_the_panel_itself(server: Served) -> None:
    for path in ("/", "/healthz", "/api/v1/session", "/nothing"):
        headers = server.ask("GET", path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert server.ask("GET", "/api/v1/session").headers["Cache-Control"] == "no-store"


def test_a_cookie_behind_tls_is_for_this_host_and_tls_alone(server: Served) -> None:
    facts = {"X_Forwarded_For": "198.51.100.10", "X_Forwarded_Proto": "https"}
    answer = sign_in(server, "bob", **facts)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"__Host-daq_session_{server.port}=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
    shown = {"Cookie": cookie.partition(";")[0]}
    assert server.ask("GET", "/api/v1/processes", **shown, **facts).status == 200
    # Without TLS, that cookie is not even looked at.
    assert server.ask("GET", "/api/v1/processes", **shown).status == 401


def test_the_set_up_link_works_once_though_many_try_it_at_once(tmp_path: Path) -> None:
    token = console_of(tmp_path).account_commands.new_setup_token(ME)
    with serving(tmp_path) as served:
        assert served.ask("GET", "/api/v1/session").json["setup_required"] is True
        assert served.ask("GET", "/api/v1/processes").status == 401
        wrong = {"token": "wrong", "username": "mallory", "password": PASSWORD}
        assert served.ask("POST", "/api/v1/setup", wrong).json["code"] == "bad_setup_token"
        answers: list[tuple[int, str]] = []

        def try_it(name: str) -> None:
            body = {"token": token, "username": name, "password": PASSWORD}
            answer = served.ask("POST", "/api/v1/setup", body)
            answers.append((answer.status, answer.json.get("code", "")))

        crowd = [threading.Thread(target=try_it, args=(f"user{n}",)) for n in range(4)]
        for each in crowd:
            each.start()
        for each in crowd:
            each.join()
        assert sorted(answers) == [(200, "")] + [(403, "bad_setup_token")] * 3
        assert served.ask("GET", "/api/v1/session").json["setup_required"] is False
    assert len(console_of(tmp_path).accounts.users()) == 1


@pytest.fixture(scope="module")
def tls(home: Path) -> Iterator[Served]:
    cert, key = make_certificate(home / "tls")
    files = {"DAQ_TLS_CERT": str(cert), "DAQ_TLS_KEY": str(key)}
    with serving(home, certificate=cert, **files) as served:
        yield served


def test_the_server_speaks_tls_itself(tls: Served) -> None:
    answer = sign_in(tls, "bob")
    assert answer.headers["Set-Cookie"].startswith("__Host-")
    shown = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    assert tls.ask("GET", "/api/v1/processes", **shown).status == 200
    with tls.connect() as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.version() in ("TLSv1.2", "TLSv1.3")
    old = ssl.create_default_context(cafile=str(tls.certificate))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    refused = pytest.raises((ssl.SSLError, ConnectionResetError))
    with socket.create_connection(("127.0.0.1", tls.port), 10) as plain, refused:
        old.wrap_socket(plain, server_hostname="localhost")


def test_live_connections_work_through_tls(tls: Served) -> None:
    bob = signed_in(tls, "bob")
    upgrade(tls, bob["Cookie"]).close()


def test_a_handshake_that_does_not_end_is_ended_and_others_are_served(tls: Served) -> None:
    silent = [socket.create_connection(("127.0.0.1", tls.port), 10) for _ in range(20)]
    for each in silent:
        each.sendall(b"\x16\x03\x01")  # the beginning of a ClientHello
    began = time.monotonic()
    assert tls.ask("GET", "/healthz").status == 200
    assert time.monotonic() - began < 3
    for each in silent:
        with each:
            assert each.recv(100) == b""
    # Nor does one that says nothing after it.
    with tls.connect() as half:
        half.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert re.match(rb"$", half.recv(100))


def test_a_key_that_others_may_read_is_refused_and_renewed_files_are_taken(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path / "tls")
    key.chmod(0o644)
    with pytest.raises(SettingsError, match="DAQ_TLS_KEY"):
        server_context(cert, key)
    key.chmod(0o600)
    contexts = ServerContexts(cert, key)
    first = contexts.present()
    assert contexts.present() is first
    key.write_text("half a key")
    assert contexts.present() is first
    make_certificate(tmp_path / "tls")
    assert contexts.present() is not first
    cert.write_text("no certificate")
    with pytest.raises(SettingsError, match="DAQ_TLS_CERT"):
        server_context(cert, key)
