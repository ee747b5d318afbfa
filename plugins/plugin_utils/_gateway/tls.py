# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a certificate is one, and its key fits it: on the control node, where ansible-core brings cryptography."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Mapping, Sequence

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
except ImportError:
    pass  # where plugins are only looked at, as by ansible-doc; ansible-core itself does not run without it

from ...module_utils._common.errors import InputError
from ...module_utils._probe.tls import covers
from .input import Files, Gateway, Listener


def files_of(gateways: Sequence[Gateway]) -> list[Files]:
    """The files that listeners have their certificates and keys from."""
    return [listener.files for gateway in gateways for listener in gateway.listeners if listener.files]


def check_files(gateways: Sequence[Gateway], texts: Mapping[str, str]) -> None:
    """Refuse files of listeners that are not there, or cannot be used together.

    texts -- those of certificates and keys by their paths; one that is not there is empty
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
    """Check the texts of a listener's files, both PEM.

    Raises InputError when they cannot be used together, or not for the listener's host name.
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
    # Before cryptography 42 there is only the naive one.
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
    """What to say of a host name that an HTTPS listener takes; empty when one of its certificates is for it.

    where, listener -- how messages call the host name, and the listener
    certificates -- texts in PEM; of others nothing is known, and nothing is said
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
    """The names of the server's own certificate, which is the first one of a text in PEM. ValueError for any other."""
    return _names(x509.load_pem_x509_certificate(certificate.encode()))


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]
