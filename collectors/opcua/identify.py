"""``python -m collectors fingerprint``: who a server says it is, and what it offers.

Nothing of ours is sent but the question, so it can be asked before anything is trusted.
"""

import asyncio
import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from asyncua import ua
from cryptography import x509

from collectors.contract.config import parse_collector
from collectors.contract.config_opcua import OpcUaCollector, OpcUaDevice
from collectors.contract.config_problems import read_toml
from collectors.contract.messages import sentence
from collectors.contract.signals import EXIT_OK
from collectors.opcua.browse import with_points
from collectors.opcua.pki import UnusableKey, fingerprint_of, load_server_certificate
from collectors.opcua.security import in_words
from collectors.opcua.session import client_of, translated
from collectors.runtime.cli import EXIT_USAGE, PACKAGE
from collectors.runtime.driver import ConnectionLost
from collectors.runtime.inspection import EXIT_BAD_VALUES

_REQUESTS: Final = 4
"""Hello, open channel, get endpoints, close channel: each may take the device's time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the server of one device says about itself.

    Attributes:
        fingerprint: SHA-256 of its certificate, ``AB:CD:…``; ``None`` if it shows none.
        subject: Whom the certificate names.
        valid_until: Its last day.
        is_pinned: Whether it is the one in the file; ``None`` if the file has none.
        offers: Security policies and modes, such as ``basic256sha256/sign``.
    """

    device: str
    endpoint: str
    fingerprint: str | None
    subject: str
    valid_until: str
    is_pinned: bool | None
    offers: list[str]


def main(path: Path, as_json: bool, language: str) -> int:
    """Print the certificate of each device's server.

    Returns:
        0, or 1 if a server cannot be asked or is not the pinned one, or 2 for another protocol.

    Raises:
        ConfigError: the file cannot be used.
    """
    say = functools.partial(sentence, PACKAGE, language=language)
    config = parse_collector(with_points(read_toml(path)), file=str(path))
    if not isinstance(config, OpcUaCollector):
        print(say("browse.not_opcua", {"protocol": config.protocol}), file=sys.stderr)
        return EXIT_USAGE
    found, failures = asyncio.run(_ask_all(config.devices))
    if as_json:
        print(json.dumps([asdict(identity) for identity in found], ensure_ascii=False, indent=2))
    else:
        for identity in found:
            facts = asdict(identity) | {"offers": ", ".join(identity.offers)}
            print(say(_code_of(identity), facts))
    for failure in failures:
        print(say("once.unreachable", failure), file=sys.stderr)
    is_well = not failures and all(identity.is_pinned is not False for identity in found)
    return EXIT_OK if is_well else EXIT_BAD_VALUES


def _code_of(identity: Identity) -> str:
    if identity.fingerprint is None:
        return "fingerprint.none"
    if identity.is_pinned is None:
        return "fingerprint.not_pinned"
    return "fingerprint.pinned" if identity.is_pinned else "fingerprint.other"


async def _ask_all(
    devices: Sequence[OpcUaDevice],
) -> tuple[list[Identity], list[dict[str, object]]]:
    """Return who answered, and the devices that did not with the reason."""
    results = await asyncio.gather(*map(_ask, devices), return_exceptions=True)
    found: list[Identity] = []
    failures: list[dict[str, object]] = []
    for device, result in zip(devices, results, strict=True):
        if isinstance(result, Identity):
            found.append(result)
        elif isinstance(result, ConnectionLost):
            place = {"device": device.id, "host": device.host, "port": device.port}
            failures.append(place | {"reason": result.reason})
        else:
            raise result
    return found, failures


async def _ask(device: OpcUaDevice) -> Identity:
    with translated():
        async with asyncio.timeout(_REQUESTS * device.timeout_s):
            endpoints = await client_of(device).connect_and_get_server_endpoints()
    try:
        certificate = _certificate_in(endpoints)
    except UnusableKey as exc:
        raise ConnectionLost(str(exc)) from exc
    fingerprint = fingerprint_of(certificate) if certificate is not None else None
    pinned = device.pinned_fingerprint
    return Identity(
        device=device.id,
        endpoint=device.endpoint,
        fingerprint=fingerprint,
        subject="" if certificate is None else certificate.subject.rfc4514_string(),
        valid_until=(
            "" if certificate is None else certificate.not_valid_after_utc.date().isoformat()
        ),
        is_pinned=None if pinned is None else (fingerprint or "").replace(":", "") == pinned,
        offers=sorted({in_words(endpoint) for endpoint in endpoints}),
    )


def _certificate_in(endpoints: Sequence[ua.EndpointDescription]) -> x509.Certificate | None:
    for endpoint in endpoints:
        if endpoint.ServerCertificate:
            return load_server_certificate(endpoint.ServerCertificate)
    return None
