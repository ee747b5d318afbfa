# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that serve a zone, those that try its Corefile first, and how the cluster's own CoreDNS was before.

Everything here is pure.
"""

from __future__ import annotations

import copy
from typing import Any, Mapping, Tuple

from ...module_utils._common.errors import InputError
from .._app.input import LABEL_NAME, parse_app
from .._app.objects import CHECKSUM, app_objects
from .._common.objects import MANAGED_BY, MANAGER
from .corefile import PORT, without_block
from .input import Outside

NAMESPACE = "kube-system"
CLUSTER_DNS = "coredns"  # the ConfigMap and the Deployment of the cluster's own CoreDNS
NAME = "coredns-zone"  # of all objects of ours
TRIAL = "coredns-zone-trial"
DNS_PORT = 53

# Options of an application, by which its pods serve a Corefile.
_APP = {
    "namespace": NAMESPACE,
    "config_path": "/etc/coredns",
    "args": ["-conf", "/etc/coredns/Corefile"],
    "writable_paths": [],
    "readiness_probe": {"type": "http", "path": "/ready", "port": 8181, "interval": 2},
    "liveness_probe": {"type": "http", "path": "/health", "port": 8080, "delay": 60},
    "resources": {"requests": {"cpu": "10m", "memory": "30Mi"}, "limits": {"memory": "170Mi"}},
    # CoreDNS's own image gives its program this capability, and without it the program does not start.
    "security_context": {"runAsUser": 65532, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
}

# By kind and name the objects of the namespace.
Live = Mapping[Tuple[str, str], Mapping[str, Any]]


def own(
    options: Mapping[str, Any], outside: Outside, text: str, dns: Mapping[str, Any] | None, prefix: str
) -> list[dict[str, Any]]:
    """ConfigMap, Deployment and Service of a CoreDNS of our own.

    text -- its Corefile
    dns -- the Deployment of the cluster's own CoreDNS, whose image it has where none is declared
    """
    image = options["image"] or (dns["spec"]["template"]["spec"]["containers"][0]["image"] if dns else "")
    if not image:
        raise InputError("%simage is empty, and the cluster has no CoreDNS to take it from: name one" % prefix)
    app = {**_APP, "replicas": options["replicas"], "config": {"Corefile": text}, **_service(outside)}
    objects = app_objects(parse_app(NAME, image, app, prefix))
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


def outer_service(options: Mapping[str, Any], outside: Outside, dns: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The Service by which the cluster's own CoreDNS is reached from outside."""
    made: dict[str, Any] = own(options, outside, "", dns, prefix)[-1]
    made["spec"]["selector"] = dns["spec"]["selector"]["matchLabels"]
    return made


def cluster_dns(config: Mapping[str, Any], text: str, checksum: int | None) -> list[dict[str, Any]]:
    """The Corefile of the cluster's own CoreDNS, and what has its pods replaced, so that they read it now.

    checksum -- None takes that back
    """
    template = {"metadata": {"annotations": {CHECKSUM: "%08x" % (checksum or 0)}}}
    metadata = {"name": CLUSTER_DNS, "namespace": NAMESPACE}
    # What somebody else writes in the meantime is not overwritten.
    version = {"resourceVersion": config["metadata"]["resourceVersion"]} if config["data"]["Corefile"] != text else {}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**metadata, **version},
            "data": {"Corefile": text},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            **({} if checksum is None else {"spec": {"template": template}}),
        },
    ]


def restored(live: Live) -> list[dict[str, Any]]:
    """The cluster's own CoreDNS without our block, where it has one."""
    config = live.get(("ConfigMap", CLUSTER_DNS))
    text = ((config or {}).get("data") or {}).get("Corefile", "")
    rest = without_block(text)
    return cluster_dns(config, rest, None) if config and rest != text else []


def trial(
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


def _service(outside: Outside) -> dict[str, Any]:
    """Options of an application, by which its Service is reached from outside."""
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
    return {
        "ports": ports,
        "service_type": "LoadBalancer" if outside.balanced else "NodePort" if outside.node_port else "ClusterIP",
        "load_balancer_ips": outside.addresses,
    }
