# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which routes a listener of a Gateway accepts (sigs.k8s.io/gateway-api, apis/v1/gateway_types.go).

Everything here is pure.
"""

from __future__ import annotations

from typing import Any, Mapping

PROTOCOLS = ("HTTP", "HTTPS")


def listeners_of(gateway: Mapping[str, Any], name: str = "") -> list[Mapping[str, Any]]:
    """The listeners of a Gateway, or only the one with the given name."""
    listed = (gateway.get("spec") or {}).get("listeners") or []
    return [entry for entry in listed if not name or entry["name"] == name]


def serves_routes(listener: Mapping[str, Any]) -> bool:
    """Whether HTTPRoutes may attach at all."""
    kinds = (listener.get("allowedRoutes") or {}).get("kinds") or [{"kind": "HTTPRoute"}]
    return listener["protocol"] in PROTOCOLS and any(entry["kind"] == "HTTPRoute" for entry in kinds)


def admits(listener: Mapping[str, Any], own: str, namespace: str, found: Mapping[str, Any] | None) -> bool:
    """Whether routes of a namespace may attach.

    own -- the Gateway's namespace
    found -- the route's namespace as an object; None if it does not exist yet, so that its labels are unknown
    """
    allowed = (listener.get("allowedRoutes") or {}).get("namespaces") or {}
    source = allowed.get("from", "Same")
    if source == "Selector":
        return found is None or selects(allowed.get("selector") or {}, found["metadata"].get("labels") or {})
    return source == "All" or (source == "Same" and own == namespace)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches labels (k8s.io/apimachinery/pkg/apis/meta/v1, LabelSelector)."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for entry in selector.get("matchExpressions") or []:
        value, values = labels.get(entry["key"]), entry.get("values") or []
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds.get(entry["operator"], False):
            return False
    return True
