# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a port of a Service's address does not answer a client, and what to do. Pure.

A cause is named only if the observations prove it. If they have several possible causes, the text names all of them and
says that it is not known which one applies.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Dict, Mapping, NamedTuple, Sequence

from .._common.networks import unusable

Object = Dict[str, Any]


class Around(NamedTuple):
    """Facts about the nodes, for judging the answer of a port."""

    nodes: Mapping[str, str]  # the name of the node, by its address
    lost: Mapping[str, tuple[str, str]]  # trouble and remedy of the nodes that are not ready, by their name
    networks: Sequence[str]  # of the nodes' links; empty unless all nodes reported theirs


def why_lost(service: Object, around: Around) -> tuple[str, str] | None:
    """Trouble and remedy if no node that announces the Service is ready; None if one is ready, or none is known."""
    lost = [around.lost[name] for name in service["announcers"] if name in around.lost]
    return lost[0] if lost and len(lost) == len(service["announcers"]) else None


def why_misplaced(service: Object, address: str, around: Around) -> tuple[str, str] | None:
    """Why the address does not fit the networks of the nodes, so that clients cannot reach it; None if it may fit."""
    networks = [ipaddress.ip_network(one, strict=False) for one in around.networks]
    for network in networks:
        for one in unusable(network):
            if str(one.address) == address:
                cause = "%s is %s, at which no host can be reached" % (address, one.what)
                return cause, "take it out of its pool, for instance by avoid_buggy_ips: role metallb_pool"
    if not networks or "layer2" not in service["protocols"] or "bgp" in service["protocols"]:
        return None
    if any(ipaddress.ip_address(address) in network for network in networks):
        return None
    return (
        "%s is in no network of the nodes (%s) and is announced by layer 2 alone, so that only a router with a static "
        "route for it to the nodes' link reaches it; whether the client's has one, is not known"
        % (address, ", ".join(around.networks)),
        "take a pool in the nodes' network, give the client's router a static route for it to the nodes' link, or "
        "announce the pool by BGP: role metallb_pool",
    )


def why_closed(service: Object, answer: Object, around: Around) -> tuple[str, str]:
    """Why a port of an address does not work."""
    state = answer["state"]
    if state == "open":
        return _why_no_page(service, answer)
    # A refusal comes from a host that was reached.
    refused = state == "refused" or (state == "prohibited" and answer.get("sender"))
    elsewhere = None if refused else why_misplaced(service, answer["address"], around) or why_lost(service, around)
    if elsewhere:
        return elsewhere
    if not service["endpoints"]:
        return (
            "%s has no endpoint that is ready" % service["name"],
            "look at its pods, and whether their labels are what the Service selects",
        )
    if state == "silent" and not _let_in(answer["source"], service["source_ranges"]):
        return (
            "%s lets in only %s, and the client is %s"
            % (service["name"], ", ".join(service["source_ranges"]), answer["source"]),
            "add the client to loadBalancerSourceRanges, or ask from another one",
        )
    judges = {"refused": _why_refused, "prohibited": _why_prohibited, "unreachable": _why_unreachable}
    return judges.get(state, _why_silent)(service, answer, around)


def _why_no_page(service: Object, answer: Object) -> tuple[str, str]:
    if answer["status"] is not None:
        return (
            "%s is reached, and what answers reports a failure of its own: %s" % (service["name"], answer["detail"]),
            "look at the log of its pods",
        )
    return (
        "%s is reached, but what answers is no page: %s" % (service["name"], answer["detail"]),
        "look at the pods' log; a port that does not speak HTTP is taken out of external_access_http_ports, and is not "
        "named http",
    )


def _why_refused(service: Object, answer: Object, around: Around) -> tuple[str, str]:
    """Why a connection is refused.

    A reset comes from the program's own host. Without kube-proxy, the node does not have the address and sends none.
    """
    port = next((one for one in service["ports"] if one["port"] == answer["port"]), None)
    sender = answer.get("sender")
    # Only a named targetPort can match no port of the pods. kube-proxy then rejects the connection.
    if port and not port["targets"] and not port["declared"].isdigit():
        return (
            "its targetPort %s is none of the ports of its pods that are ready" % port["declared"],
            "name a port there that the pods have",
        )
    if sender:
        node = around.nodes.get(sender)
        return (
            "%s rejects it: kube-proxy does where it knows no endpoint that may serve it, and so may a firewall; which "
            "one, is not known" % ("the node %s" % node if node else sender),
            "see that the firewall lets the port in; with externalTrafficPolicy: Local, that a pod runs on that node",
        )
    if port and service["pool"]:
        return (
            "no program of its pods listens on targetPort %s: they are ready, and the connection is reset"
            % (" or ".join(map(str, port["targets"])) or port["declared"]),
            "set targetPort to the port on which the program listens, and see that it listens on all addresses of the "
            "pod",
        )
    return (
        "what has the address resets the connection; which program should listen there, is not known",
        "see what listens there, and the log of the load balancer that gave the address",
    )


def _why_prohibited(service: Object, answer: Object, around: Around) -> tuple[str, str]:
    sender = answer.get("sender")
    remedy = "open the port there"
    if not sender:
        return "the client's own kernel does not let it out", "see the firewall and the routes of the client"
    node = around.nodes.get(sender)
    if node:
        return "a firewall of the node %s does not let it in" % node, remedy
    if sender == answer["address"]:
        return "a firewall of the node that it leads to does not let it in", remedy
    return "a firewall of %s, on the way, does not let it through" % sender, remedy


def _why_unreachable(service: Object, answer: Object, around: Around) -> tuple[str, str]:
    sender = answer.get("sender")
    if sender and sender != answer["source"]:
        node = around.nodes.get(sender)
        return (
            "%s, to which the packet came, has no way to it" % ("the node %s" % node if node else sender),
            "see the routes there" if node else "give that router a route to it",
        )
    if answer["detail"].startswith("network is unreachable"):
        return "the client has no route to it", "give the client a route to it"
    return (
        "nobody answers for it on the client's link, or the router there says nothing; which one, is not known",
        "see who has the address: ip neighbor, ip route get %s" % answer["address"],
    )


def _why_silent(service: Object, answer: Object, around: Around) -> tuple[str, str]:
    return (
        "what drops it, is not known: a firewall, a NetworkPolicy of the pods, or that kube-proxy does not run on the "
        "node that it leads to",
        "see that the firewall lets the port in, that NetworkPolicies of the pods let the client in, and that "
        "kube-proxy runs",
    )


def _let_in(client: str, ranges: Sequence[str]) -> bool:
    """Whether loadBalancerSourceRanges contain a client. kube-proxy drops packets from others."""
    networks = [ipaddress.ip_network(one.strip(), strict=False) for one in ranges]
    return not (client and networks) or any(ipaddress.ip_address(client) in network for network in networks)
