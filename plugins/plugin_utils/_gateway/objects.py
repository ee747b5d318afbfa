# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of declared Gateways, and the objects of Traefik."""

from __future__ import annotations

import base64
from typing import Any, Mapping, Sequence

from .._common.objects import MANAGED_BY, MANAGER, PART_OF
from .input import TRAEFIK_PORT, Gateway

LABELS = {MANAGED_BY: MANAGER, PART_OF: "gateway"}
GATEWAY_API = "gateway.networking.k8s.io/v1"
# The annotation that requests an address from MetalLB.
ADDRESSES = "metallb.io/loadBalancerIPs"
TRAEFIK = "traefik"
_INSTANCE = "app.kubernetes.io/instance"
_SELECTOR = {"app.kubernetes.io/name": TRAEFIK}
_RBAC = "rbac.authorization.k8s.io"
# Only the permissions that Traefik needs for the standard kinds of the Gateway API.
_RULES: list[dict[str, list[str]]] = [
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["configmaps", "secrets", "services"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    {
        "apiGroups": ["gateway.networking.k8s.io"],
        "resources": [
            "backendtlspolicies",
            "gatewayclasses",
            "gateways",
            "grpcroutes",
            "httproutes",
            "referencegrants",
        ],
        "verbs": ["get", "list", "watch"],
    },
    {
        "apiGroups": ["gateway.networking.k8s.io"],
        "resources": [
            "backendtlspolicies/status",
            "gatewayclasses/status",
            "gateways/status",
            "grpcroutes/status",
            "httproutes/status",
        ],
        "verbs": ["update"],
    },
]


def namespace_object(name: str) -> dict[str, Any]:
    return _object("v1", "Namespace", name, "")


def gateway_objects(
    gateways: Sequence[Gateway], gateway_class: str, controller: str, files: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The Secrets with the certificates, followed by the Gateways.

    files -- the contents of certificates and keys, by path
    """
    made = []
    for gateway in gateways:
        made += [
            _object(
                "v1",
                "Secret",
                listener.secret,
                gateway.namespace,
                type="kubernetes.io/tls",
                data={
                    "tls.crt": _base64(files[listener.files.certificate]),
                    "tls.key": _base64(files[listener.files.key]),
                },
            )
            for listener in gateway.listeners
            if listener.files
        ]
    return made + [_gateway(gateway, gateway_class, controller) for gateway in gateways]


def traefik_objects(
    gateways: Sequence[Gateway], gateway_class: str, namespace: str, version: str, replicas: int
) -> list[dict[str, Any]]:
    """Traefik in its namespace, with an entry point for each port of the listeners."""
    # Traefik serves only this class. Several Traefiks may run in a cluster, each with a separate address.
    chosen = {_INSTANCE: gateway_class}
    cluster_name = "homelab-loadbalancer-gateway-" + gateway_class
    ports = sorted({listener.port for gateway in gateways for listener in gateway.listeners})
    addresses = next((gateway.addresses for gateway in gateways if gateway.addresses), [])
    role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": cluster_name}
    subject = {"kind": "ServiceAccount", "name": TRAEFIK, "namespace": namespace}
    return [
        _object("v1", "ServiceAccount", TRAEFIK, namespace, automountServiceAccountToken=False),
        _object(_RBAC + "/v1", "ClusterRole", cluster_name, "", rules=_RULES),
        _object(_RBAC + "/v1", "ClusterRoleBinding", cluster_name, "", roleRef=role, subjects=[subject]),
        _object(
            GATEWAY_API,
            "GatewayClass",
            gateway_class,
            "",
            labels=chosen,
            spec={"controllerName": "traefik.io/gateway-controller"},
        ),
        _deployment(ports, gateway_class, namespace, version, replicas),
        _object(
            "v1",
            "Service",
            TRAEFIK,
            namespace,
            annotations={ADDRESSES: ",".join(addresses)} if addresses else {},
            spec={
                "type": "LoadBalancer",
                # With Local, Traefik sees the client's address, and passes it to the applications.
                "externalTrafficPolicy": "Local",
                **({"ipFamilyPolicy": "RequireDualStack"} if len(addresses) > 1 else {}),
                "selector": _SELECTOR,
                "ports": [
                    {"name": "port%d" % port, "port": port, "protocol": "TCP", "targetPort": port} for port in ports
                ],
            },
        ),
    ]


def _gateway(gateway: Gateway, gateway_class: str, controller: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"gatewayClassName": gateway_class, "listeners": []}
    if controller == "nginx" and gateway.addresses:
        # NGINX Gateway Fabric makes a Service for each Gateway, and copies these annotations to it.
        spec["infrastructure"] = {"annotations": {ADDRESSES: ",".join(gateway.addresses)}}
    for listener in gateway.listeners:
        entry: dict[str, Any] = {"name": listener.name, "port": listener.port, "protocol": listener.protocol}
        if listener.hostname:
            entry["hostname"] = listener.hostname
        if listener.secret:
            entry["tls"] = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": listener.secret}]}
        entry["allowedRoutes"] = {"namespaces": listener.routes}
        spec["listeners"].append(entry)
    return _object(
        GATEWAY_API,
        "Gateway",
        gateway.name,
        gateway.namespace,
        labels=gateway.labels,
        annotations=gateway.annotations,
        spec=spec,
    )


def _deployment(
    ports: Sequence[int], gateway_class: str, namespace: str, version: str, replicas: int
) -> dict[str, Any]:
    ping: dict[str, Any] = {"httpGet": {"path": "/ping", "port": TRAEFIK_PORT}}
    container = {
        "name": TRAEFIK,
        "image": "docker.io/library/traefik:v" + version,
        "imagePullPolicy": "IfNotPresent",
        "args": _arguments(ports, gateway_class, namespace),
        # This includes the API server's defaults, so that the engine sees without a dry run that nothing changes.
        "ports": [{"containerPort": port, "protocol": "TCP"} for port in ports],
        "readinessProbe": {**ping, "periodSeconds": 1},
        "livenessProbe": {**ping, "periodSeconds": 10},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # For request bodies that are too big for the memory.
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a folder of the container
    }
    pod = {
        "serviceAccountName": TRAEFIK,
        "automountServiceAccountToken": True,
        "containers": [container],
        # On different nodes where possible, so that the address can move to another node that has a pod.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _SELECTOR},
            }
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
            # Allows ports such as 80 without root.
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": _SELECTOR},
        # The old pod keeps serving until the new one is ready.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": {**LABELS, **_SELECTOR}}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", TRAEFIK, namespace, spec=spec)


def _arguments(ports: Sequence[int], gateway_class: str, namespace: str) -> list[str]:
    provider = "--providers.kubernetesgateway."
    arguments = [
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--entrypoints.traefik.address=:%d" % TRAEFIK_PORT,
        "--ping=true",
        "--providers.kubernetesgateway=true",
        "%slabelselector=%s=%s" % (provider, _INSTANCE, gateway_class),
        "%sstatusaddress.service.namespace=%s" % (provider, namespace),
        "%sstatusaddress.service.name=%s" % (provider, TRAEFIK),
    ]
    for port in ports:
        # A terminating pod keeps serving until the nodes know that it terminates.
        arguments += [
            "--entrypoints.port%d.address=:%d" % (port, port),
            "--entrypoints.port%d.transport.lifecycle.requestacceptgracetimeout=5s" % port,
        ]
    return arguments


def _object(
    version: str,
    kind: str,
    name: str,
    namespace: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": {**(labels or {}), **LABELS}}
    if namespace:
        metadata["namespace"] = namespace
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
