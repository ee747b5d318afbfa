# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The external access of Services as the API server knows it, and the targets that nodes and clients must probe."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .._k8s.model import Answer, Plan, Query
from .._k8s_explain import services as views
from .urls import read_urls, sort_urls, whose

METALLB = "metallb.io/v1beta1"


def queries(options: Mapping[str, Any]) -> list[Query]:
    """The queries that show which Services have an address, and which nodes announce it."""
    return [
        {"kind": "Service"},
        {"kind": "Node"},
        {"kind": "Pod", "namespace": options["metallb_namespace"]},
        {"kind": "EndpointSlice", "api_version": "discovery.k8s.io/v1"},
        {"kind": "L2Advertisement", "api_version": METALLB},
        {"kind": "BGPAdvertisement", "api_version": METALLB},
        {"kind": "ServiceL2Status", "api_version": METALLB},
        # To find what serves the URLs.
        {"kind": "HTTPRoute", "api_version": "gateway.networking.k8s.io/v1"},
    ]


# To find the causes of faults, and the Services that have no pods on purpose.
REASONS: list[Query] = [
    {"kind": "Event", "field_selectors": ["involvedObject.kind=Service"]},
    {"kind": "IPAddressPool", "api_version": METALLB},
    {"kind": "Deployment", "api_version": "apps/v1"},
    {"kind": "StatefulSet", "api_version": "apps/v1"},
]


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """A plan without changes. Its result is the state of the cluster."""
    objects = {answer["kind"]: list(answer["resources"]) for answer in found}
    asked = {str(query["kind"]) for query in REASONS} <= set(objects)
    for query in REASONS:
        objects.setdefault(str(query["kind"]), [])
    cluster, refused = view(options, objects)
    look = [] if asked or _is_sound(cluster) else REASONS
    return Plan(refusals=refused, look=look, result={"cluster": cluster})


def _is_sound(cluster: Mapping[str, Any]) -> bool:
    """Whether all Services have an announced address, and all checked Services have endpoints."""
    services = [service for url in cluster["served"].values() for service in url["services"]]
    return all(service["endpoints"] for service in [*services, *cluster["services"]]) and all(
        service["addresses"] and service["announcers"] and not service["unannounced"] for service in cluster["services"]
    )


def view(options: Mapping[str, Any], objects: views.Objects) -> tuple[dict[str, Any], list[str]]:
    """The cluster in the form that the filter external_access_checks needs, and sentences about refused options.

    objects -- the objects of the cluster, by kind
    """
    prefix = options["prefix"]
    cluster = views.view(objects, options["services"], options["http_ports"], prefix + "services")
    by_name, refused = read_urls(options["urls"], prefix + "urls")
    served, idle = sort_urls(by_name, objects)
    by_address = views.targets_of_clients(cluster, options["http_path"], options["http_host"])
    return {
        **{key: value for key, value in cluster.items() if key != "refused"},
        "urls": list(served),
        "urls_aside": idle,
        "served": served,
        "zone": options["zone"].lower().strip("."),
        "ca": options["ca"],
        "whose": whose(objects["Service"]),
        "targets": {
            "node": views.targets_of_nodes(cluster, options["memberlist_port"]),
            # Readers of the answers expect those of URLs at the end.
            "client": [*by_address, *(by_name[url] for url in served)],
            "addresses": views.addresses_of_clients(cluster),
        },
    }, [*cluster["refused"], *refused]
