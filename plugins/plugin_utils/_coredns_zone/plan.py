# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a declared zone: the trial, the objects to apply and remove, and the refusals.

Everything here is pure, and works on objects that were read before.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, Iterator, Mapping, Sequence

from ...module_utils._common.errors import InputError
from .._common.objects import MANAGED_BY, MANAGER, by_kind, has_labels, name_of, reference
from .._k8s.model import Answer, Apply, Object, Outcome, Plan, Query, Rehearsal, Remove, Rollout, Step
from .._k8s_explain.rollout import addresses_of
from .corefile import BEGIN, END, PORT, corefile, with_block, without_block
from .input import Outside, in_zone, parse_outside, parse_zone
from .objects import (
    CLUSTER_DNS,
    DNS_PORT,
    NAME,
    NAMESPACE,
    TRIAL,
    Live,
    cluster_dns,
    outer_service,
    own,
    restored,
    trial,
)

# The head of a server block, such as `a.example:53, ZONE {`.
_SERVER = r"(?mi)^(?:[^\s{}#,]+[ \t,]+)*(?:dns://)?%s\.?(?::\d+)?[ \t]*[{,]"
_KUBERNETES = re.compile(r"^[ \t]*kubernetes[ \t]+([^{\n]+)", re.MULTILINE)

_OURS: list[Query] = [
    {"kind": "ConfigMap", "namespace": NAMESPACE, "name": CLUSTER_DNS},
    {"kind": "ConfigMap", "namespace": NAMESPACE, "name": NAME},
    {"kind": "ConfigMap", "namespace": NAMESPACE, "name": TRIAL},
    {"api_version": "apps/v1", "kind": "Deployment", "namespace": NAMESPACE},
]
_ROUTED: list[Query] = [
    {"api_version": "gateway.networking.k8s.io/v1", "kind": "Gateway"},
    {"api_version": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"},
]
_REFUSED = (
    "CoreDNS does not start with the new Corefile, so nothing was changed. Look for what it says below; what is not of "
    "this role in it is %sextra, and in mode cluster the rest of the Corefile."
)

# The objects of the cluster, by kind.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


def queries(options: Mapping[str, Any]) -> list[Query]:
    """The queries to the cluster."""
    if options["state"] == "absent":
        return [*_OURS, {"kind": "Service", "namespace": NAMESPACE, "name": NAME}]
    return [*_OURS, {"kind": "Service"}, {"kind": "Node"}, *(_ROUTED if options["from_routes"] else [])]


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """Compare a declaration with the cluster. Raises InputError for a change that must not be made."""
    cluster = by_kind(found)
    live: Live = {(entry["kind"], entry["metadata"]["name"]): entry for entry in _in_namespace(cluster)}
    for (dummy, name), entry in live.items():
        if name in (NAME, TRIAL) and not has_labels(entry, {MANAGED_BY: MANAGER}):
            raise InputError("%s is not of this role: rename it, or remove it" % name_of(entry))
    present = options["state"] == "present"
    wanted, tried = _wanted(options, cluster, live) if present else ([], [])
    names = {(entry["kind"], entry["metadata"]["name"]) for entry in wanted}
    # A killed run may have left its trial pod.
    ours = (NAME,) if tried else (NAME, TRIAL)
    undeclared = [
        reference(entry["apiVersion"], entry["kind"], entry)
        for key, entry in live.items()
        if key[1] in ours and key not in names
    ]
    failure = _REFUSED % options.get("prefix", "")
    steps: list[Step] = [Rehearsal(tried, failure, options["trial_timeout"])] if tried else []
    steps += _steps(wanted, [] if ("ConfigMap", CLUSTER_DNS) in names else restored(live), live)
    if undeclared:
        steps.append(Remove(undeclared))
    return Plan(
        steps=steps,
        timeout=options["timeout"],
        result=lambda outcome: {"servers": _servers(options, cluster, live, outcome) if present else []},
    )


def _steps(wanted: Sequence[Object], back: Sequence[Object], live: Live) -> list[Step]:
    """Apply the objects of a zone, the last of which is the Service, and those that restore the cluster's own DNS."""
    if not wanted:
        return _applied(back)
    *serving, service = wanted
    standing = (live.get(("Service", NAME)) or {}).get("spec") or service["spec"]
    if standing.get("selector") != service["spec"]["selector"]:
        # The Service moves to other pods: the old ones serve until the new ones are ready.
        return [*_applied(serving), *_applied([service, *back])]
    # The Service comes first, because the API server checks a node port only when it is applied, not in a dry run.
    return _applied([service, *serving, *back])


def _applied(objects: Sequence[Object]) -> list[Step]:
    # Another manager owns the Corefile of the cluster's own CoreDNS, so we have to force the change.
    return [Apply(objects, force=True), Rollout(objects, addresses=True)] if objects else []


def _servers(options: Mapping[str, Any], cluster: Cluster, live: Live, outcome: Outcome) -> list[dict[str, Any]]:
    """Where the zone is served, the load balancer first.

    Its addresses are those that the Service got. In check mode, they are those that it requests or already has.
    """
    outside = parse_outside(options, options.get("prefix", ""))
    standing = addresses_of(live[("Service", NAME)]) if ("Service", NAME) in live else []
    addresses = outcome.addresses.get("%s/%s" % (NAMESPACE, NAME)) or outside.addresses or standing
    balanced = [{"address": address, "port": DNS_PORT} for address in (addresses if outside.balanced else [])]
    nodes = [{"address": address, "port": outside.node_port} for address in _node_addresses(cluster)]
    return balanced + (nodes if outside.node_port else [])


def _wanted(options: Mapping[str, Any], cluster: Cluster, live: Live) -> tuple[Sequence[Object], Sequence[Object]]:
    """The objects of a zone, and those of the trial pod."""
    prefix = options.get("prefix", "")
    outside = parse_outside(options, prefix)
    _refuse_taken(outside, cluster, prefix)
    zone = parse_zone(
        options["name"],
        options["ttl"],
        options["records"],
        cluster.get("HTTPRoute", ()),
        cluster.get("Gateway", ()),
        prefix=prefix,
    )
    extra = options["extra"]
    if BEGIN in extra or END in extra:
        raise InputError("%sextra has a line that marks our block in the Corefile: leave it out" % prefix)
    dns = live.get(("Deployment", CLUSTER_DNS))
    if options["mode"] == "deployment":
        config = live.get(("ConfigMap", NAME))
        text = corefile(zone, [PORT], ["health :8080", "ready :8181"], extra)
        wanted = own(options, outside, text, dns, prefix)
        return wanted, trial(config, NAME, text, wanted[1])
    config = live.get(("ConfigMap", CLUSTER_DNS))
    if not dns or not config or "Corefile" not in (config.get("data") or {}):
        raise InputError(
            "the cluster has no Deployment and ConfigMap %s/%s with a Corefile: %smode deployment does without"
            % (NAMESPACE, CLUSTER_DNS, prefix)
        )
    _refuse_zones_of_others(zone.name, without_block(config["data"]["Corefile"]), prefix)
    block = corefile(zone, [DNS_PORT, PORT], (), extra)
    text = with_block(config["data"]["Corefile"], block)
    # The checksum covers only our block. Whoever changes the rest has to restart the pods.
    wanted = cluster_dns(config, text, zlib.crc32(block.encode()))
    return [*wanted, outer_service(options, outside, dns, prefix)], trial(config, CLUSTER_DNS, text, dns)


def _refuse_taken(outside: Outside, cluster: Cluster, prefix: str) -> None:
    """Refuse a node port or an address that another Service has."""
    for service in cluster.get("Service", ()):
        if (service["metadata"]["namespace"], service["metadata"]["name"]) == (NAMESPACE, NAME):
            continue
        owner = name_of({**service, "kind": "Service"})
        for port in (service.get("spec") or {}).get("ports") or []:
            if outside.node_port and port.get("nodePort") == outside.node_port:
                raise InputError(
                    "%snode_port %d is already that of %s: choose another one, or 0 for none"
                    % (prefix, outside.node_port, owner)
                )
        for address in outside.addresses:
            if address in addresses_of(service):
                raise InputError(
                    "%sload_balancer %s is already the address of %s: choose another one" % (prefix, address, owner)
                )


def _refuse_zones_of_others(zone: str, text: str, prefix: str) -> None:
    """Refuse a zone that the rest of the Corefile serves, or that would hide the names of Services and pods."""
    if re.search(_SERVER % re.escape(zone), text):
        raise InputError(
            "%sname %s has another server block in the Corefile of the ConfigMap %s/%s: remove that block, or "
            "choose another name" % (prefix, zone, NAMESPACE, CLUSTER_DNS)
        )
    for names in _KUBERNETES.findall(text):
        for name in names.split():
            if in_zone(zone, name.rstrip(".")) or in_zone(name.rstrip("."), zone):
                raise InputError(
                    "%sname %s would hide names of the zone %s, which are the cluster's own: choose another one"
                    % (prefix, zone, name)
                )


def _in_namespace(cluster: Cluster) -> Iterator[dict[str, Any]]:
    for kind, version in (("ConfigMap", "v1"), ("Deployment", "apps/v1"), ("Service", "v1")):
        for entry in cluster.get(kind, ()):
            if entry["metadata"]["namespace"] == NAMESPACE:
                yield {**entry, "kind": kind, "apiVersion": version}


def _node_addresses(cluster: Cluster) -> list[str]:
    return [
        address["address"]
        for node in cluster.get("Node", ())
        for address in (node.get("status") or {}).get("addresses") or []
        if address.get("type") == "InternalIP"
    ]
