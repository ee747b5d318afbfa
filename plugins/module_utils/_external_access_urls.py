# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs that clients ask by name, as their programs do: what is asked, and what the answers say. Pure.

What is found depends on the client's resolver, the zone, the Gateway and its routes, and the pods, in this order; each
answer names the first of them that fails.
"""

from __future__ import annotations

import re
from typing import Iterator, Sequence
from urllib.parse import urlsplit

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._external_access_checks import (
    Check,
    Object,
    Report,
    node_of,
    why_closed,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._external_access_view import full_name, one_line
from ansible_collections.homelab.loadbalancer.plugins.module_utils._probe_ports import read_target


def read_urls(urls: Sequence[str]) -> tuple[dict[str, Object], list[str]]:
    """What probe_ports is to ask for each URL, and a sentence for each that cannot be asked."""
    targets, refused = {}, []
    for at, url in enumerate(urls):
        try:
            targets[url] = _target(url)
        except (InputError, ValueError):
            where = "external_access_urls[%d] %s" % (at, one_line(url))
            refused.append("%s is not a URL that can be asked: write it as http://NAME[:PORT][/PATH]" % where)
    return targets, refused


def _target(url: str) -> Object:
    """The target of a URL; ValueError or InputError for one that cannot be asked."""
    parts = urlsplit(url)
    # urlsplit removes line ends and tabs.
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc or not re.match(r"[!-~]+\Z", url):
        raise ValueError(url)
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    port = 80 if parts.port is None else parts.port
    target = {"host": parts.hostname, "port": port, "protocol": "http", "path": path}
    read_target({"address": "", **target}, url)
    return target


def whose(services: Sequence[Object]) -> dict[str, str]:
    """What the addresses of Services of all types are, in words."""
    found = {}
    for service in services:
        spec, name = service["spec"], one_line(full_name(service))
        ingress = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        inside = spec.get("clusterIPs") or [spec.get("clusterIP")]
        outside = [*(spec.get("externalIPs") or []), *(one.get("ip") for one in ingress)]
        found.update(dict.fromkeys(inside, "the cluster IP of %s, which only the cluster reaches" % name))
        found.update(dict.fromkeys(outside, "an address of %s, which is not looked at" % name))
    return {address: words for address, words in found.items() if address}


def judge_urls(cluster: Object, reports: Sequence[Report]) -> Iterator[Check]:
    """A check for each client outside and each URL."""
    for client in reports:
        if client.place == "client" and not node_of(cluster, client):
            for url, answer in zip(cluster["urls"], client.urls):
                yield _check(cluster, client, url, answer)


def _check(cluster: Object, client: Report, url: str, answer: Object) -> Check:
    found = one_line(": ".join(filter(None, [answer["address"], answer["detail"]])))
    if answer["status"] is not None and answer["status"] < 400:
        return Check("url", client.host, url, "proved", "%s, %g ms" % (found, answer["milliseconds"]))
    if answer["state"] == "unresolved":
        cause, remedy = (
            "the servers that the client asks do not know it, or do not answer",
            "have the client ask the servers of the zone (role split_dns), and see that the zone has the name (role "
            "coredns_zone)",
        )
    elif answer["state"] == "open":
        cause, remedy = _why_no_page(answer)
    else:
        cause, remedy = _why_not_reached(cluster, client, answer)
    return Check("url", client.host, url, "fault", found, cause, remedy)


def _why_no_page(answer: Object) -> tuple[str, str]:
    """Why the page of a URL whose address answers is not there."""
    status = answer["status"]
    if status is None:
        return "what answers is no page", "see what listens at that address and port"
    if status == 404:
        return (
            "the Gateway has no route for this name and path, or the application no such page",
            "see that a route has the name and the path, and that the Gateway accepts it: role httproute",
        )
    if status >= 500:
        return (
            "the Service that the route leads to has no pod that is ready, or the application fails",
            "look at the route's Service, and at the log of its pods: kubectl get httproutes,endpointslices,pods",
        )
    return "the application refuses the request", "write a URL that it gives to everybody, without a login"


def _why_not_reached(cluster: Object, client: Report, answer: Object) -> tuple[str, str]:
    """Why nobody answers at the address of a URL's name; empty when a check of its Service says it."""
    address, port = answer["address"], answer["port"]
    service = next((one for one in cluster["services"] if address in one["addresses"]), None)
    if service is None:
        nodes = {at: "an address of the node %s" % one["name"] for one in cluster["nodes"] for at in one["addresses"]}
        return (
            "%s is %s" % (address, {**nodes, **cluster["whose"]}.get(address, "no address of a Service or node")),
            "give the name the address of the Gateway or Service that serves it (role coredns_zone); one of the type "
            "LoadBalancer that is not looked at is added to external_access_services",
        )
    ports = [one["port"] for one in service["ports"]]
    if port not in ports:
        cause = "%s has the address, but no port %d" % (service["name"], port)
        return cause, "write the URL with a port that it has: %s" % ", ".join(map(str, ports))
    same = [one for one in client.answers or [] if (one["address"], one["port"]) == (address, port)]
    told = service["unannounced"] or any(one["state"] != "open" for one in same)
    return ("", "") if told else why_closed(service, answer)
