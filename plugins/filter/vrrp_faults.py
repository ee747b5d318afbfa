# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: vrrp_faults
short_description: Find faults between the directors of a virtual router
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Compares the declarations of all directors of a play and the advertisements that
    M(homelab.loadbalancer.vrrp_listen) received on each. A single director cannot find all faults, such as two masters
    that do not hear each other.
positional: _input, host
options:
  _input:
    description:
      - The report of each director. C(host), C(interface), C(router_id), C(priority), C(vips) as declared; C(adverts)
        and C(addresses) as M(homelab.loadbalancer.vrrp_listen) returns them.
    type: list
    elements: dict
    required: true
  host:
    description: The director whose faults to return.
    type: str
    required: true
  running:
    description: Whether the virtual router must already have one master that holds the VIPs.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse a router ID that is in use
  ansible.builtin.assert:
    that: faults | length == 0
    fail_msg: "{{ faults | join('; ') }}"
  vars:
    faults: "{{ reports | homelab.loadbalancer.vrrp_faults(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: One sentence for each fault; empty without faults.
  type: list
  elements: str
"""

import ipaddress
from typing import Any, Callable, Dict, Iterator

from ..module_utils._services.model import spoken

Report = Dict[str, Any]


def vrrp_faults(reports: list[Report], host: str, running: bool = False) -> list[str]:
    """One sentence for each fault of a director, from the reports of all directors of the play."""
    me = next(report for report in reports if report["host"] == host)
    alike = [other for other in reports if other["router_id"] == me["router_id"] and other["host"] != host]
    peers = [other for other in alike if set(other["vips"]) & set(me["vips"])]
    strangers = [other for other in alike if other not in peers and _networks(other) & _networks(me)]
    faults = [
        "vip_failover_priority %d is also that of %s: give each director a different one"
        % (me["priority"], peer["host"])
        for peer in peers
        if peer["priority"] == me["priority"]
    ]
    faults += [
        "vip_failover_router_id %d is also that of %s, in the same network and with other VIPs: change one of them"
        % (me["router_id"], other["host"])
        for other in strangers
    ]
    directors = [me, *peers]
    faults += _foreign(me, directors)
    if running:
        for family in sorted({_family(vip) for vip in me["vips"]}):
            faults += _unsettled(me, directors, family)
    return faults


def _foreign(me: Report, directors: list[Report]) -> Iterator[str]:
    """Other routers on the link that use our router ID."""
    ours = _owners(directors)
    for advert in me["adverts"]:
        known = advert["source"] in ours or set(advert["addresses"]) & set(me["vips"])
        if advert["router_id"] == me["router_id"] and advert["priority"] and not known:
            yield (
                "%s advertises vip_failover_router_id %d on %s, for %s, but is not a director of this play: choose "
                "another number, or run the play for all directors"
                % (advert["source"], me["router_id"], me["interface"], ", ".join(advert["addresses"]) or "nothing")
            )


def _unsettled(me: Report, directors: list[Report], family: str) -> Iterator[str]:
    """Faults of the mastership: no master, several masters, or VIPs on another director than the master."""
    owners = _owners(directors)
    masters = sorted(
        {
            advert["source"]
            for director in directors
            for advert in director["adverts"]
            if (advert["router_id"], advert["family"]) == (me["router_id"], family) and advert["priority"]
        }
    )
    named = ["%s (%s)" % (source, owners.get(source, "not a director of this play")) for source in masters]
    if not masters:
        yield (
            "no director advertises vip_failover_router_id %d for %s on %s: check `journalctl -u keepalived`"
            % (me["router_id"], spoken(family), me["interface"])
        )
        return
    if len(masters) > 1:
        yield (
            "split brain: %s advertise vip_failover_router_id %d for %s at once, so something between them "
            "filters VRRP, IP protocol 112. Accept it on %s of each director (with firewalld: firewall-cmd "
            "--add-protocol=vrrp in the zone of that link, with and without --permanent; do not reload, which removes "
            "rules with firewalld 1.3). Without multicast, list the directors in vip_failover_unicast_peers"
            % (" and ".join(named), me["router_id"], spoken(family), me["interface"])
        )
        return
    held = {address.split("/")[0] for address in me["addresses"]}
    wanted = {vip for vip in me["vips"] if _family(vip) == family}
    if owners.get(masters[0]) == me["host"]:
        for vip in sorted(wanted - held):
            yield "%s is not on %s, although this director is the master" % (vip, me["interface"])
    else:
        for vip in sorted(wanted & held):
            yield (
                "%s is on %s of this director, although %s is the master: check `journalctl -u keepalived`, and "
                "whether something else added the address" % (vip, me["interface"], named[0])
            )


def _owners(directors: list[Report]) -> dict[str, str]:
    """Maps each director's own addresses to its name."""
    return {
        address.split("/")[0]: director["host"]
        for director in directors
        for address in director["addresses"]
        if address.split("/")[0] not in director["vips"]
    }


def _networks(report: Report) -> set[str]:
    return {
        str(ipaddress.ip_interface(address).network)
        for address in report["addresses"]
        if not ipaddress.ip_interface(address).is_link_local
    }


def _family(address: str) -> str:
    return "ipv6" if ":" in address else "ipv4"


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"vrrp_faults": vrrp_faults}
