# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS of a client: whether a server's certificate is accepted for a name, and if not, why, and what it contains.

Python decodes only a verified certificate. So a certificate that is not accepted is requested again and verified with
itself as a trusted certificate, which succeeds for any issuer.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any, Callable, Mapping, NamedTuple, Sequence

# Not all of these are in the ssl module of Python 3.8: see x509_vfy.h of OpenSSL.
_STRICT, _PARTIAL_CHAIN, _NO_CHECK_TIME = 0x20, 0x80000, 0x200000
_HOSTNAME_MISMATCH, _IP_MISMATCH = 62, 64  # X509_V_ERR_*
_NOT_YET_VALID, _EXPIRED = 9, 10


class Certificate(NamedTuple):
    """A server's certificate."""

    names: tuple[str, ...]  # DNS names and IP addresses for which it is valid
    subject: str
    issuer: str
    end: str  # the end of its validity

    def __str__(self) -> str:
        whose = ", ".join(self.names) or "no name"
        return "for %s (%s, issued by %s)" % (whose, self.subject or "no subject", self.issuer or "an unnamed issuer")


class Distrust(NamedTuple):
    """Why a certificate is not accepted."""

    kind: str  # name | time | issuer | unknown (it could not be read)
    certificate: str  # its names, subject and issuer, in words


def trusting(ca: str) -> ssl.SSLContext:
    """A context that verifies servers with the host's own authorities and with PEM certificates.

    ca -- certificates in PEM, of authorities or of servers themselves
    """
    context = ssl.create_default_context()
    context.verify_flags = ssl.VerifyFlags((context.verify_flags | _PARTIAL_CHAIN) & ~_STRICT)
    if ca:
        context.load_verify_locations(cadata=ca)
    return context


def distrust(error: ssl.SSLCertVerificationError, host: str, connect: Callable[[], socket.socket]) -> Distrust:
    """Why a server's certificate is not accepted for a host.

    connect -- returns a new connection to the server for each call
    """
    try:
        shown = _shown(host, connect)
    except (OSError, ValueError):
        return Distrust("unknown", "that could not be read")
    # OpenSSL reports an unknown issuer before all other errors.
    if not any(covers(name, host) for name in shown.names) or error.verify_code in (_HOSTNAME_MISMATCH, _IP_MISMATCH):
        kind = "name"
    elif error.verify_code in (_NOT_YET_VALID, _EXPIRED) or ssl.cert_time_to_seconds(shown.end) < time.time():
        kind = "time"
    else:
        kind = "issuer"
    return Distrust(kind, str(shown))


def unverified() -> ssl.SSLContext:
    """A context that accepts any certificate, to read the certificate or the page."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def covers(name: str, host: str) -> bool:
    """Whether a certificate's name matches a host. A wildcard matches one label (RFC 9525, 6.3)."""
    name, host = name.lower(), host.lower()
    return name == host or (name.startswith("*.") and bool(name[2:]) and name[2:] == host.partition(".")[2])


def _shown(host: str, connect: Callable[[], socket.socket]) -> Certificate:
    with unverified().wrap_socket(connect(), server_hostname=host) as first:
        encoded = first.getpeercert(True) or b""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags = ssl.VerifyFlags((context.verify_flags | _PARTIAL_CHAIN | _NO_CHECK_TIME) & ~_STRICT)
    context.load_verify_locations(cadata=encoded)
    with context.wrap_socket(connect(), server_hostname=host) as second:
        return read_certificate(second.getpeercert() or {})


def read_certificate(decoded: Mapping[str, Any]) -> Certificate:
    """A certificate from the output of `SSLSocket.getpeercert`."""
    names = [value for kind, value in decoded.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    return Certificate(
        tuple(names), _name(decoded.get("subject", ())), _name(decoded.get("issuer", ())), decoded.get("notAfter", "")
    )


def _name(parts: Sequence[Sequence[tuple[str, str]]]) -> str:
    """The common name of a subject or issuer. If it has none, its organisation."""
    found = {key: value for part in parts for key, value in part}
    return found.get("commonName") or found.get("organizationName") or ""
