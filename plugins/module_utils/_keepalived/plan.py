# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keepalived configuration for a node's services (keepalived.conf(5)).

Everything here is pure: `_keepalived.node` reads and changes the node.

In the administrator's configuration only a block of marked lines is ours; it includes our own file. The block comes
first in the file, so that the rest stays unchanged to the last byte.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from .._common.errors import InputError
from .._common.values import check_within
from .._services.model import Service, parse_services, spoken
from .._virtual_address.input import refuse_ends
from .._virtual_address.plan import Address, Link

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "fo", "ovf", "lblc", "lblcr", "sed", "nq")
NAME = "homelab-loadbalancer"
FILE = NAME + ".conf"
UNREAD = NAME + ".unread"  # exists from before a change is written until keepalived has read it

_BEGIN = "# BEGIN homelab.loadbalancer"
_END = "# END homelab.loadbalancer"
_BLOCK = re.compile(r"^%s\n.*?^%s\n" % (re.escape(_BEGIN), re.escape(_END)), re.DOTALL | re.MULTILINE)
_RELATIVE = re.compile(r"""^(\s*include[a-z]?\s+["']?)(?=[^\s"'/])""", re.MULTILINE)
# These values are copied into the configuration unquoted. keepalived gives meaning to quotes, braces, $, ! and #.
_PATH = re.compile(r"/[A-Za-z0-9._~%/?&=+,:;@-]*\Z")
_STATUS = re.compile(r"[1-5][0-9]{2}(-[1-5][0-9]{2})?( [1-5][0-9]{2}(-[1-5][0-9]{2})?)*\Z")


class Check(NamedTuple):
    """How keepalived checks that a real server is alive; times are in seconds."""

    type: str  # tcp | http | https
    path: str
    status: str
    interval: float
    timeout: float
    retries: int


class Want(NamedTuple):
    """A checked declaration."""

    interface: str
    services: tuple[Service, ...]
    router_id: int
    priority: int
    advert_interval: float  # seconds
    preempt: bool
    preempt_delay: int  # seconds
    unicast_peers: tuple[str, ...]
    track_interfaces: tuple[str, ...]
    check: Check | None  # None: keepalived leaves IPVS alone
    scheduler: str
    forward: str  # masquerade | direct
    prefix: str  # of the options' names in messages

    @property
    def vips(self) -> list[str]:
        """The virtual addresses, in the order of their declaration."""
        return list(dict.fromkeys(service.address for service in self.services))


class Files(NamedTuple):
    """The text of keepalived's own configuration and of ours; None means that the file does not exist."""

    main: str | None
    ours: str | None


def parse(options: Mapping[str, Any]) -> Want:
    """Check the module's options as far as possible without the node; InputError names the first wrong one."""
    prefix = options.get("prefix") or ""
    _within(options, "router_id", 1, 255, prefix)
    _within(options, "priority", 1, 254, prefix)  # 255 is for a router that owns the VIP
    _within(options, "advert_interval", 0.01, 40, prefix)
    _within(options, "preempt_delay", 0, 1000, prefix)
    if options["preempt_delay"] and not options["preempt"]:
        raise InputError(
            "%spreempt_delay %d has no effect: set %spreempt as well" % (prefix, options["preempt_delay"], prefix)
        )
    peers = []
    for i, peer in enumerate(options["unicast_peers"]):
        try:
            peers.append(str(ipaddress.ip_address(peer)))
        except ValueError:
            raise InputError("%sunicast_peers[%d] %s is not an IP address" % (prefix, i, peer)) from None
    want = Want(
        interface=options["interface"],
        services=tuple(parse_services(options["services"])),
        router_id=options["router_id"],
        priority=options["priority"],
        advert_interval=options["advert_interval"],
        preempt=options["preempt"],
        preempt_delay=options["preempt_delay"],
        unicast_peers=tuple(peers),
        track_interfaces=tuple(options["track_interfaces"]),
        check=_check(options["health_check"], prefix + "health_check."),
        scheduler=options["scheduler"],
        forward=options["forward"],
        prefix=prefix,
    )
    if want.check and want.forward == "direct":
        _refuse_other_ports(want.services, prefix + "forward")
    return want


def _check(raw: Mapping[str, Any] | None, where: str) -> Check | None:
    if not raw:
        return None
    check = Check(**raw)
    for name in ("interval", "timeout"):
        _within(raw, name, 0.1, 3600, where)
    _within(raw, "retries", 0, 100, where)
    if not _PATH.match(check.path):
        raise InputError("%spath %r is not the path of a URL: write it like /healthz" % (where, check.path))
    if not _STATUS.match(check.status):
        raise InputError("%sstatus %r is not a list of HTTP codes: write it like 200-299 404" % (where, check.status))
    return check


def _within(options: Mapping[str, Any], name: str, low: float, high: float, where: str) -> None:
    check_within(options[name], low, high, where + name)


def _refuse_other_ports(services: Iterable[Service], forward: str) -> None:
    for i, service in enumerate(services):
        for j, endpoint in enumerate(service.endpoints):
            if endpoint.port != service.port:
                raise InputError(
                    "lb_services[%d].endpoints[%d].port %d cannot be reached with %s: direct, which leaves the port %d "
                    "as it is: declare that port, or %s: masquerade"
                    % (i, j, endpoint.port, forward, service.port, forward)
                )


def refuse_links(want: Want, links: Mapping[str, Link]) -> None:
    """Raise InputError when the declaration does not fit the node's links."""
    prefix = want.prefix
    usable = ", ".join(sorted(link.name for link in links.values() if link.has_neighbours and not link.port_of))
    link = links.get(want.interface)
    if link is None:
        there = usable or "no other"
        raise InputError("%sinterface %s does not exist: this node has %s" % (prefix, want.interface, there))
    if not link.has_neighbours or link.port_of:
        reason = "is a port of %s" % link.port_of if link.port_of else "has no other hosts on it"
        raise InputError(
            "%sinterface %s %s, so no other director hears of this one: name the link to the clients (%s)"
            % (prefix, want.interface, reason, usable)
        )
    for i, name in enumerate(want.track_interfaces):
        if name not in links:
            raise InputError("%strack_interfaces[%d] %s does not exist: this node has %s" % (prefix, i, name, usable))
    for i, service in enumerate(want.services):
        _refuse_vip("lb_services[%d].address %s" % (i, service.address), service.address, link, links.values())
    for family in families(want):
        if not _source(want, link, family):
            raise InputError(
                "%sinterface %s has no %s address of its own, from which VRRP would be sent: add one, or name another "
                "interface (%s)" % (prefix, link.name, spoken(family), usable)
            )
        if want.unicast_peers and not _peers(want, link, family):
            raise InputError(
                "%sunicast_peers has no %s address of another director, and there are VIPs of that family: add one"
                % (prefix, spoken(family))
            )


def _refuse_vip(entry: str, vip: str, link: Link, links: Iterable[Link]) -> None:
    ip = ipaddress.ip_address(vip)
    around = {other.name: [a for a in _own(other) if ip in _network(a)] for other in links}
    if any(address.ip == ip for addresses in around.values() for address in addresses):
        raise InputError("%s is this node's own address: declare one that can move to another director" % entry)
    for addresses in around.values():
        for address in addresses:
            refuse_ends(entry, ip, _network(address))
    elsewhere = [(name, addresses[0]) for name, addresses in around.items() if addresses and name != link.name]
    if elsewhere and not around[link.name]:
        raise InputError(
            "%s is in the network %s of interface %s, and not on %s (%s): name that interface, or another address"
            % (entry, _network(elsewhere[0][1]), elsewhere[0][0], link.name, ", ".join(map(str, _own(link))))
        )


def _own(link: Link) -> list[Address]:
    """A link's non-virtual addresses: a prefix of full length marks a virtual one."""
    return [address for address in link.addresses if address.prefix < address.ip.max_prefixlen]


def _network(address: Address) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network((address.ip, address.prefix), strict=False)


def families(want: Want) -> list[str]:
    """The address families of the VIPs."""
    return sorted({service.family for service in want.services})


def _source(want: Want, link: Link, family: str) -> str:
    """The source address of adverts, or an empty string. For IPv6 it is link-local, except with unicast."""
    own = [address for address in link.addresses if str(address.ip) not in want.vips]
    if family == "ipv4":
        own = [address for address in own if address.ip.version == 4]
    else:
        link_local = not want.unicast_peers
        own = [address for address in own if address.ip.version == 6 and address.ip.is_link_local == link_local]
    # Prefer an address with a network prefix: one of full length may itself be virtual.
    own.sort(key=lambda address: address.prefix == address.ip.max_prefixlen)
    return str(own[0].ip) if own else ""


def _peers(want: Want, link: Link, family: str) -> list[str]:
    """The other directors' addresses: a list shared by all directors also contains this one's."""
    own = {str(address.ip) for address in link.addresses}
    return [peer for peer in want.unicast_peers if peer not in own and (":" in peer) == (family == "ipv6")]


def render(want: Want, link: Link) -> str | None:
    """Our file, or None when no service is declared."""
    if not want.services:
        return None
    lines = ["# Written by homelab.loadbalancer: the next run takes back what is changed here."]
    if len(families(want)) > 1:
        names = ["        " + _name(family) for family in families(want)]
        lines += ["", "vrrp_sync_group %s {" % NAME, "    group {", *names, "    }", "}"]
    for family in families(want):
        lines += ["", *_instance(want, link, family)]
    if want.check:
        for service in want.services:
            if service.endpoints:
                lines += ["", *_virtual_server(want, want.check, service)]
    return "".join(line + "\n" for line in lines)


def _name(family: str) -> str:
    return "%s-%s" % (NAME, family)


def _instance(want: Want, link: Link, family: str) -> list[str]:
    vips = [vip for vip in want.vips if (":" in vip) == (family == "ipv6")]
    peers = _peers(want, link, family)
    lines = [
        "vrrp_instance %s {" % _name(family),
        "    version 3",
        "    state BACKUP",
        "    interface %s" % want.interface,
        "    virtual_router_id %d" % want.router_id,
        "    priority %d" % want.priority,
        "    advert_int %g" % want.advert_interval,
    ]
    if not want.preempt:
        lines.append("    nopreempt")
    elif want.preempt_delay:
        lines.append("    preempt_delay %d" % want.preempt_delay)
    if peers:
        lines.append("    unicast_src_ip %s" % _source(want, link, family))
        lines += _block("unicast_peer", peers)
    if want.track_interfaces:
        lines += _block("track_interface", want.track_interfaces)
    # An administrator's vrrp_strict would drop packets to the VIPs, and refuses unicast and IPv6.
    lines.append("    strict_mode off")
    # A director drops adverts that list other addresses than its own, and takes over. So only the first VIP is
    # advertised: the others may change on one director before the other. skip_check_adv_addr helps when the first
    # changes.
    lines += ["    skip_check_adv_addr", *_block("virtual_ipaddress", [_placed(vips[0])])]
    if vips[1:]:
        lines += _block("virtual_ipaddress_excluded", map(_placed, vips[1:]))
    return [*lines, "}"]


def _placed(vip: str) -> str:
    return vip + ("/128" if ":" in vip else "/32")


def _block(keyword: str, entries: Iterable[str]) -> list[str]:
    return ["    %s {" % keyword, *("        " + entry for entry in entries), "    }"]


def _virtual_server(want: Want, check: Check, service: Service) -> list[str]:
    lines = [
        "virtual_server %s %d {" % (service.address, service.port),
        "    protocol %s" % service.protocol.upper(),
        "    lvs_sched %s" % want.scheduler,
        "    lvs_method %s" % {"masquerade": "NAT", "direct": "DR"}[want.forward],
        "    delay_loop %g" % check.interval,
    ]
    if service.affinity:
        lines.append("    persistence_timeout %d" % service.affinity)
    for endpoint in service.endpoints:
        lines += ["    real_server %s %d {" % endpoint[:2], "        weight %d" % endpoint.weight]
        lines += ["        " + line for line in _checker(check, service.protocol)]
        lines.append("    }")
    return [*lines, "}"]


def _checker(check: Check, protocol: str) -> list[str]:
    """The block that checks a real server. For UDP it checks that the port does not refuse; SCTP has no check."""
    if protocol == "sctp":
        return []
    kind = (
        {"tcp": "TCP_CHECK", "http": "HTTP_GET", "https": "SSL_GET"}[check.type] if protocol == "tcp" else "UDP_CHECK"
    )
    lines = [
        "%s {" % kind,
        "    connect_timeout %g" % check.timeout,
        "    retry %d" % check.retries,
        "    delay_before_retry %g" % check.timeout,
    ]
    if kind in ("HTTP_GET", "SSL_GET"):
        lines += ["    url {", "        path %s" % check.path, "        status_code %s" % check.status, "    }"]
    return [*lines, "}"]


def plan(have: Files, ours: str | None, path: str) -> Files:
    """The wanted content of both files; path is the path of ours."""
    main = have.main or ""
    rest = _BLOCK.sub("", main)
    if ours is None:
        return Files(have.main if rest == main else rest or None, None)
    block = "%s\ninclude %s\n%s\n" % (_BEGIN, path, _END)
    # Where the administrator has moved the block, it stays.
    return Files(main if block in main else block + rest, ours)


def for_test(main: str, folder: str, path: str, draft: str) -> str:
    """A copy of the main configuration with the same meaning in another folder, including our draft.

    folder -- the folder of the main configuration, to which its includes are relative
    path, draft -- the path of our file that it includes, and the path to include instead
    """
    return _RELATIVE.sub(lambda found: found[1] + folder + "/", main).replace(path, draft)


def diff(before: Files, after: Files, paths: Sequence[str]) -> list[dict[str, str]]:
    """The changes of each file, for Ansible's diff."""
    return [
        {"before_header": path, "after_header": path, "before": old or "", "after": new or ""}
        for path, old, new in zip(paths, before, after)
        if old != new
    ]
