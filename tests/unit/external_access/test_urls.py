# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification makes of URLs that clients have asked for by name."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.filter.external_access_checks import external_access_checks
from ansible_collections.homelab.loadbalancer.tests.unit.cluster_objects import (
    NODES,
    VIP,
    cluster,
    endpoints,
    external_access_view,
    route,
    service,
)
from ansible_collections.homelab.loadbalancer.tests.unit.external_access.reports import (
    SILENT,
    URL,
    answer,
    client,
    faults,
    lines,
)

LOST: dict[str, Any] = {"state": "unresolved", "status": None, "detail": "the name is not found", "source": ""}


def by_name(*answers: dict[str, Any], urls: tuple[str, ...] = (URL,), **kinds: Any) -> list[dict[str, str]]:
    """The checks of a client that got these answers, those of the URLs last."""
    report = client(answers=list(answers))
    return external_access_checks(external_access_view(cluster(**kinds), urls=urls), [report])


def test_urls_that_answer() -> None:
    path = {"host": "web.k8s.local", "status": 302, "detail": "HTTP 302"}
    found = by_name(answer(VIP), answer(VIP, host="web.k8s.local"), answer(VIP, **path), urls=(URL, URL + "path"))
    assert [(one["kind"], *line) for one, line in zip(found, lines(found))][-3:] == [
        ("http", "client", "http 172.16.0.100:80", "proved", "HTTP 200, 1.5 ms"),
        ("url", "client", URL, "proved", "172.16.0.100: HTTP 200, 1.5 ms"),
        ("url", "client", URL + "path", "proved", "172.16.0.100: HTTP 302, 1.5 ms"),
    ]
    assert faults(found) == []


def test_urls_and_services_are_not_taken_for_each_other() -> None:
    """Both ask the same address and port, for the application and for a page that no route has."""
    found = by_name(answer(VIP, status=404, detail="HTTP 404"), answer(VIP))
    assert [one["found"] for one in found[-2:]] == ["HTTP 404, 1.5 ms", "172.16.0.100: HTTP 200, 1.5 ms"]
    found = by_name(answer(VIP), answer("", **LOST))
    assert [one["result"] for one in found[-2:]] == ["proved", "fault"]


@pytest.mark.parametrize(
    ("got", "found", "cause", "remedy"),
    [
        (
            {"address": "", **LOST},
            "the name is not found",
            "the servers that the client asks do not know it, or do not answer",
            "for a zone of the role coredns_zone by the role split_dns",
        ),
        (
            {"status": 404, "detail": "HTTP 404"},
            "172.16.0.100: HTTP 404",
            "no HTTPRoute of the cluster has this name and path",
            "role httproute",
        ),
        (
            {"status": 503, "detail": "HTTP 503"},
            "172.16.0.100: HTTP 503",
            "what answers reports a failure, and no HTTPRoute of the cluster has this name and path",
            "see what serves the name",
        ),
        (
            {"status": 401, "detail": "HTTP 401"},
            "172.16.0.100: HTTP 401",
            "what answers refuses the request",
            "without a login",
        ),
        (
            {"status": None, "detail": "connects, but does not speak HTTP"},
            "172.16.0.100: connects, but does not speak HTTP",
            "what answers is no page",
            "see what listens at that address and port",
        ),
        (
            {**SILENT, "port": 8080},
            "172.16.0.100: no answer within 3 s",
            "default/web has the address, but no port 8080",
            "write the URL with a port that it has: 80",
        ),
        (SILENT, "172.16.0.100: no answer within 3 s", "what drops it, is not known", "and that kube-proxy runs"),
        (
            {**SILENT, "address": "172.16.0.50"},
            "172.16.0.50: no answer within 3 s",
            "172.16.0.50 is no address of a Service or node",
            "give the name the address of the Gateway or Service that serves it (role coredns_zone)",
        ),
        (
            {**SILENT, "address": NODES["worker1"]},
            "172.16.0.12: no answer within 3 s",
            "172.16.0.12 is an address of the node worker1",
            "role coredns_zone",
        ),
        (
            {**SILENT, "address": "10.96.0.7"},
            "10.96.0.7: no answer within 3 s",
            "10.96.0.7 is the cluster IP of default/web, which only the cluster reaches",
            "role coredns_zone",
        ),
    ],
)
def test_urls_that_do_not_answer(got: dict[str, Any], found: str, cause: str, remedy: str) -> None:
    url = answer(**{"address": VIP, **got})
    seen = by_name(answer(VIP), url, Service=[service("web", VIP, clusterIP="10.96.0.7")])
    check = seen[-1]
    assert (check["kind"], check["subject"], check["result"], check["found"]) == ("url", URL, "fault", found)
    assert check["cause"].startswith(cause)
    assert remedy in check["remedy"]
    assert faults(seen) == [check["sentence"]]


BAD_GATEWAY: dict[str, Any] = {"status": 502, "detail": "HTTP 502"}


@pytest.mark.parametrize(
    ("got", "kinds", "cause"),
    [
        (
            BAD_GATEWAY,
            {"EndpointSlice": [endpoints(port=9999)]},
            "pods of default/web (targetPort 9999) are ready, and the request fails: no program of them listens there",
        ),
        (BAD_GATEWAY, {"EndpointSlice": []}, "the Service default/web that the route leads to has no pod that is"),
        (
            BAD_GATEWAY,
            {"HTTPRoute": [route("web.k8s.local", service="gone")]},
            "the Service default/gone that the route leads to is not in the cluster",
        ),
        (
            {"status": 404, "detail": "HTTP 404"},
            {},
            "the application has no such page, or the Gateway has not taken the route default/web; which one, is not",
        ),
    ],
)
def test_failing_url_is_explained_by_its_backend(got: dict[str, Any], kinds: dict[str, Any], cause: str) -> None:
    found = by_name(answer(VIP), answer(VIP, **got), **{"HTTPRoute": [route("web.k8s.local")], **kinds})
    assert found[-1]["result"] == "fault"
    assert found[-1]["cause"].startswith(cause)


TRAEFIK = "for x.traefik.default (TRAEFIK DEFAULT CERT, issued by TRAEFIK DEFAULT CERT)"


@pytest.mark.parametrize(
    ("got", "ca", "result", "cause"),
    [
        ({}, "", "proved", ""),
        (
            {"distrust": "name"},
            "",
            "fault",
            "there is no certificate for web.k8s.local: the one that is shown is for x.",
        ),
        ({"distrust": "name", "status": 404}, "PEM", "fault", "there is no certificate for web.k8s.local: "),
        ({"distrust": "time"}, "", "fault", "the certificate for x.traefik.default (TRAEFIK DEFAULT CERT, issued by"),
        ({"distrust": "unknown"}, "", "fault", "the certificate is not accepted, and could not be read"),
        ({"distrust": "issuer"}, "", "unknown", ""),
        ({"distrust": "issuer"}, "PEM", "fault", "the certificate for x.traefik.default (TRAEFIK DEFAULT CERT, issued"),
        ({"distrust": "issuer", "status": 404}, "", "fault", "no HTTPRoute of the cluster has this name and path"),
    ],
)
def test_certificates_of_urls(got: dict[str, Any], ca: str, result: str, cause: str) -> None:
    url = "https://web.k8s.local/"
    view = external_access_view(cluster(), urls=[url], ca=ca)
    asked = answer(VIP, 443, **{"certificate": TRAEFIK, **got}) | {"protocol": "https"}
    check = external_access_checks(view, [client(answers=[answer(VIP), asked])])[-1]
    assert (check["subject"], check["result"]) == (url, result)
    assert check["cause"].startswith(cause)
    assert bool(check["cause"]) == bool(cause)


@pytest.mark.parametrize(
    ("url", "result"),
    [
        (URL, "fault"),
        ("http://k8s.local/", "fault"),
        ("http://blog.example.org/", "unknown"),
        ("http://web.k8s.lcoal/", "unknown"),
        ("http://web/", "unknown"),
    ],
)
def test_unresolved_names_of_other_zones_are_no_fault(url: str, result: str) -> None:
    view = external_access_view(cluster(Service=[]), urls=[url], zone="K8s.local.")
    check = external_access_checks(view, [client(answers=[answer("", **LOST)], owners=[])])[-1]
    assert check["result"] == result
    if result == "unknown":
        assert "it is not in the zone k8s.local" in check["found"]
    else:
        assert "(role split_dns), and see that the zone has the name (role coredns_zone)" in check["remedy"]


def test_fault_of_a_url_names_its_unverified_service() -> None:
    services = [service("web", VIP), service("other", "172.16.0.101")]
    view = external_access_view(cluster(Service=services), ["default/web"], urls=[URL])
    (said,) = faults(external_access_checks(view, [client(answers=[answer(VIP), answer("172.16.0.101", **SILENT)])]))
    assert "172.16.0.101 is an address of default/other, which is not looked at: " in said
    assert said.endswith("is added to external_access_services")


def test_fault_of_a_service_is_not_repeated_for_its_url() -> None:
    found = by_name(answer(VIP, **SILENT), answer(VIP, **SILENT))
    assert [one["kind"] for one in found if one["result"] == "fault"] == ["http", "url"]
    assert len(faults(found)) == 1
    foreign = service("web", VIP, loadBalancerClass="cloud")
    assert [one["result"] for one in by_name(answer(VIP, **SILENT), Service=[foreign])] == ["unknown", "unknown"]
    found = by_name(answer(VIP, **SILENT), ServiceL2Status=[], EndpointSlice=[])
    assert [one["kind"] for one in found if one["cause"]] == ["address"]


def test_urls_of_a_cluster_without_services() -> None:
    found = by_name(answer("", **LOST), Service=[])
    assert lines(found) == [
        ("API", "Services", "unknown", "none of the type LoadBalancer"),
        ("client", URL, "fault", "the name is not found"),
    ]


def test_urls_asked_from_a_node() -> None:
    report = client(answers=[answer(VIP, source=NODES["worker2"])], owners=[])
    found = external_access_checks(external_access_view(cluster(Service=[]), urls=[URL]), [report])
    assert found[-1]["found"] == "is the node worker2: proves nothing about outside"
    report = {"host": "client", "place": "client"}
    found = external_access_checks(external_access_view(cluster(), urls=[URL]), [report])
    assert [one["kind"] for one in found] == ["address", "client"]
