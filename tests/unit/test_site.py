# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications with host names: what they mean to the roles, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.filter.app_plan import app_plan
from ansible_collections.homelab.loadbalancer.plugins.filter.httproute_plan import httproute_plan
from ansible_collections.homelab.loadbalancer.plugins.filter.site_plan import site_plan

APP: dict[str, Any] = {"name": "web", "image": "example.org/web:1", "hostnames": ["web.k8s.local"]}
GATEWAYS = [{"name": "public", "listeners": [{"name": "http", "port": 8000}]}, {"name": "far", "namespace": "edge"}]
OURS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "site"}


def named(objects: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in objects]


def looked_up(*objects: dict[str, Any]) -> list[dict[str, Any]]:
    """As k8s_read returns them."""
    return [{"kind": one["kind"], "resources": [one], "api_found": True} for one in objects]


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


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


def test_the_role_for_routes_takes_the_routes() -> None:
    site = site_plan([APP], GATEWAYS)
    spec = httproute_plan(site["routes"], looked_up(namespace("default")))["apply"][0]["spec"]
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
    ("apps", "said"),
    [
        ({}, "site_apps must be a list"),
        (["web"], "site_apps[0] must be a mapping"),
        ([{"image": "a"}], "site_apps[0].name"),
        ([{"name": "web"}], "site_apps[0].image"),
        (
            [{**APP, "hostname": "web"}],
            "site_apps[0].hostname is not a known key: the keys are name, image, hostnames",
        ),
        ([{**APP, "labels": ["tier"]}], "site_apps[0].labels"),
        ([{**APP, "hostnames": "web.k8s.local"}], "site_apps[0].hostnames must be a list"),
        ([{**APP, "hostnames": ["Web_1"]}], "site_apps[0].hostnames[0] Web_1 is not a host name"),
        ([{**APP, "hostnames": ["172.16.0.9"]}], "site_apps[0].hostnames[0] 172.16.0.9 is an IP address"),
        ([{**APP, "ports": []}], "site_apps[0].hostnames need a tcp port in site_apps[0].ports"),
        ([APP, {**APP, "hostnames": []}], "site_apps[1].name: default/web is already that of site_apps[0].name"),
        (
            [APP, {**APP, "name": "other"}],
            "site_apps[1].hostnames[0]: web.k8s.local is already that of site_apps[0].hostnames[0]",
        ),
    ],
)
def test_what_is_refused(apps: Any, said: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        site_plan(apps)
    assert said in str(error.value)


def test_the_example_of_the_homelab_is_a_site(root: Path) -> None:
    example = yaml.safe_load((root / "inventories/homelab/group_vars/all/site.yml").read_text())
    assert site_plan(example["site_apps"])["urls"] == [
        "http://url-shortener.staging.k8s.local/",
        "http://url-shortener.prod.k8s.local/",
    ]


def test_what_is_declared_no_more_goes() -> None:
    old = site_plan([{**APP, "namespace": "prod", "config": {"a": "b"}}])["objects"]
    new = site_plan([APP])["objects"]
    plan = app_plan(new, looked_up(*old, *new), "site")
    assert named(plan["apply"]) == named(new)
    # Not the namespace, in which others may have something.
    kinds = ("ConfigMap", "Deployment", "Service")
    assert named(plan["remove"]) == [(kind, "prod", "web") for kind in kinds]


def test_a_namespace_of_others_is_left_alone() -> None:
    wanted = site_plan([{**APP, "namespace": "prod"}, {**APP, "namespace": "staging", "hostnames": []}])["objects"]
    there = looked_up(namespace("prod"), namespace("staging", **OURS), namespace("gone", **OURS), *wanted[2:])
    assert ("Namespace", "", "prod") not in named(app_plan(wanted, there, "site")["apply"])
    assert ("Namespace", "", "staging") in named(app_plan(wanted, there, "site")["apply"])
    removed = named(app_plan(wanted, there, "site", present=False)["remove"])
    assert removed[:2] == [("Namespace", "", "staging"), ("Namespace", "", "gone")]
    assert sorted(removed[2:]) == sorted(named(wanted[2:]))
    # Without the name of a declaration it is as it is declared.
    assert ("Namespace", "", "prod") in named(app_plan(wanted, [])["apply"])


def test_an_object_without_a_namespace_is_not_taken_for_another() -> None:
    (deployment,) = (one for one in site_plan([APP])["objects"] if one["kind"] == "Deployment")
    bare = {**deployment, "metadata": {"name": "web"}}
    assert app_plan([bare], looked_up(deployment), "site")["remove"] == []


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"definitions\[0\].metadata.name is missing"):
        app_plan([{"apiVersion": "v1", "kind": "Pod"}])
