# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS as a client speaks it: whether a server's certificate is for a name, and whose it is when it is not.

Python decodes only a certificate that was verified. So one that is not trusted is asked for again with itself as what
is trusted, which verifies it whoever issued it.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any, Callable, Mapping, NamedTuple, Sequence

# Not all in Python 3.8's module: x509_vfy.h of OpenSSL.
_STRICT, _PARTIAL_CHAIN, _NO_CHECK_TIME = 0x20, 0x80000, 0x200000
_HOSTNAME_MISMATCH, _IP_MISMATCH = 62, 64  # X509_V_ERR_*
_NOT_YET_VALID, _EXPIRED = 9, 10


class Certificate(NamedTuple):
    """What a server shows."""

    names: tuple[str, ...]  # for which it is
    subject: str
    issuer: str
    end: str  # until when it is valid

    def __str__(self) -> str:
        whose = ", ".join(self.names) or "no name"
        return "for %s (%s, issued by %s)" % (whose, self.subject or "no subject", self.issuer or "nobody named")


class Distrust(NamedTuple):
    """Why a certificate is not accepted."""

    kind: str  # name | time | issuer | unknown: it could not be looked at
    certificate: str  # whose it is, in words


def trusting(ca: str) -> ssl.SSLContext:
    """What verifies servers: by the host's own authorities, and by certificates in PEM, also of servers themselves."""
    context = ssl.create_default_context()
    context.verify_flags = ssl.VerifyFlags((context.verify_flags | _PARTIAL_CHAIN) & ~_STRICT)
    if ca:
        context.load_verify_locations(cadata=ca)
    return context


def distrust(error: ssl.SSLCertVerificationError, host: str, connect: Callable[[], socket.socket]) -> Distrust:
    """Why a server's certificate is not accepted for a host.

    connect -- a new connection to the server, each time
    """
    try:
        shown = _shown(host, connect)
    except (OSError, ValueError):
        return Distrust("unknown", "that could not be looked at")
    # OpenSSL tells first that the issuer is not known.
    if not any(covers(name, host) for name in shown.names) or error.verify_code in (_HOSTNAME_MISMATCH, _IP_MISMATCH):
        kind = "name"
    elif error.verify_code in (_NOT_YET_VALID, _EXPIRED) or ssl.cert_time_to_seconds(shown.end) < time.time():
        kind = "time"
    else:
        kind = "issuer"
    return Distrust(kind, str(shown))


def unverified() -> ssl.SSLContext:
    """What accepts any certificate, to ask what would be there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def covers(name: str, host: str) -> bool:
    """Whether a certificate's name is for a host: a wildcard stands for one label (RFC 9525, 6.3)."""
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
    """A certificate as `SSLSocket.getpeercert` decodes it."""
    names = [value for kind, value in decoded.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    return Certificate(
        tuple(names), _name(decoded.get("subject", ())), _name(decoded.get("issuer", ())), decoded.get("notAfter", "")
    )


def _name(parts: Sequence[Sequence[tuple[str, str]]]) -> str:
    """The common name of a subject or issuer, or else its organisation."""
    found = {key: value for part in parts for key, value in part}
    return found.get("commonName") or found.get("organizationName") or ""
