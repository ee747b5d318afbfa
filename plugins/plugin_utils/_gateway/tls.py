# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks certificates and their keys, on the control node, where ansible-core depends on the package cryptography."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Mapping, Sequence

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
except ImportError:
    pass  # possible where plugins are only inspected, as by ansible-doc; ansible-core needs cryptography to run

from ...module_utils._common.errors import InputError
from ...module_utils._probe.tls import covers
from .input import Files, Gateway, Listener


def files_of(gateways: Sequence[Gateway]) -> list[Files]:
    """The files with the certificates and keys of listeners."""
    return [listener.files for gateway in gateways for listener in gateway.listeners if listener.files]


def check_files(gateways: Sequence[Gateway], texts: Mapping[str, str]) -> None:
    """Refuse files of listeners that are missing or do not fit together.

    texts -- the contents of certificates and keys, by path; empty for a missing file
    """
    for gateway in gateways:
        for listener in gateway.listeners:
            if not listener.files:
                continue
            for key, path in zip(("certificate_file", "key_file"), listener.files):
                if not texts.get(path):
                    raise InputError("%s.tls.%s %s is not there, or empty" % (listener.where, key, path))
            check_pair(listener, listener.files, texts[listener.files.certificate], texts[listener.files.key])


def check_pair(listener: Listener, files: Files, certificate: str, key: str, now: datetime | None = None) -> None:
    """Check the contents of a listener's files, both PEM.

    Raises InputError if they do not fit together, or do not fit the listener's host name.
    """
    paths = [
        "%s.tls.certificate_file %s" % (listener.where, files.certificate),
        "%s.tls.key_file %s" % (listener.where, files.key),
    ]
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        raise InputError(
            "%s is no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----" % paths[0]
        ) from None
    try:
        private = load_pem_private_key(key.encode(), None)
    except (TypeError, ValueError):
        raise InputError("%s is no private key in PEM without a passphrase" % paths[1]) from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != found.public_key().public_bytes(*form):
        raise InputError(
            "%s does not fit %s: they are of different pairs. A file with several certificates begins with the "
            "server's own" % (paths[1], files.certificate)
        )
    # cryptography before 42 has only the naive datetime.
    end = getattr(found, "not_valid_after_utc", None) or found.not_valid_after.replace(tzinfo=timezone.utc)
    if end <= (now or datetime.now(timezone.utc)):
        raise InputError("%s has expired at %s: renew it" % (paths[0], end))
    names = _names(found)
    if listener.hostname and not any(covers(name, listener.hostname) for name in names):
        raise InputError(
            "%s is not for %s.hostname %s: it has %s"
            % (paths[0], listener.where, listener.hostname, ", ".join(names) or "no names (subjectAltName)")
        )


def uncovered_note(where: str, name: str, listener: str, certificates: Sequence[str]) -> str:
    """A note about a host name that no certificate of its HTTPS listener covers; empty if one covers it.

    where, listener -- the names of the host name and the listener in messages
    certificates -- PEM texts; if one is not PEM, the result is empty, because its names are unknown
    """
    names: list[str] = []
    for text in certificates:
        try:
            names += names_of(text)
        except ValueError:
            return ""
    if not certificates or any(covers(one, name) for one in names):
        return ""
    return (
        "%s %s is taken by %s, whose certificate is for %s: by https, clients will refuse it. Add the name to the "
        "certificate (a wildcard there stands for one label), or leave it to HTTP"
        % (where, name, listener, ", ".join(names) or "no name (subjectAltName)")
    )


def names_of(certificate: str) -> list[str]:
    """The names of the server's own certificate, the first one in a PEM text. Raises ValueError for any other text."""
    return _names(x509.load_pem_x509_certificate(certificate.encode()))


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]
