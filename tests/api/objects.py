# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects for tests of the engine."""

from __future__ import annotations

from typing import Any


def config_map(namespace: str, name: str, **data: Any) -> dict[str, Any]:
    return thing("v1", "ConfigMap", namespace, name, data=data or {"text": "hello"})


def thing(api_version: str, kind: str, namespace: str, name: str, **more: Any) -> dict[str, Any]:
    """An object. An empty namespace means none."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def placed(namespace: str, *entries: dict[str, Any]) -> list[dict[str, Any]]:
    """Entries of a declaration, all in one namespace."""
    return [{**entry, "namespace": namespace} for entry in entries]


def path(namespace: str, name: str, plural: str = "configmaps") -> str:
    """The path of an object of the core group."""
    return "/api/v1/namespaces/%s/%s/%s" % (namespace, plural, name)


def service(namespace: str, name: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    listed = ports or ({"name": "http", "port": 80},)
    return thing("v1", "Service", namespace, name, spec={"selector": {"app": name}, "ports": list(listed), **spec})


def pool(namespace: str, name: str, *addresses: str) -> dict[str, Any]:
    """One of MetalLB's address pools. Its list of addresses is atomic."""
    return thing("metallb.io/v1beta1", "IPAddressPool", namespace, name, spec={"addresses": list(addresses)})


def deployment(namespace: str, name: str, replicas: int | None = 1, **container: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "web", "image": "registry.test/web:1", **container}]},
    }
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return thing(
        "apps/v1", "Deployment", namespace, name, spec={**spec, **({"replicas": replicas} if replicas else {})}
    )


def kind(plural: str, group: str, singular: str) -> dict[str, Any]:
    """A CustomResourceDefinition of a namespaced kind, whose objects have the integer spec.size."""
    fields = {"size": {"type": "integer"}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": singular.lower(), "kind": singular, "listKind": singular + "List"}
    spec = {"group": group, "names": names, "scope": "Namespaced", "versions": [version]}
    return thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "%s.%s" % (plural, group), spec=spec)
