# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications with host names: the variables for the roles, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.filter.site_plan import site_plan
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute.input import parse_routes, route_spec
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.certificates import certificate

APP: dict[str, Any] = {"name": "web", "image": "example.org/web:1", "hostnames": ["web.k8s.local"]}
GATEWAYS = [{"name": "public", "listeners": [{"name": "http", "port": 8000}]}, {"name": "far", "namespace": "edge"}]
OURS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "site"}


def named(objects: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in objects]


def test_one_application_in_two_namespaces() -> None:
    prod = {**APP, "namespace": "prod", "hostnames": ["*.prod.k8s.local", "web.prod.k8s.local"], "ports": [8080]}
    site = site_plan([APP, prod], GATEWAYS, "gateways")
    assert named(site["objects"]) == [
        ("Namespace", "", "prod"),
        ("Deployment", "default", "web"),
        ("Service", "default", "web"),
        ("Deployment", "prod", "web"),
        ("Service", "prod", "web"),
    ]
    assert all(one["metadata"]["labels"].items() >= OURS.items() for one in site["objects"])
    parents = [{"name": "public", "namespace": "gateways"}, {"name": "far", "namespace": "edge"}]
    assert [route["gateways"] for route in site["routes"]] == [parents, parents]
    assert site["routes"][1]["rules"] == [{"backends": [{"service": "web", "port": 8080}]}]
    assert site["urls"] == ["http://web.k8s.local:8000/", "http://web.prod.k8s.local:8000/"]


HTTP: dict[str, Any] = {"name": "http", "port": 80}
HTTPS: dict[str, Any] = {"name": "https", "protocol": "HTTPS", "port": 443, "tls": {"certificate_file": "w.crt"}}


@pytest.mark.parametrize(
    ("listeners", "urls"),
    [
        ([], ["http://web.k8s.local/"]),
        ([HTTP, HTTPS], ["http://web.k8s.local/", "https://web.k8s.local/"]),
        ([{**HTTPS, "port": 8443}], ["https://web.k8s.local:8443/"]),
        ([HTTP, {**HTTPS, "hostname": "*.k8s.local"}], ["http://web.k8s.local/", "https://web.k8s.local/"]),
        ([HTTP, {**HTTPS, "hostname": "*.example.org"}], ["http://web.k8s.local/"]),
        ([{**HTTP, "hostname": "a.k8s.local"}, {**HTTP, "port": 8080}], ["http://web.k8s.local:8080/"]),
    ],
)
def test_urls_of_the_listeners_that_take_a_name(listeners: list[dict[str, Any]], urls: list[str]) -> None:
    assert site_plan([APP], [{"name": "public", "listeners": listeners}])["urls"] == urls


def test_host_names_that_no_certificate_is_for_are_noted() -> None:
    gateways = [{"name": "public", "listeners": [HTTP, {**HTTPS, "hostname": "*.k8s.local"}]}]
    apps = [{**APP, "hostnames": ["web.k8s.local", "a.b.k8s.local", "*.k8s.local"]}]
    assert site_plan(apps, gateways, certificates={"w.crt": certificate("*.k8s.local"), "w.key": "x"})["notes"] == [
        "site_apps[0].hostnames[1] a.b.k8s.local is taken by the listener https of the Gateway public, whose "
        "certificate is for *.k8s.local: by https, clients will refuse it. Add the name to the certificate (a wildcard "
        "there stands for one label), or leave it to HTTP"
    ]
    for texts in (
        {},
        {"w.crt": ""},
        {"w.crt": "no certificate"},
        {"w.crt": certificate("a.b.k8s.local", "*.k8s.local")},
    ):
        assert site_plan(apps, gateways, certificates=texts)["notes"] == []


def test_the_role_for_routes_takes_the_routes() -> None:
    site = site_plan([APP], GATEWAYS)
    (route,) = parse_routes(site["routes"])
    spec = route_spec(route)
    assert spec["hostnames"] == ["web.k8s.local"]
    assert spec["rules"][0]["backendRefs"][0]["port"] == 80


def test_applications_whose_objects_have_one_name_are_refused() -> None:
    volume = {"name": "conf", "path": "/conf", "config_map": {"files": {"a": "b"}}}
    apps = [{**APP, "volumes": [volume]}, {"name": "web-conf", "image": "example.org/web:1", "config": {"a": "b"}}]
    with pytest.raises(AnsibleFilterError, match=r"ConfigMap/default/web-conf is already that of site_apps\[0\]"):
        site_plan(apps)


def test_without_names_there_is_no_route() -> None:
    site = site_plan([{"name": "job", "image": "example.org/job:1", "ports": []}])
    assert (named(site["objects"]), site["routes"], site["urls"]) == ([("Deployment", "default", "job")], [], [])


@pytest.mark.parametrize(
    ("ports", "more", "expected"),
    [
        ([8080], {}, 8080),
        ([{"port": 53, "protocol": "udp"}, 53, {"name": "http", "port": 3000}], {}, 3000),
        ([80, {"name": "web", "port": 3000}], {}, 3000),
        ([{"name": "web", "port": 3000}, {"name": "http", "port": 3001}], {}, 3001),
        ([53, 8080, 80], {}, 80),
        ([53, 8080], {}, 8080),
        ([80, 9000], {"http_port": 9000}, 9000),
        ([{"name": "http", "port": 80, "protocol": "udp"}, 53], {}, 53),
    ],
)
def test_host_names_lead_to_the_port_that_speaks_http(ports: list[Any], more: dict[str, int], expected: int) -> None:
    (route,) = site_plan([{**APP, "ports": ports, **more}])["routes"]
    assert route["rules"][0]["backends"][0]["port"] == expected


def test_names_outside_of_the_zone_are_named_and_not_verified() -> None:
    names = ["blog.example.org", "web.k8s.lcoal", "web", "xk8s.local", "*.apps.k8s.local", "web.k8s.local", "k8s.local"]
    site = site_plan([{**APP, "hostnames": names}], zone="K8s.local.")
    assert site["urls"] == ["http://%s/" % name for name in names if name[0] != "*"]
    assert site["verify_name"] == "web.k8s.local"
    assert site["routes"][0]["hostnames"] == names
    said = "site_apps[0].hostnames[%d] %s is not in the zone k8s.local (coredns_zone_name)"
    assert [note[: note.index(",")] for note in site["notes"]] == [said % one for one in enumerate(names[:4])]
    meant = [note[note.index("did") : note.index("?")] for note in site["notes"] if "did you mean" in note]
    assert meant == ["did you mean web.k8s.local", "did you mean web.k8s.local", "did you mean k8s.local"]


@pytest.mark.parametrize("hostnames", [[], ["*.k8s.local"], ["blog.example.org"]])
def test_without_names_of_the_zone_nothing_is_verified(hostnames: list[str]) -> None:
    assert site_plan([{**APP, "hostnames": hostnames}], zone="k8s.local")["verify_name"] == ""


def test_an_application_that_does_not_work_leaves_the_others_served() -> None:
    other = {**APP, "namespace": "prod", "hostnames": ["web.prod.k8s.local"]}
    site = site_plan([APP, other], broken=["Deployment default/web"])
    assert [route["namespace"] for route in site["routes"]] == ["prod"]
    assert (site["urls"], site["verify_name"]) == (["http://web.prod.k8s.local/"], "web.prod.k8s.local")
    assert named(site["objects"]) == named(site_plan([APP, other])["objects"])


@pytest.mark.parametrize(
    ("apps", "said"),
    [
        ({}, "site_apps must be a list"),
        (["web"], "site_apps[0] must be a mapping"),
        ([{"image": "a"}], "site_apps[0].name"),
        ([{"name": "web"}], "site_apps[0].image"),
        (
            [{**APP, "hostname": "web"}],
            "site_apps[0].hostname is not a known key: the keys are name, image, hostnames, http_port",
        ),
        ([{**APP, "labels": ["tier"]}], "site_apps[0].labels"),
        ([{**APP, "hostnames": "web.k8s.local"}], "site_apps[0].hostnames must be a list"),
        ([{**APP, "hostnames": ["Web_1"]}], "site_apps[0].hostnames[0] Web_1 is not a host name"),
        ([{**APP, "hostnames": ["172.16.0.9"]}], "site_apps[0].hostnames[0] 172.16.0.9 is an IP address"),
        ([{**APP, "ports": []}], "site_apps[0].hostnames need a tcp port in site_apps[0].ports"),
        (
            [APP, {**APP, "name": "dns", "hostnames": ["dns.k8s.local"], "ports": [53, 853]}],
            "site_apps[1].hostnames may mean each of the tcp ports 53, 853 of site_apps[1].ports: set "
            "site_apps[1].http_port to the one that speaks HTTP, or name it http",
        ),
        (
            [{**APP, "ports": [80, 53], "http_port": 81}],
            "site_apps[0].http_port 81 is not a tcp port of site_apps[0].ports, which has 80, 53",
        ),
        ([{**APP, "http_port": "http"}], "site_apps[0].http_port http is not a port"),
        ([APP, {**APP, "hostnames": []}], "site_apps[1].name: default/web is already that of site_apps[0].name"),
        (
            [APP, {**APP, "name": "other"}],
            "site_apps[1].hostnames[0]: web.k8s.local is already that of site_apps[0].hostnames[0]",
        ),
    ],
)
def test_invalid_sites_are_refused(apps: Any, said: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        site_plan(apps)
    assert said in str(error.value)


def test_the_example_of_the_homelab_is_a_site(root: Path) -> None:
    example = yaml.safe_load((root / "inventories/homelab/group_vars/all/site.yml").read_text())
    assert site_plan(example["site_apps"])["urls"] == [
        "http://url-shortener.staging.k8s.local/",
        "http://url-shortener.prod.k8s.local/",
    ]
