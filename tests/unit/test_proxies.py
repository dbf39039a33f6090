"""Which address counts as the client's behind proxies."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from control_plane.api.proxies import behind_proxies
from control_plane.errors import SettingsError
from control_plane.settings import load_settings, with_tls

TRUSTED = [ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("::1")]


def seen(peer: str, trusted: Any = TRUSTED, **headers: str) -> tuple[str, str, list[str]]:
    """Return address and scheme that the application sees, and which headers are left."""
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http"}
    environ |= {f"HTTP_{name}": value for name, value in headers.items()}
    behind_proxies(lambda _environ, _start: [], trusted)(environ, lambda *_: None)
    left = [name for name in environ if name.startswith("HTTP_")]
    return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], left


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.9:5678", "203.0.113.9"),
        ("127.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("127.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("127.0.0.1", "203.0.113.9, unknown", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("192.0.2.1", "127.0.0.1", "192.0.2.1"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    peer: str, chain: str, client: str
) -> None:
    assert seen(peer, X_FORWARDED_FOR=chain)[0] == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    lies = {"X_FORWARDED_FOR": "203.0.113.9", "X_FORWARDED_PROTO": "https", "FORWARDED": "for=x"}
    assert seen("127.0.0.1", [], **lies) == ("127.0.0.1", "http", [])


@pytest.mark.parametrize(
    ("said", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("http, https", "https"), ("gopher", "http")],
)
def test_a_trusted_proxy_says_whether_the_client_came_by_tls(said: str, scheme: str) -> None:
    assert seen("127.0.0.1", X_FORWARDED_PROTO=said)[1] == scheme
    assert seen("192.0.2.1", X_FORWARDED_PROTO=said)[1] == "http"


def test_settings_name_proxies_hosts_and_files_of_secrets(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://daq:secret@db/daq\n")
    settings = load_settings(
        {
            "DAQ_HOME": str(tmp_path),
            "DAQ_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
            "DAQ_HOSTS": "daq.example.com,.plant.example.com",
            "DATABASE_URL_FILE": str(secret),
        }
    )
    assert list(settings.trusted_proxies) == TRUSTED[:2]
    assert settings.hosts == ("daq.example.com", ".plant.example.com")
    assert settings.database_url == "postgresql://daq:secret@db/daq"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DAQ_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("DAQ_TRUSTED_PROXIES", "proxy.example.com"),
        ("DATABASE_URL_FILE", "/nonexistent"),
        ("DATABASE_URL_FILE", "/dev/null"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load_settings({"DAQ_HOME": "/tmp/daq", variable: value})


def test_certificate_and_key_come_together(tmp_path: Path) -> None:
    for name, other in (("CERT", "KEY"), ("KEY", "CERT")):
        with pytest.raises(SettingsError, match=f"DAQ_TLS_{other}"):
            load_settings({"DAQ_HOME": str(tmp_path), f"DAQ_TLS_{name}": "file.pem"})
    settings = load_settings({"DAQ_HOME": str(tmp_path)})
    assert settings.panel_url == "http://127.0.0.1:8080/"
    both = with_tls(settings, tmp_path / "cert.pem", tmp_path / "key.pem")
    assert both.panel_url == "https://127.0.0.1:8080/"
    assert with_tls(both, None, None) is both
    with pytest.raises(SettingsError, match="DAQ_TLS_KEY"):
        with_tls(settings, tmp_path / "cert.pem", None)
