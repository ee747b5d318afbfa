# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a certificate is one, and its key fits it: on the control node, where ansible-core brings cryptography."""

from __future__ import annotations

from datetime import datetime, timezone

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
except ImportError:
    pass  # where plugins are only looked at, as by ansible-doc; ansible-core itself does not run without it

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._gateway import Files, Listener


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
    if listener.hostname and not any(_covers(name, listener.hostname) for name in names):
        raise InputError(
            "%s is not for %s.hostname %s: it has %s"
            % (paths[0], listener.where, listener.hostname, ", ".join(names) or "no names (subjectAltName)")
        )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _covers(name: str, hostname: str) -> bool:
    """Whether a certificate's name is for a host: a wildcard stands for one label."""
    return name == hostname or (name.startswith("*.") and name[2:] == hostname.partition(".")[2])
