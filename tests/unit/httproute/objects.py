# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared routes, and a cluster that can serve them."""

from __future__ import annotations

from typing import Any, Sequence

HTTP = {"name": "http", "port": 80, "protocol": "HTTP"}
HTTPS = {"name": "https", "port": 443, "protocol": "HTTPS"}
OURS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "routes"}
VIP = "172.16.0.100"


def thing(name: str, namespace: str = "default", **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **rest.pop("metadata", {})}
    return {"metadata": metadata, **rest}


def gateway(*listeners: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A Gateway `main` that works."""
    works = {
        "addresses": [{"type": "IPAddress", "value": VIP}],
        "conditions": [{"type": "Accepted", "status": "True"}],
        **status,
    }
    return thing("main", spec={"gatewayClassName": "traefik", "listeners": list(listeners or [HTTP])}, status=works)


def service(name: str, namespace: str = "default", port: int = 80, protocol: str = "TCP") -> dict[str, Any]:
    return thing(name, namespace, spec={"ports": [{"port": port, "protocol": protocol}]})


def cluster(*listeners: dict[str, Any], **kinds: Any) -> dict[str, Any]:
    return {
        "Gateway": [gateway(*listeners)],
        "Service": [service("web")],
        "Namespace": [thing("default", ""), thing("shop", "", metadata={"labels": {"team": "red"}})],
        **kinds,
    }


def answers(kinds: dict[str, Any], unknown: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The same as the engine reads it."""
    known = [{"kind": kind, "api_found": True, "resources": found} for kind, found in kinds.items()]
    return [*known, *({"kind": kind, "api_found": False, "resources": []} for kind in unknown)]


def route(name: str = "web", **parts: Any) -> dict[str, Any]:
    return {"name": name, "gateways": ["main"], "rules": [{"backends": ["web"]}], **parts}


def options(declared: Any, **more: Any) -> dict[str, Any]:
    return {
        "prefix": "httproute_",
        "state": "present",
        "routes": declared,
        "part_of": "routes",
        "remove_undeclared": True,
        "timeout": 60,
        **more,
    }


def condition(kind: str, status: str = "True", reason: str = "", generation: int = 3, message: str = "") -> Any:
    return {
        "type": kind, "status": status, "reason": reason or kind, "observedGeneration": generation, "message": message,
    }  # fmt: skip


def reported(*conditions: Any, **parent: Any) -> dict[str, Any]:
    return {"parentRef": {"name": "main", **parent}, "conditions": list(conditions)}


WORKS = (condition("Accepted"), condition("ResolvedRefs"))
