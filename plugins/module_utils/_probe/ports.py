# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe ports of other hosts with TCP, HTTP, HTTPS or UDP. If a port does not answer, find out who refused it and why.

The code of an ICMP message shows whether a firewall sent it or a host without a listener on the port. connect() returns
the same error number for both. So this module reads the message from the socket's error queue (IP_RECVERR, ip(7)).
"""

from __future__ import annotations

import concurrent.futures
import errno
import ipaddress
import re
import socket
import ssl
import struct
import time
from typing import Any, Mapping, NamedTuple, Sequence, Tuple

from .._common import system
from .._common.errors import InputError
from .tls import distrust, trusting, unverified

AT_ONCE = 32  # how many targets are probed at the same time
# Seconds to wait for a refusal of each datagram. Linux sends a host one refusal per second (net.ipv4.icmp_ratelimit).
_UDP_WAITS = (1.0, 0.5)
_TRIED = 8  # at most so many addresses of a name, because a DNS server may return any number

# Not in Python's socket module: linux/in.h, linux/in6.h, linux/errqueue.h.
_ERROR_QUEUE = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
_MSG_ERRQUEUE = 0x2000
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err; the sender's address follows
_ICMP, _ICMPV6 = 2, 3  # where the error comes from
# The codes of `destination unreachable` that a firewall sends (RFC 1812, 5.2.7.1; RFC 4443, 3.1).
_PROHIBITED = {_ICMP: (9, 10, 13), _ICMPV6: (1, 5)}

Place = Tuple[Any, ...]  # an address with its port, as sockets take it


class Target(NamedTuple):
    """A port to probe."""

    address: str  # empty: the addresses of `host`, looked up with this host's resolver
    port: int
    protocol: str  # tcp | http | https | udp
    path: str = "/"
    host: str = ""  # without an address, the name to look up; otherwise the Host header, or empty for address and port
    ca: str = ""  # PEM certificates to trust in addition to this host's own authorities


class Answer(NamedTuple):
    """The result of a probe.

    state -- open: the port answers. refused: no program listens, or a firewall sends the same refusal. prohibited: a
        firewall rejects the packets. unreachable: no route, or no host with the address. silent: no answer; a UDP port
        may still be open. unresolved: the name is not found.
    """

    state: str
    detail: str  # the result in words
    source: str = ""  # the source address of the probe
    milliseconds: float = 0.0  # until the answer
    status: int | None = None  # of HTTP
    address: str = ""  # the probed address
    distrust: str = (
        ""  # why the certificate is not accepted, as in tls.Distrust.kind; the HTTP status is set nevertheless
    )
    certificate: str = ""  # the names, subject and issuer of the certificate that is not accepted
    sender: str = ""  # the sender of the ICMP message that says refused or unreachable


def read_target(raw: Mapping[str, Any], where: str) -> Target:
    """A target from the module's option. InputError for one that cannot be probed."""
    if not raw["address"] and not raw["host"]:
        raise InputError("%s has neither an address nor a host: give one of them" % where)
    try:
        address = raw["address"] and str(ipaddress.ip_address(raw["address"]))
    except ValueError:
        raise InputError("%s.address %s is not an IP address" % (where, raw["address"])) from None
    if address and _is_nobody(address):
        raise InputError("%s.address %s is not the address of one host: name that of a host" % (where, address))
    if not 1 <= raw["port"] <= 65535:
        raise InputError("%s.port %d is not a port from 1 to 65535" % (where, raw["port"]))
    # Path and host go into the request without escaping.
    if not re.match(r"/[!-~]*\Z", raw["path"]):
        raise InputError("%s.path %r is not a path: write it as in a URL, from the first /" % (where, raw["path"]))
    if not re.match(r"[A-Za-z0-9.:\[\]_-]*\Z", raw["host"]):
        raise InputError("%s.host %r is not a host name" % (where, raw["host"]))
    return Target(address, raw["port"], raw["protocol"], raw["path"], raw["host"])


def _is_nobody(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return ip.is_multicast or ip.is_unspecified or address == "255.255.255.255"


def ask_all(targets: Sequence[Target], timeout: float, wait: float = 0) -> list[Answer]:
    """Probe all targets at the same time.

    timeout -- seconds for each answer
    wait -- seconds for which to probe failed targets again
    """
    end = time.monotonic() + wait
    answers: dict[int, Answer] = {}
    todo = list(range(len(targets)))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        while True:
            asked = pool.map(lambda number: ask(targets[number], timeout), todo)
            answers.update(zip(todo, asked))
            todo = [number for number in todo if not settled(targets[number], answers[number])]
            if not todo or time.monotonic() >= end:
                return [answers[number] for number in range(len(targets))]
            time.sleep(0.2)


def settled(target: Target, answer: Answer) -> bool:
    """Whether no further probe is needed: the target answers, or for UDP is not refused.

    An HTTP request to a name must not return an error. A request to an address may return a client error (4xx).
    """
    if target.protocol in ("http", "https"):
        # Another probe does not make an unknown issuer known.
        if answer.distrust not in ("", "issuer"):
            return False
        return answer.status is not None and answer.status < (500 if target.address else 400)
    return _connects(target, answer)


def _connects(target: Target, answer: Answer) -> bool:
    return answer.state == "open" or (target.protocol == "udp" and answer.state == "silent")


def ask(target: Target, timeout: float) -> Answer:
    """Probe one target at its address, or at the addresses of its name until one connects."""
    started = time.monotonic()
    try:
        # The resolver has its own timeout, as for all programs (resolv.conf(5): timeout, attempts).
        # The name is passed as bytes, because Python's encoding of names raises other errors.
        found = socket.getaddrinfo((target.address or target.host).encode(), target.port, type=_kind(target))
    except socket.gaierror as error:
        answer = Answer("unresolved", "the name is not found (%s)" % _words(error))
    else:
        answer = _ask_each(target, [(one[0], one[4]) for one in found[:_TRIED]], timeout)
    return answer._replace(milliseconds=round((time.monotonic() - started) * 1000, 1))


def _kind(target: Target) -> int:
    return socket.SOCK_DGRAM if target.protocol == "udp" else socket.SOCK_STREAM


def _ask_each(target: Target, places: Sequence[tuple[socket.AddressFamily, Place]], timeout: float) -> Answer:
    """The answer of the first address that connects. If none does, that of the first address."""
    answers = []
    for family, place in places:
        answers.append(_ask_at(target, family, place, timeout))
        if _connects(target, answers[-1]):
            return answers[-1]
    return answers[0]


def _ask_at(target: Target, family: socket.AddressFamily, place: Place, timeout: float) -> Answer:
    """Probe one address."""
    address, end = str(place[0]), time.monotonic() + timeout
    try:
        sock = socket.socket(family, _kind(target))
    except OSError as error:  # a kernel without IPv6
        return Answer("unreachable", _words(error), address=address)
    with sock:
        if system.name() == "Linux":
            sock.setsockopt(*_ERROR_QUEUE[family], 1)
        sock.settimeout(timeout)
        try:
            sock.connect(place)
            # A message in the error queue makes connect() return without a connection. Then getpeername() fails.
            sock.getpeername()
            if target.protocol == "udp":
                answer = _ask_udp(sock, timeout)
            elif target.protocol == "http":
                answer = _ask_http(sock, target, end)
            elif target.protocol == "https":
                answer = _ask_https(sock, target, end)
            else:
                answer = Answer("open", "open")
        except socket.timeout:
            answer = Answer("silent", "no answer within %g s" % timeout)
        except OSError as error:
            answer = _refusal(sock, error)
            if _is_broadcast(family, place):
                answer = Answer("unreachable", "it is the broadcast address of a network: ask the address of a host")
        return answer._replace(source=answer.source or _source(sock), address=address)


def _ask_udp(sock: socket.socket, timeout: float) -> Answer:
    """Send two empty datagrams, because a kernel limits the rate of its refusals.

    An open port is often silent, so the wait is only as long as a refusal may take.
    """
    for limit in _UDP_WAITS:
        sock.settimeout(min(limit, timeout / 2))
        sock.send(b"")
        try:
            sock.recv(1)
        except socket.timeout:
            continue
        return Answer("open", "answers")
    return Answer("silent", "no refusal and no answer")


def _ask_https(sock: socket.socket, target: Target, end: float) -> Answer:
    """The same over TLS. If the certificate is not accepted, request the page without verifying it, and describe it."""
    source, place = _source(sock), sock.getpeername()

    def connect() -> socket.socket:
        again = socket.socket(sock_family, socket.SOCK_STREAM)
        again.settimeout(max(end - time.monotonic(), 1.0))
        again.connect(place)
        return again

    sock_family = sock.family
    host = target.host or target.address
    try:
        with trusting(target.ca).wrap_socket(sock, server_hostname=host) as secured:
            answer = _ask_http(secured, target, end)
    except ssl.SSLCertVerificationError as error:
        why = distrust(error, host, connect)
        try:
            with unverified().wrap_socket(connect(), server_hostname=host) as secured:
                answer = _ask_http(secured, target, max(end, time.monotonic() + 1.0))
        except OSError:
            answer = Answer("open", "connects")
        answer = answer._replace(distrust=why.kind, certificate=why.certificate)
        answer = answer._replace(detail="%s, with a certificate %s" % (answer.detail, why.certificate))
    except socket.timeout:
        answer = Answer("open", "connects, but does not answer TLS in time")
    except (ssl.SSLError, ConnectionError) as error:
        said = getattr(error, "reason", "") or error.strerror
        answer = Answer("open", "connects, but does not speak TLS for %s (%s)" % (host, said))
    return answer._replace(source=source)


def _ask_http(sock: socket.socket, target: Target, end: float) -> Answer:
    """Send a GET request, and read only the first line of the answer, because an answer may be endless."""
    request = "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: homelab.loadbalancer\r\nConnection: close\r\n\r\n"
    said = b""
    try:
        sock.sendall((request % (target.path, host_header(target))).encode())
        while b"\n" not in said and len(said) < 1024:
            sock.settimeout(max(end - time.monotonic(), 0.001))
            part = sock.recv(1024)
            if not part:
                break
            said += part
    except socket.timeout:
        return Answer("open", "connects, but does not answer HTTP in time")
    except OSError as error:
        return Answer("open", "connects, and breaks off: %s" % error.strerror)
    found = re.match(rb"HTTP/\d\.\d (\d{3})\b", said)
    if not found:
        return Answer("open", "connects, but does not speak HTTP")
    return Answer("open", "HTTP %d" % int(found.group(1)), status=int(found.group(1)))


def host_header(target: Target) -> str:
    """The Host header as a browser sends it. Only an address without `host` always gets its port."""
    if target.address and target.host:
        return target.host
    name = target.address or target.host
    shown = "[%s]" % name if ":" in name else name
    usual = 443 if target.protocol == "https" else 80
    return shown if target.port == usual and not target.address else "%s:%d" % (shown, target.port)


def _words(error: OSError) -> str:
    said = error.strerror or str(error)
    return said[:1].lower() + said[1:]


def _refusal(sock: socket.socket, error: OSError) -> Answer:
    """The answer for an error, based on the ICMP message that caused it, if there is one."""
    origin, code, sender = _icmp(sock)
    if code in _PROHIBITED.get(origin, ()):
        said = "a firewall says no (ICMP, administratively prohibited, from %s)" % sender
        return Answer("prohibited", said, sender=sender)
    if error.errno in (errno.EACCES, errno.EPERM):
        return Answer("prohibited", "a firewall says no (%s)" % (error.strerror or error))
    if error.errno == errno.ECONNREFUSED:
        said = "refused (ICMP, port unreachable, from %s)" % sender if sender else "refused"
        return Answer("refused", said, sender=sender)
    return Answer("unreachable", "%s%s" % (_words(error), " (says %s)" % sender if sender else ""), sender=sender)


def _is_broadcast(family: socket.AddressFamily, place: Place) -> bool:
    """Whether the kernel treats the address as a broadcast address, which requires SO_BROADCAST (udp(7), EACCES).

    A firewall's refusal has the same error number, but does not depend on that option. Sends nothing.
    """
    if family != socket.AF_INET:
        return False
    errors = []
    for allowed in (0, 1):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, allowed)
            errors.append(sock.connect_ex(place))
    return errors == [errno.EACCES, 0]


def _icmp(sock: socket.socket) -> tuple[int, int, str]:
    """The origin, code and sender of the ICMP message in the error queue; (0, 0, "") if there is none.

    Only Linux has such a queue.
    """
    if system.name() != "Linux":
        return 0, 0, ""
    # Non-blocking: with a timeout, Python would read an empty queue in a busy loop, because poll(2) reports an error.
    sock.setblocking(False)
    try:
        control = sock.recvmsg(1, 512, _MSG_ERRQUEUE)[1]
    except OSError:  # also if the kernel does not store such messages for the connection
        return 0, 0, ""
    for dummy, dummy, data in control:
        if len(data) < _EXTENDED_ERROR.size:
            continue
        dummy, origin, dummy, code, dummy, dummy, dummy = _EXTENDED_ERROR.unpack_from(data)
        rest = data[_EXTENDED_ERROR.size :]  # a struct sockaddr_in or sockaddr_in6
        if origin == _ICMP and len(rest) >= 8:
            return origin, code, socket.inet_ntop(socket.AF_INET, rest[4:8])
        if origin == _ICMPV6 and len(rest) >= 24:
            return origin, code, socket.inet_ntop(socket.AF_INET6, rest[8:24])
    return 0, 0, ""


def _source(sock: socket.socket) -> str:
    try:
        return str(sock.getsockname()[0])
    except OSError:
        return ""


def report(target: Target, answer: Answer) -> dict[str, Any]:
    """A target and its answer as a module returns them."""
    asked = {"address": target.address or answer.address, "port": target.port, "protocol": target.protocol}
    return {**answer._asdict(), **asked, "host": target.host}
