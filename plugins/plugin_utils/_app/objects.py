# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application's Kubernetes objects: a Deployment, claims for volumes, ConfigMaps for files, a Service for ports.

The objects contain only declared fields. Server-side apply owns no field that is left out, so there is no conflict over
fields that the cluster fills in or others set.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .._common.objects import MANAGED_BY, MANAGER
from .input import LABEL_NAME, App, Probe
from .volumes import FS_GROUP, KEEP, Volume, mount, object_name, pod_volume

ADDRESSES = "metallb.io/loadBalancerIPs"
CHECKSUM = "homelab.loadbalancer/config-checksum"
# The requirements of the Pod Security Standard `restricted`, and a read-only root file system.
SECURITY_CONTEXT: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# Fields that exist in the security context of a pod, but not of a container.
POD_SECURITY = ("fsGroup", "fsGroupChangePolicy", "supplementalGroups", "supplementalGroupsPolicy", "sysctls")
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def app_objects(app: App) -> list[dict[str, Any]]:
    """The objects of an application, in the order of applying."""
    objects = [made for volume in app.volumes for made in _volume_objects(app, volume)]
    if app.config:
        objects.append(_object(app, "v1", "ConfigMap", data=app.config))
    objects.append(_object(app, "apps/v1", "Deployment", spec=_deployment(app)))
    if app.ports:
        objects.append(_object(app, "v1", "Service", _service_annotations(app), spec=_service(app)))
    return objects


def _volume_objects(app: App, volume: Volume) -> list[dict[str, Any]]:
    name = object_name(app.name, volume)
    if volume.claim:
        keep = {} if volume.keep else {KEEP: "false"}
        return [_object(app, "v1", "PersistentVolumeClaim", keep, name, spec=volume.claim)]
    return [_object(app, "v1", "ConfigMap", name=name, data=volume.files)] if volume.files else []


def _object(
    app: App, api_version: str, kind: str, annotations: dict[str, str] | None = None, name: str = "", **content: Any
) -> dict[str, Any]:
    metadata = {
        "name": name or app.name,
        "namespace": app.namespace,
        "labels": {**app.labels, **_selector(app)},
        **_filled(annotations={**app.annotations, **(annotations or {})}),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _selector(app: App) -> dict[str, str]:
    return {LABEL_NAME: app.name, MANAGED_BY: MANAGER}


def _filled(**fields: Any) -> dict[str, Any]:
    """The fields without the empty ones."""
    return {key: value for key, value in fields.items() if value not in ("", [], {}, None)}


def _deployment(app: App) -> dict[str, Any]:
    return {
        **_filled(replicas=app.replicas),
        "selector": {"matchLabels": _selector(app)},
        "strategy": _strategy(app),
        "template": {
            "metadata": {
                "labels": {**app.labels, **_selector(app)},
                **_filled(annotations=_filled(**{CHECKSUM: _checksum(app)})),
            },
            "spec": _pod(app),
        },
    }


def _strategy(app: App) -> dict[str, Any]:
    """The update strategy. Old pods work until new ones are ready, unless both would write to a volume for one pod.

    A second pod with such a volume would wait for the first one's node, or corrupt its data.
    """
    recreate = app.strategy == "Recreate" or (app.strategy == "auto" and any(volume.single for volume in app.volumes))
    # Without the null, the API server keeps an empty rollingUpdate of the previous strategy, and refuses it.
    return {"type": "Recreate", "rollingUpdate": None} if recreate else ROLLING


def _checksum(app: App) -> str:
    """The checksum of the files, for an annotation of the pods: a changed ConfigMap alone does not replace pods."""
    files: list[Any] = [app.config] if app.config else []
    files += [[volume.name, volume.files] for volume in app.volumes if volume.files]
    if not files:
        return ""
    told = app.config if files == [app.config] else files
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _pod_security(app: App) -> dict[str, Any]:
    """The pod's own fields of the security context. They let the pod's group write to its volumes, under any user."""
    given = {key: value for key, value in app.security_context.items() if key in POD_SECURITY}
    if not app.volumes:
        return given
    group = app.security_context.get("runAsGroup", app.security_context.get("runAsUser", FS_GROUP))
    # Without OnRootMismatch, the kubelet walks through a large volume at each start.
    return {"fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch", **given}


def _pod(app: App) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    for i, path in enumerate(app.writable_paths):
        volumes.append({"name": "writable-%d" % i, "emptyDir": {}})
        mounts.append({"name": "writable-%d" % i, "mountPath": path})
    if app.config:
        volumes.append({"name": "config", "configMap": {"name": app.name}})
        mounts.append({"name": "config", "mountPath": app.config_path, "readOnly": True})
    volumes += [pod_volume(app.name, volume) for volume in app.volumes]
    mounts += [mount(volume) for volume in app.volumes]
    return {
        # The program is told to end after the drain, and then has Kubernetes's default of 30 s.
        **_filled(terminationGracePeriodSeconds=30 + app.drain if app.drain else None),
        # Few programs use the API, and an intruder could use a pod's token.
        "automountServiceAccountToken": bool(app.service_account),
        "containers": [_container(app, mounts)],
        **_filled(
            serviceAccountName=app.service_account,
            imagePullSecrets=[{"name": name} for name in app.image_pull_secrets],
            nodeSelector=app.node_selector,
            tolerations=app.tolerations,
            volumes=volumes,
            securityContext=_pod_security(app),
        ),
    }


def _container(app: App, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    # Several ports of the Service may lead to the same port of the pod.
    targets = dict.fromkeys((port.target, port.protocol.upper()) for port in app.ports)
    security = {key: value for key, value in app.security_context.items() if key not in POD_SECURITY}
    return {
        "name": app.name,
        "image": app.image,
        "securityContext": {**SECURITY_CONTEXT, **security},
        **_filled(
            command=app.command,
            args=app.args,
            env=app.env,
            ports=[{"containerPort": port, "protocol": protocol} for port, protocol in targets],
            resources=app.resources,
            readinessProbe=_probe(app.readiness_probe),
            livenessProbe=_probe(app.liveness_probe),
            startupProbe=_probe(app.startup_probe),
            volumeMounts=mounts,
            # Nodes send connections to a terminating pod until they learn of it. The sleep keeps it serving until then.
            lifecycle={"preStop": {"sleep": {"seconds": app.drain}}} if app.drain else {},
        ),
    }


def _probe(probe: Probe) -> dict[str, Any]:
    handlers: dict[str, dict[str, Any]] = {
        "tcp": {"tcpSocket": {"port": probe.port}},
        "http": {"httpGet": {"path": probe.path, "port": probe.port}},
        "exec": {"exec": {"command": probe.command}},
    }
    if probe.type not in handlers:
        return {}
    return {
        **handlers[probe.type],
        **_filled(
            initialDelaySeconds=probe.delay,
            periodSeconds=probe.interval,
            timeoutSeconds=probe.timeout,
            failureThreshold=probe.retries,
        ),
    }


def _service_annotations(app: App) -> dict[str, str]:
    return _filled(**{ADDRESSES: ",".join(app.load_balancer_ips)})


def _service(app: App) -> dict[str, Any]:
    external = app.service_type != "ClusterIP"
    ports = [
        {
            "name": port.name,
            "port": port.port,
            "protocol": port.protocol.upper(),
            "targetPort": port.target,
            **({"nodePort": port.node_port} if port.node_port else {}),
        }
        for port in app.ports
    ]
    return {
        "type": app.service_type,
        "selector": _selector(app),
        "ports": ports,
        **_filled(
            externalTrafficPolicy=app.external_traffic_policy if external else "",
            loadBalancerClass=app.load_balancer_class,
            loadBalancerSourceRanges=app.load_balancer_source_ranges,
            # The user requested an address of each family.
            ipFamilyPolicy="RequireDualStack" if len(app.load_balancer_ips) > 1 else "",
        ),
    }
