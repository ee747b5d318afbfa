# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and keys from files: unusable ones are refused before the cluster is read."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.tls import files_of
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.plans import applied, parsed, planned

WHERE = r"gateway_gateways\[0\]\.listeners\[0\]\.tls\."


def key_text(key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


@lru_cache
def pair(*names: str, days: int = 1) -> tuple[str, ec.EllipticCurvePrivateKey]:
    """A certificate for the names and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([])
    end = datetime.now(timezone.utc) + timedelta(days=days)
    builder = x509.CertificateBuilder(issuer, issuer, key.public_key(), 1, end - timedelta(days=9), end)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode(), key


def made(certificate: str, key: str, hostname: str = "") -> list[dict[str, Any]]:
    """The objects of a Gateway with a certificate and a key from files."""
    tls = {"certificate_file": "web.crt", "key_file": "web.key"}
    listener = {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": hostname or None, "tls": tls}
    gateways = [{"name": "public", "listeners": [listener]}]
    assert files_of(parsed(gateways)) == [("web.crt", "web.key")]
    return applied(planned(gateways, controller="traefik", files={"web.crt": certificate, "web.key": key}))


@pytest.mark.parametrize("hostname", ["", "a.example.org", "*.example.org", "example.org"])
def test_certificate_and_key_become_a_secret(hostname: str) -> None:
    certificate, key = pair("*.example.org", "Example.org")
    objects = made(certificate, key_text(key), hostname)
    (secret,) = (entry for entry in objects if entry["kind"] == "Secret")
    assert secret["metadata"]["name"] == "public-https-tls"
    assert secret["type"] == "kubernetes.io/tls"
    assert {name: base64.b64decode(text).decode() for name, text in secret["data"].items()} == {
        "tls.crt": certificate,
        "tls.key": key_text(key),
    }
    (gateway,) = (entry for entry in objects if entry["kind"] == "Gateway")
    assert gateway["spec"]["listeners"][0]["tls"]["certificateRefs"] == [{"kind": "Secret", "name": "public-https-tls"}]


@pytest.mark.parametrize("hostname", ["example.net", "a.b.example.org", "org"])
def test_certificate_for_another_name_is_refused(hostname: str) -> None:
    certificate, key = pair("*.example.org", "Example.org")
    with pytest.raises(InputError, match=r"web\.crt is not for .*hostname %s: it has \*\.example\.org" % hostname):
        made(certificate, key_text(key), hostname)
    certificate, key = pair()
    with pytest.raises(InputError, match=r"it has no names"):
        made(certificate, key_text(key), hostname)


def test_certificate_and_key_must_match() -> None:
    certificate, key = pair("a.example")
    other, dummy = pair("b.example")
    with pytest.raises(InputError, match=WHERE + r"key_file web\.key does not fit web\.crt"):
        made(other, key_text(key))
    with pytest.raises(InputError, match=WHERE + r"certificate_file web\.crt is no certificate in PEM"):
        made(key_text(key), key_text(key))
    with pytest.raises(InputError, match=WHERE + r"key_file web\.key is no private key in PEM"):
        made(certificate, certificate)
    with pytest.raises(InputError, match=r"no private key in PEM without a passphrase"):
        made(certificate, key_text(key, BestAvailableEncryption(b"secret")))
    with pytest.raises(InputError, match=WHERE + r"key_file web\.key is not there, or empty"):
        made(certificate, "")


def test_expired_certificate_is_refused() -> None:
    certificate, key = pair("a.example", days=-1)
    with pytest.raises(InputError, match=r"web\.crt has expired at 20.*: renew it"):
        made(certificate, key_text(key))
