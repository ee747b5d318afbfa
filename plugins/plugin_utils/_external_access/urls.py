# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs that clients request by name, as their programs do: the targets, and the evaluation of the answers. Pure.

An answer depends on the client's resolver, the zone, the Gateway and its routes, and the pods, in this order. The check
names the first of them that fails.
"""

from __future__ import annotations

import re
from typing import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from ...module_utils._common.errors import InputError
from ...module_utils._probe.ports import read_target
from .._k8s_explain.backends import Objects, behind
from .._k8s_explain.metallb import full_name, one_line
from .causes import Around, why_closed
from .checks import Check, Object, Report, around_of, node_of

_PORTS = {"http": 80, "https": 443}


def read_urls(urls: Sequence[str], where: str = "urls") -> tuple[dict[str, Object], list[str]]:
    """The target for probe_ports for each URL, and a sentence for each URL that cannot be requested.

    where -- the list's name in messages
    """
    targets, refused = {}, []
    for at, url in enumerate(urls):
        try:
            targets[url] = _target(url)
        except (InputError, ValueError):
            refused.append(
                "%s[%d] %s is not a URL that can be asked: write it as http://NAME[:PORT][/PATH], or with https"
                % (where, at, one_line(url))
            )
    return targets, refused


def _target(url: str) -> Object:
    """The target of a URL. Raises ValueError or InputError if it cannot be requested."""
    parts = urlsplit(url)
    # The check is on `url`, because urlsplit removes line ends and tabs.
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or not re.match(r"[!-~]+\Z", url):
        raise ValueError(url)
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    target = {"host": parts.hostname, "port": port, "protocol": parts.scheme, "path": path}
    read_target({"address": "", **target}, url)
    return target


def sort_urls(targets: Mapping[str, Object], objects: Objects) -> tuple[dict[str, Object], dict[str, str]]:
    """What serves each URL to request, and for the other URLs why they are not requested although nothing is wrong."""
    served = {url: behind(target["host"].lower(), target["path"], objects) for url, target in targets.items()}
    idle = {
        url: one["services"][0]["stopped"]
        for url, one in served.items()
        if one["services"] and all(service["stopped"] for service in one["services"])
    }
    return {url: one for url, one in served.items() if url not in idle}, idle


def whose(services: Sequence[Object]) -> dict[str, str]:
    """A description in words of each address of Services of all types."""
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
    """One check for each client outside and each URL."""
    around = around_of(cluster, [report for report in reports if report.place == "node"])
    for client in reports:
        if client.place == "client" and not node_of(cluster, client):
            for url, answer in zip(cluster["urls"], client.urls):
                yield _check(cluster, client, url, answer, around)
            for url, why in cluster["urls_aside"].items():
                yield Check("url", client.host, url, "unknown", "not asked, as what serves it is %s" % why)


def _check(cluster: Object, client: Report, url: str, answer: Object, around: Around) -> Check:
    found = one_line(": ".join(filter(None, [answer["address"], answer["detail"]])))
    status = answer["status"]
    # A missing page is a fault, whoever issued the certificate.
    if answer.get("distrust") and (answer["distrust"] != "issuer" or (status is not None and status < 400)):
        result, cause, remedy = _why_distrusted(cluster, url, answer)
        return Check("url", client.host, url, result, found, cause, remedy)
    if status is not None and status < 400:
        return Check("url", client.host, url, "proved", "%s, %g ms" % (found, answer["milliseconds"]))
    if answer["state"] == "unresolved":
        if _outside(cluster["zone"], url):
            found += ", and it is not in the zone %s: the DNS server of its own zone must have it" % cluster["zone"]
            return Check("url", client.host, url, "unknown", found)
        cause, remedy = _why_unresolved(cluster["zone"])
    elif answer["state"] == "open":
        cause, remedy = _why_no_page(answer, cluster["served"][url])
    else:
        service = next((one for one in cluster["services"] if answer["address"] in one["addresses"]), None)
        if service and service["aside"]:
            return Check("url", client.host, url, "unknown", "%s; %s" % (found, service["aside"]))
        cause, remedy = _why_not_reached(cluster, service, client, answer, around)
    return Check("url", client.host, url, "fault", found, cause, remedy)


def _why_distrusted(cluster: Object, url: str, answer: Object) -> tuple[str, str, str]:
    """Result, cause and remedy for a certificate that is not accepted."""
    name, shown, why = urlsplit(url).hostname, one_line(answer["certificate"]), answer["distrust"]
    if why == "name":
        return (
            "fault",
            "there is no certificate for %s: the one that is shown is %s" % (name, shown),
            "give an HTTPS listener of the Gateway a certificate that has this name (role gateway); a wildcard in it "
            "stands for one label",
        )
    if why == "time":
        return "fault", "the certificate %s is not valid now" % shown, "renew it, and see the client's clock"
    if why == "unknown":
        return "fault", "the certificate is not accepted, and could not be read", "see it by openssl s_client"
    if cluster["ca"]:
        return (
            "fault",
            "the certificate %s is of an issuer that neither the client nor external_access_ca_files know" % shown,
            "add the certificate of its CA to external_access_ca_files, or see whose Gateway answers there",
        )
    return "unknown", "", ""


def _outside(zone: str, url: str) -> bool:
    name = (urlsplit(url).hostname or "").rstrip(".")
    return bool(zone) and name != zone and not name.endswith("." + zone)


def _why_unresolved(zone: str) -> tuple[str, str]:
    if zone:
        return (
            "the servers that the client asks for names of the zone %s do not know it, or do not answer" % zone,
            "have the client ask the servers of the zone (role split_dns), and see that the zone has the name (role "
            "coredns_zone)",
        )
    return (
        "the servers that the client asks do not know it, or do not answer",
        "see that the zone of the name has it, and that the client asks its servers: for a zone of the role "
        "coredns_zone by the role split_dns",
    )


def _why_no_page(answer: Object, served: Object) -> tuple[str, str]:
    """Cause and remedy if the address of a URL answers, but not with the page.

    served -- the result of `behind`
    """
    status = answer["status"]
    if status is None:
        return "what answers is no page", "see what listens at that address and port"
    if status == 404 and not served["routes"]:
        return (
            "no HTTPRoute of the cluster has this name and path",
            "add a route by the role httproute; where something else than a Gateway serves it, see the path",
        )
    if status == 404:
        return (
            "the application has no such page, or the Gateway has not taken the route %s; which one, is not known"
            % ", ".join(served["routes"]),
            "see what the route's status says, and write a path that the application has",
        )
    if status >= 500:
        return _why_failing(served)
    return "what answers refuses the request", "write a URL that it gives to everybody, without a login"


def _why_failing(served: Object) -> tuple[str, str]:
    """Why a Gateway or an application answers with a failure."""
    look = "kubectl get httproutes,endpointslices,pods"
    for service in served["services"]:
        if not service["found"]:
            return "the Service %s that the route leads to is not in the cluster" % service["name"], "make it: role app"
        if not service["endpoints"] and not service["stopped"]:
            cause = "the Service %s that the route leads to has no pod that is ready" % service["name"]
            return cause, "look at its pods, and whether their labels are what it selects: %s" % look
    if served["services"]:
        names = ", ".join(
            "%s (targetPort %s)" % (one["name"], " or ".join(map(str, one["targets"])) or "unknown")
            for one in served["services"]
        )
        return (
            "pods of %s are ready, and the request fails: no program of them listens there, or it fails itself; which "
            "one, is not known" % names,
            "look at the log of the pods, and on which port they listen",
        )
    return (
        "what answers reports a failure, and no HTTPRoute of the cluster has this name and path",
        "see what serves the name, and its log",
    )


def _why_not_reached(
    cluster: Object, service: Object | None, client: Report, answer: Object, around: Around
) -> tuple[str, str]:
    """Why nothing answers at the address of a URL's name; empty if a check of the Service says it."""
    address, port = answer["address"], answer["port"]
    if service is None:
        nodes = {at: "an address of the node %s" % name for at, name in around.nodes.items()}
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
    return ("", "") if told else why_closed(service, answer, around)
