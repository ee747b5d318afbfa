# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that serve a zone, those of the trial pod, and those that restore the cluster's own CoreDNS.

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
NAME = "coredns-zone"  # of all our objects
TRIAL = "coredns-zone-trial"
DNS_PORT = 53

# Options of an application whose pods serve a Corefile.
_APP = {
    "namespace": NAMESPACE,
    "config_path": "/etc/coredns",
    "args": ["-conf", "/etc/coredns/Corefile"],
    "writable_paths": [],
    "readiness_probe": {"type": "http", "path": "/ready", "port": 8181, "interval": 2},
    "liveness_probe": {"type": "http", "path": "/health", "port": 8080, "delay": 60},
    "resources": {"requests": {"cpu": "10m", "memory": "30Mi"}, "limits": {"memory": "170Mi"}},
    # The program in CoreDNS's image has this file capability, and does not start if the container drops it.
    "security_context": {"runAsUser": 65532, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
}

# The objects of the namespace, by kind and name.
Live = Mapping[Tuple[str, str], Mapping[str, Any]]


def own(
    options: Mapping[str, Any], outside: Outside, text: str, dns: Mapping[str, Any] | None, prefix: str
) -> list[dict[str, Any]]:
    """ConfigMap, Deployment and Service of a separate CoreDNS.

    text -- its Corefile
    dns -- the Deployment of the cluster's own CoreDNS; its image is the default
    """
    image = options["image"] or (dns["spec"]["template"]["spec"]["containers"][0]["image"] if dns else "")
    if not image:
        raise InputError("%simage is empty, and the cluster has no CoreDNS to take it from: name one" % prefix)
    app = {**_APP, "replicas": options["replicas"], "config": {"Corefile": text}, **_service(outside)}
    objects = app_objects(parse_app(NAME, image, app, prefix))
    spec = objects[1]["spec"]
    # With several nodes, the failure of one node stops only some of the pods.
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
    """The Service through which the cluster's own CoreDNS is reached from outside."""
    made: dict[str, Any] = own(options, outside, "", dns, prefix)[-1]
    made["spec"]["selector"] = dns["spec"]["selector"]["matchLabels"]
    return made


def cluster_dns(config: Mapping[str, Any], text: str, checksum: int | None) -> list[dict[str, Any]]:
    """The Corefile of the cluster's own CoreDNS, and an annotation that replaces its pods, so that they read it now.

    checksum -- the value of the annotation; None removes it
    """
    template = {"metadata": {"annotations": {CHECKSUM: "%08x" % (checksum or 0)}}}
    metadata = {"name": CLUSTER_DNS, "namespace": NAMESPACE}
    # With a resourceVersion, the API server refuses to overwrite a concurrent change.
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
    """The objects that remove our block from the cluster's own CoreDNS; none if there is no block."""
    config = live.get(("ConfigMap", CLUSTER_DNS))
    text = ((config or {}).get("data") or {}).get("Corefile", "")
    rest = without_block(text)
    return cluster_dns(config, rest, None) if config and rest != text else []


def trial(
    config: Mapping[str, Any] | None, name: str, text: str, deployment: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A trial pod like those of a Deployment, but with a new Corefile, and with labels that no Service selects.

    config -- the current ConfigMap; a Corefile that it already contains needs no trial
    name -- the ConfigMap's name in the volumes of the Deployment
    """
    if config and (config.get("data") or {}).get("Corefile") == text:
        return []
    labels = {LABEL_NAME: TRIAL, MANAGED_BY: MANAGER}
    metadata = {"name": TRIAL, "namespace": NAMESPACE, "labels": labels}
    pod = copy.deepcopy(deployment["spec"]["template"]["spec"])
    for volume in pod.get("volumes") or []:
        if (volume.get("configMap") or {}).get("name") == name:
            volume["configMap"]["name"] = TRIAL
    # The trial pod serves no client, so it may be stopped at once.
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
    """Options of an application that make its Service reachable from outside."""
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
