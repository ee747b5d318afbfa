# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why MetalLB gives a Service no address, or announces it nowhere, according to the API server. Pure.

The rules are MetalLB's: controller/service.go and internal/allocator decide on addresses,
speaker/layer2_controller.go decides on announcements.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from ...module_utils._common.printable import printable
from .events import last_seen

Object = Dict[str, Any]
Objects = Mapping[str, List[Object]]

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
# MetalLB's annotations have had two prefixes.
_PREFIXES = ("metallb.io/", "metallb.universe.tf/")


def fault(cause: str, remedy: str = "") -> Object:
    """A fault and its remedy."""
    return {"cause": one_line(cause), "remedy": one_line(remedy)}


def one_line(text: str) -> str:
    """Text from a cluster in one line, for a table."""
    return " ".join(printable(text).split())


def full_name(thing: Object) -> str:
    """`namespace/name`."""
    return "%s/%s" % (thing["metadata"].get("namespace", ""), thing["metadata"]["name"])


def annotation(service: Object, key: str) -> str:
    annotations = service["metadata"].get("annotations") or {}
    return str(next((annotations[prefix + key] for prefix in _PREFIXES if prefix + key in annotations), ""))


def events_of(service: Object, objects: Objects) -> list[Object]:
    """The events of MetalLB's controller and speakers about the Service, the last one last."""
    uid = service["metadata"].get("uid")
    mine = [
        event
        for event in objects["Event"]
        if (event.get("involvedObject") or {}).get("uid") == uid
        and str((event.get("source") or {}).get("component")).startswith("metallb")
    ]
    return sorted(mine, key=last_seen)


def why_pending(entry: Object, service: Object, cluster: Object, objects: Objects) -> Object:
    """The reason why a Service has no address, the most basic one first."""
    metallb = cluster["metallb"]
    asked, ours = service["spec"].get("loadBalancerClass") or "", metallb["class"]
    if asked and asked != ours:
        return fault(
            "its loadBalancerClass is %s, which is another controller's than MetalLB, and that has given it no address"
            % asked,
            "look at that controller; whether it runs is not known here",
        )
    if not metallb["installed"]:
        return fault(
            "no pod of MetalLB is found, and no other load balancer of the cluster has given it an address",
            "install MetalLB with the role metallb, and give it addresses with the role metallb_pool; one that runs in "
            "another namespace is named by external_access_metallb_namespace",
        )
    if ours and not asked:
        return fault(
            "it has no loadBalancerClass, MetalLB serves only the class %s, and no other load balancer of the cluster "
            "has given it an address" % ours,
            "for MetalLB create the Service anew with the loadBalancerClass %s, which cannot be changed" % ours,
        )
    if metallb["controller"]:
        return fault(
            "MetalLB's controller, which gives out the addresses, does not run: %s" % metallb["controller"],
            "look at `kubectl describe pod` of it in MetalLB's namespace",
        )
    if not objects["IPAddressPool"]:
        return fault("MetalLB has no addresses to give out: there is no IPAddressPool", "add one: role metallb_pool")
    return _why_refused(service, objects)


def _why_refused(service: Object, objects: Objects) -> Object:
    """MetalLB's reason for refusing a Service, from its last warning."""
    pools = objects["IPAddressPool"]
    said = [event.get("message", "") for event in events_of(service, objects) if event.get("type") == "Warning"]
    last = re.sub(r"^Failed to allocate IP for \S+ ", "", said[-1]) if said else ""
    if "no available IPs" in last:
        return fault(
            "no pool has an address for it: %s" % "; ".join(why_not(pool, service) for pool in pools),
            "add addresses or a pool with the role metallb_pool, or remove a Service that is not needed",
        )
    if re.search("not allowed in config|unknown pool|not compatible", last):
        names = ", ".join("%s (%s)" % (pool["metadata"]["name"], _ranges(pool)) for pool in pools)
        return fault(
            "MetalLB refuses what it asks for: %s" % last,
            "ask for an address, or a pool, that the Service may have: %s" % names,
        )
    if last:
        return fault("MetalLB refuses it: %s" % last, "change the Service accordingly")
    return fault("MetalLB has not said why", "look at the log of MetalLB's controller: kubectl logs")


def why_not(pool: Object, service: Object) -> str:
    """The reason why a pool gives a Service no address, if no pool does."""
    name, spec = pool["metadata"]["name"], pool["spec"]
    limits = spec.get("serviceAllocation") or {}
    namespaces = limits.get("namespaces") or []
    asked = annotation(service, "address-pool")
    if asked and asked != name:
        return "%s is not the pool that it asks for, %s" % (name, asked)
    if not asked and spec.get("autoAssign") is False:
        return "%s gives addresses only to those who ask for them (autoAssign: false)" % name
    if namespaces and service["metadata"]["namespace"] not in namespaces:
        return "%s is for the namespaces %s" % (name, ", ".join(namespaces))
    families = {"IPv6" if ":" in one else "IPv4" for one in spec.get("addresses") or []}
    missing = sorted(set(service["spec"].get("ipFamilies") or []) - families)
    if missing and service["spec"].get("ipFamilyPolicy") != "PreferDualStack":
        return "%s (%s) has no %s address, which the Service asks for" % (name, _ranges(pool), " and ".join(missing))
    if limits.get("namespaceSelectors") or limits.get("serviceSelectors"):
        return "%s (%s) is used up, or its selectors leave the Service out" % (name, _ranges(pool))
    return "%s (%s) is used up" % (name, _ranges(pool))


def _ranges(pool: Object) -> str:
    return ", ".join(pool["spec"].get("addresses") or [])


def why_unannounced(entry: Object, cluster: Object, objects: Objects) -> Object | None:
    """The reason why MetalLB announces a Service's address nowhere; None if there is no obstacle."""
    # Not for an address from another load balancer, or one that a node announces.
    if not entry["pool"] or (entry["announcers"] and cluster["metallb"]["installed"]):
        return None
    if not cluster["metallb"]["installed"]:
        return fault(
            "MetalLB gave it the address, and no pod of MetalLB is found any more",
            "install it with the role metallb, or delete the Service",
        )
    if not entry["endpoints"]:
        return fault(
            "it has no endpoint that is ready, and MetalLB announces only Services that have one",
            "look at its pods, and whether their labels are what the Service selects",
        )
    if not entry["protocols"]:
        return fault("no advertisement covers its pool %s" % entry["pool"], "add one: role metallb_pool")
    return _why_no_speaker(entry, cluster)


def speaker_trouble(speaker: Object) -> str:
    """The fault of a speaker, with the name of its node."""
    trouble = str(speaker["trouble"])
    return trouble if trouble.startswith("the node ") else "%s on %s" % (trouble, speaker["node"])


def _why_no_speaker(entry: Object, cluster: Object) -> Object | None:
    excluded = {node["name"] for node in cluster["nodes"] if node["excluded"]}
    able = {one["node"] for one in cluster["speakers"] if not one["trouble"]}
    if not able:
        troubles = sorted({speaker_trouble(one) for one in cluster["speakers"]})
        return fault(
            "no speaker of MetalLB runs: %s" % ("; ".join(troubles) or "there is no pod of it"),
            "look at `kubectl describe pod` of them in MetalLB's namespace",
        )
    if not any(one["everywhere"] for one in cluster["speakers"]):
        able -= excluded
    if not able:
        return fault(
            "all nodes with a speaker have the label %s" % EXCLUDED, "take it off a node that is to announce addresses"
        )
    if entry["local"] and not able & set(entry["endpoint_nodes"]):
        return fault(
            "its externalTrafficPolicy is Local, and none of its endpoints is on a node that announces addresses: %s"
            % ", ".join(sorted(able)),
            "run its pods there, or use externalTrafficPolicy: Cluster",
        )
    return None
