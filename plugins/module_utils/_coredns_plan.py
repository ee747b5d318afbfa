# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `coredns_zone` does to a cluster: which objects it applies, tries first, and removes.

Everything here is pure: it judges objects that were looked up before.
"""

from __future__ import annotations

import copy
import re
import zlib
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._coredns_corefile import (
    BEGIN,
    END,
    PORT,
    corefile,
    with_block,
    without_block,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._coredns_zone import PREFIX, in_zone, parse_zone
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import (
    MANAGED_BY,
    MANAGER,
    has_labels,
    name_of,
    reference,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services import parse_address
from ansible_collections.homelab.loadbalancer.plugins.module_utils._values import parse_list, parse_number
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app.input import LABEL_NAME, parse_app
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app.objects import CHECKSUM, app_objects
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.rollout import addresses_of

NAMESPACE = "kube-system"
CLUSTER_DNS = "coredns"  # the ConfigMap and the Deployment of the cluster's own CoreDNS
NAME = "coredns-zone"  # of all objects of ours
TRIAL = "coredns-zone-trial"
DNS_PORT = 53

# The head of a server block, such as `a.example:53, ZONE {`.
_SERVER = r"(?mi)^(?:[^\s{}#,]+[ \t,]+)*(?:dns://)?%s\.?(?::\d+)?[ \t]*[{,]"
_KUBERNETES = re.compile(r"^[ \t]*kubernetes[ \t]+([^{\n]+)", re.MULTILINE)

# By kind the objects of the cluster.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


class Plan(NamedTuple):
    """What is to be done, in this order."""

    trial: list[dict[str, Any]]  # CoreDNS with the new Corefile, which must start; empty when the Corefile stays
    apply: list[dict[str, Any]]
    remove: list[dict[str, Any]]  # what is ours and is declared no more
    addresses: list[str]  # of the Service, as far as they are known before
    nodes: list[dict[str, Any]]  # how clients reach the node port: {address, port}


class Outside(NamedTuple):
    """How the zone is reached from outside the cluster."""

    node_port: int  # 0: by none
    balanced: bool
    addresses: list[str]  # of the load balancer; empty: it chooses


def plan(declared: Mapping[str, Any], cluster: Cluster) -> Plan:
    """Compare a declaration with the cluster.

    declared -- the role's variables, without their prefix
    cluster -- by their kinds Services and Nodes, Gateways and HTTPRoutes, and of the namespace kube-system the
        ConfigMaps and Deployments that are called as the constants above
    Raises InputError for what must not be done.
    """
    live = {(entry["kind"], entry["metadata"]["name"]): entry for entry in _in_namespace(cluster)}
    for (dummy, name), entry in live.items():
        if name == NAME and not has_labels(entry, {MANAGED_BY: MANAGER}):
            raise InputError("%s is not of this role: rename it, or remove it" % name_of(entry))
    present = declared["state"] == "present"
    wanted, trial = _wanted(declared, cluster, live) if present else ([], [])
    names = {(entry["kind"], entry["metadata"]["name"]) for entry in wanted}
    remove = [
        reference(entry["apiVersion"], entry["kind"], entry)
        for key, entry in live.items()
        if key[1] == NAME and key not in names
    ]
    if ("ConfigMap", CLUSTER_DNS) not in names:
        wanted += _restored(live)
    outside = _outside(declared) if present else Outside(0, False, [])
    standing = addresses_of(live[("Service", NAME)]) if ("Service", NAME) in live else []
    nodes = [{"address": address, "port": outside.node_port} for address in _node_addresses(cluster)]
    return Plan(
        trial,
        wanted,
        remove,
        (outside.addresses or standing) if outside.balanced else [],
        nodes if outside.node_port else [],
    )


def _wanted(
    declared: Mapping[str, Any], cluster: Cluster, live: Mapping[tuple[str, str], Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The objects of a zone, and those that try its Corefile first."""
    outside = _outside(declared)
    _refuse_what_is_taken(outside, cluster)
    zone = parse_zone(
        declared["name"], declared["ttl"], declared["records"], cluster.get("HTTPRoute", ()), cluster.get("Gateway", ())
    )
    extra = declared["extra"]
    if BEGIN in extra or END in extra:
        raise InputError("%sextra has a line that marks our block in the Corefile: leave it out" % PREFIX)
    dns = live.get(("Deployment", CLUSTER_DNS))
    if declared["mode"] == "deployment":
        config = live.get(("ConfigMap", NAME))
        text = corefile(zone, [PORT], ["health :8080", "ready :8181"], extra)
        wanted = _app(declared, outside, text, dns)
        return wanted, _trial(config, NAME, text, wanted[1])
    config = live.get(("ConfigMap", CLUSTER_DNS))
    if not dns or not config or "Corefile" not in (config.get("data") or {}):
        raise InputError(
            "the cluster has no Deployment and ConfigMap %s/%s with a Corefile: %smode deployment does without"
            % (NAMESPACE, CLUSTER_DNS, PREFIX)
        )
    _refuse_zones_of_others(zone.name, without_block(config["data"]["Corefile"]))
    block = corefile(zone, [DNS_PORT, PORT], (), extra)
    text = with_block(config["data"]["Corefile"], block)
    service = _app(declared, outside, text, dns)[2]
    service["spec"]["selector"] = dns["spec"]["selector"]["matchLabels"]
    # Of the block alone: what others change in the rest is theirs to bring to the pods.
    wanted = [*_cluster_dns(config, text, zlib.crc32(block.encode())), service]
    return wanted, _trial(config, CLUSTER_DNS, text, dns)


def _outside(declared: Mapping[str, Any]) -> Outside:
    raw, where = declared["load_balancer"], PREFIX + "load_balancer"
    port = parse_number(declared["node_port"], 0, 65535, PREFIX + "node_port", "a port, or 0 for none,")
    # Jinja may hand a boolean over as text.
    raw = {"true": True, "false": False}.get(raw.lower(), raw) if isinstance(raw, str) else raw
    if isinstance(raw, bool):
        return Outside(port, raw, [])
    entries = [raw] if isinstance(raw, str) else parse_list(raw, where)
    if not entries:
        raise InputError("%s is empty: give an address, true or false" % where)
    return Outside(port, True, [parse_address(entry, where)[0] for entry in entries])


def _refuse_what_is_taken(outside: Outside, cluster: Cluster) -> None:
    """A node port or an address that another Service has."""
    for service in cluster.get("Service", ()):
        if (service["metadata"]["namespace"], service["metadata"]["name"]) == (NAMESPACE, NAME):
            continue
        owner = name_of({**service, "kind": "Service"})
        for port in (service.get("spec") or {}).get("ports") or []:
            if outside.node_port and port.get("nodePort") == outside.node_port:
                raise InputError(
                    "%snode_port %d is already that of %s: choose another one, or 0 for none"
                    % (PREFIX, outside.node_port, owner)
                )
        for address in outside.addresses:
            if address in addresses_of(service):
                raise InputError(
                    "%sload_balancer %s is already the address of %s: choose another one" % (PREFIX, address, owner)
                )


def _refuse_zones_of_others(zone: str, text: str) -> None:
    """What the rest of the Corefile serves must go on working, above all the names of Services and pods."""
    if re.search(_SERVER % re.escape(zone), text):
        raise InputError(
            "%sname %s has a server block of somebody else in the Corefile of the ConfigMap %s/%s: take that out, or "
            "choose another name" % (PREFIX, zone, NAMESPACE, CLUSTER_DNS)
        )
    for names in _KUBERNETES.findall(text):
        for name in names.split():
            if in_zone(zone, name.rstrip(".")) or in_zone(name.rstrip("."), zone):
                raise InputError(
                    "%sname %s would hide names of the zone %s, which are the cluster's own: choose another one"
                    % (PREFIX, zone, name)
                )


def _app(
    declared: Mapping[str, Any], outside: Outside, text: str, dns: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """ConfigMap, Deployment and Service of a CoreDNS of our own."""
    image = declared["image"] or (dns["spec"]["template"]["spec"]["containers"][0]["image"] if dns else "")
    if not image:
        raise InputError("%simage is empty, and the cluster has no CoreDNS to take it from: name one" % PREFIX)
    ports = [
        {
            "name": name,
            "port": DNS_PORT,
            "target_port": PORT,
            "protocol": protocol,
            "node_port": outside.node_port or None,
        }
        for name, protocol in (("dns", "udp"), ("dns-tcp", "tcp"))
    ]
    options = {
        "namespace": NAMESPACE,
        "replicas": declared["replicas"],
        "config": {"Corefile": text},
        "config_path": "/etc/coredns",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": ports,
        "writable_paths": [],
        "readiness_probe": {"type": "http", "path": "/ready", "port": 8181, "interval": 2},
        "liveness_probe": {"type": "http", "path": "/health", "port": 8080, "delay": 60},
        "resources": {"requests": {"cpu": "10m", "memory": "30Mi"}, "limits": {"memory": "170Mi"}},
        # CoreDNS's own image gives its program this capability, and without it the program does not start.
        "security_context": {"runAsUser": 65532, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
        "service_type": "LoadBalancer" if outside.balanced else "NodePort" if outside.node_port else "ClusterIP",
        "load_balancer_ips": outside.addresses,
    }
    objects = app_objects(parse_app(NAME, image, options, PREFIX))
    spec = objects[1]["spec"]
    # A node that fails takes one of the pods with it, where there is another node.
    spec["template"]["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": spec["selector"],
        }
    ]
    return objects


def _cluster_dns(config: Mapping[str, Any], text: str, checksum: int | None) -> list[dict[str, Any]]:
    """The Corefile of the cluster's own CoreDNS, and what has its pods replaced, so that they read it now.

    checksum -- None takes that back
    """
    template = {"metadata": {"annotations": {CHECKSUM: "%08x" % (checksum or 0)}}}
    metadata = {"name": CLUSTER_DNS, "namespace": NAMESPACE}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            # What somebody else writes in the meantime is not overwritten.
            "metadata": {**metadata, "resourceVersion": config["metadata"]["resourceVersion"]},
            "data": {"Corefile": text},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            **({} if checksum is None else {"spec": {"template": template}}),
        },
    ]


def _restored(live: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cluster's own CoreDNS without our block, where it has one."""
    config = live.get(("ConfigMap", CLUSTER_DNS))
    text = ((config or {}).get("data") or {}).get("Corefile", "")
    rest = without_block(text)
    return _cluster_dns(config, rest, None) if config and rest != text else []


def _trial(
    config: Mapping[str, Any] | None, name: str, text: str, deployment: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One pod like those of a Deployment, but with a new Corefile, and with labels that no Service chooses.

    config -- the ConfigMap as it is; there is no trial of a Corefile that it has
    name -- what the Deployment calls it
    """
    if config and (config.get("data") or {}).get("Corefile") == text:
        return []
    labels = {LABEL_NAME: TRIAL, MANAGED_BY: MANAGER}
    metadata = {"name": TRIAL, "namespace": NAMESPACE, "labels": labels}
    pod = copy.deepcopy(deployment["spec"]["template"]["spec"])
    for volume in pod.get("volumes") or []:
        if (volume.get("configMap") or {}).get("name") == name:
            volume["configMap"]["name"] = TRIAL
    # It serves nobody, and may go at once.
    pod["terminationGracePeriodSeconds"] = 0
    for container in pod["containers"]:
        container.pop("lifecycle", None)
    spec = {
        "replicas": 1,
        "minReadySeconds": 2,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": text}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
    ]


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
