# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared network policies, checked and made into objects.

The rules are those of https://kubernetes.io/docs/concepts/services-networking/network-policies/: a pod that no policy
selects may do anything; one that is selected may do what any of its policies allows, and policies only ever allow.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Mapping, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import DIGITS, check_keys, parse_list, parse_number, value_or
from ...module_utils._k8s.values import PORT_NAME, parse_label, parse_labels, parse_pattern, parse_subdomain
from ...module_utils._services.model import PROTOCOLS, parse_network
from .._common.objects import MANAGED_BY, MANAGER

POLICY_KEYS = ("name", "namespace", "pods", "ingress", "egress")
PEER_KEYS = ("pods", "namespace", "namespaces", "network", "except")
PORT_KEYS = ("port", "end_port", "protocol")
# Of each direction, what a rule calls the other side.
SIDES = {"ingress": "from", "egress": "to"}
# The label that each namespace has by itself.
NAMESPACE_NAME = "kubernetes.io/metadata.name"


def objects(policies: Any, where: str = "policies") -> list[dict[str, Any]]:
    """The NetworkPolicies of a declaration, in its order. Raises InputError, which names the first wrong entry.

    where -- how messages call the list
    """
    if policies is None:
        raise InputError(
            "%s is undefined or null: declare the policies, or write %s: [] to remove everything that this role made"
            % (where, where)
        )
    made: list[dict[str, Any]] = []
    first: dict[tuple[str, str], int] = {}
    for index, raw in enumerate(parse_list(policies, where)):
        made.append(_policy(raw, "%s[%d]" % (where, index)))
        key = key_of(made[-1])
        if first.setdefault(key, index) != index:
            raise InputError(
                "%s[%d].name %s is already that of %s[%d] in the namespace %s"
                % (where, index, key[1], where, first[key], key[0])
            )
    return made


def _policy(raw: Any, where: str) -> dict[str, Any]:
    check_keys(raw, POLICY_KEYS, ("name", "namespace"), where)
    spec: dict[str, Any] = {"podSelector": _selector(raw.get("pods"), where + ".pods"), "policyTypes": []}
    for direction in SIDES:
        if raw.get(direction) is not None:
            spec["policyTypes"].append(direction.capitalize())
            rules = _rules(raw[direction], direction, "%s.%s" % (where, direction))
            if rules:
                spec[direction] = rules
    if not spec["policyTypes"]:
        raise InputError("%s has neither ingress nor egress: write deny, or rules of what is allowed" % where)
    metadata = {
        "name": parse_subdomain(raw["name"], where + ".name"),
        "namespace": parse_label(raw["namespace"], where + ".namespace"),
        "labels": {MANAGED_BY: MANAGER},
    }
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _rules(raw: Any, direction: str, where: str) -> list[dict[str, Any]]:
    if raw == "deny":
        return []
    if not isinstance(raw, (list, tuple)):
        raise InputError("%s %s is neither deny nor a list of rules" % (where, raw))
    if not raw:
        raise InputError("%s is empty: write deny, or leave it out to allow everything" % where)
    return [_rule(rule, direction, "%s[%d]" % (where, i)) for i, rule in enumerate(raw)]


def _rule(raw: Any, direction: str, where: str) -> dict[str, Any]:
    side = SIDES[direction]
    check_keys(raw, (side, "ports"), (), where)
    rule: dict[str, Any] = {}
    for key, parse in ((side, _peer), ("ports", _port)):
        place = "%s.%s" % (where, key)
        if raw.get(key) is None:
            continue
        entries = parse_list(raw[key], place)
        if not entries:
            # To Kubernetes an empty list is no restriction, to whoever writes one it is the opposite.
            raise InputError("%s is empty: leave it out to allow all, or take the rule out to allow none" % place)
        rule[key] = [parse(entry, "%s[%d]" % (place, i)) for i, entry in enumerate(entries)]
    return rule


def _peer(raw: Any, where: str) -> dict[str, Any]:
    check_keys(raw, PEER_KEYS, (), where)
    given = [key for key in PEER_KEYS if raw.get(key) is not None]
    if not given:
        raise InputError("%s is empty: name pods, a namespace, namespaces or a network" % where)
    if "network" in given or "except" in given:
        return {"ipBlock": _block(raw, given, where)}
    if "namespace" in given and "namespaces" in given:
        raise InputError("%s has a namespace and labels of namespaces: one of the two" % where)
    peer = {}
    if "namespace" in given:
        peer["namespaceSelector"] = _selector(
            {NAMESPACE_NAME: parse_label(raw["namespace"], where + ".namespace")}, where + ".namespace"
        )
    if "namespaces" in given:
        peer["namespaceSelector"] = _selector(raw["namespaces"], where + ".namespaces")
    if "pods" in given:
        peer["podSelector"] = _selector(raw["pods"], where + ".pods")
    return peer


def _block(raw: Mapping[str, Any], given: Sequence[str], where: str) -> dict[str, Any]:
    if "network" not in given:
        raise InputError("%s.except needs a network of which it is a part" % where)
    others = [key for key in given if key not in ("network", "except")]
    if others:
        raise InputError("%s has a network and %s: make two entries of them" % (where, others[0]))
    network = parse_network(raw["network"], where + ".network")[0]
    block: dict[str, Any] = {"cidr": network}
    for i, entry in enumerate(parse_list(value_or(raw, "except", []), where + ".except")):
        place = "%s.except[%d]" % (where, i)
        part = parse_network(entry, place)[0]
        if not _within(part, network):
            raise InputError("%s %s is not a part of %s" % (place, part, network))
        block.setdefault("except", []).append(part)
    return block


def _within(part: str, whole: str) -> bool:
    """Whether a network is a real part of another one, as the API server wants it."""
    inner, outer = ipaddress.ip_network(part), ipaddress.ip_network(whole)
    if inner.version != outer.version or inner.prefixlen <= outer.prefixlen:
        return False
    return inner.network_address in outer


def _port(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raw = {"port": raw}
    check_keys(raw, PORT_KEYS, ("port",), where)
    protocol = value_or(raw, "protocol", "tcp")
    if protocol not in PROTOCOLS:
        raise InputError("%s.protocol %s is not one of %s" % (where, protocol, ", ".join(PROTOCOLS)))
    port, last = raw["port"], raw.get("end_port")
    place = where + ".port"
    if isinstance(port, str) and not DIGITS.match(port):
        parse_pattern(port, PORT_NAME, place, "a number or the name of a port of the pods")
        if last is not None:
            raise InputError("%s.end_port needs a number as port, which is %s" % (where, port))
    else:
        port = parse_number(port, 1, 65535, place, "a port")
    made = {"port": port, "protocol": protocol.upper()}
    if last is not None:
        made["endPort"] = parse_number(last, port, 65535, where + ".end_port", "a port")
    return made


def _selector(raw: Any, where: str) -> dict[str, Any]:
    """A label selector. Without labels it is for all."""
    labels = parse_labels({} if raw is None else raw, where)
    return {"matchLabels": labels} if labels else {}


def key_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of an object."""
    return str(entry["metadata"]["namespace"]), str(entry["metadata"]["name"])
