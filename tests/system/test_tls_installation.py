"""``daqplane run --tls-cert … --tls-key …``: everything of an installation by https."""

import json
import ssl
import urllib.request
from pathlib import Path

import pytest
from installation import Installation, free_port
from served import make_certificate

pytestmark = pytest.mark.supervisord


def test_an_installation_with_a_certificate_is_reached_by_https_alone(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path / "tls")
    options = ("--tls-cert", str(cert), "--tls-key", str(key))
    installed = Installation(tmp_path / "daq", free_port(), options)
    installed.start()
    try:
        address = f"https://127.0.0.1:{installed.port}/"
        assert address in installed.output.read_text()
        context = ssl.create_default_context(cafile=str(cert))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        request = urllib.request.Request(
            f"{address}api/v1/processes", headers={"Authorization": f"Bearer {installed.token}"}
        )
        with opener.open(request, timeout=10) as answer:
            assert json.load(answer)["supervisor"]["reachable"] is True
        plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with pytest.raises(OSError, match=r"."):
            plain.open(f"http://127.0.0.1:{installed.port}/healthz", timeout=5)
        files = {"DAQ_TLS_CERT": str(cert), "DAQ_TLS_KEY": str(key)}
        examined = installed.run("doctor", **files)
        assert f"{address}healthz" in examined.stdout, examined.stdout + examined.stderr
        assert installed.run("audit", "verify").returncode == 0
    finally:
        assert installed.stop() == 0
    refused = installed.run("run", "--tls-cert", str(cert))
    assert "DAQ_TLS_KEY" in refused.stderr
    key.chmod(0o644)
    open_key = installed.run("run", *options)
    assert (open_key.returncode, "chmod o=" in open_key.stderr) == (1, True)
