# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals of wrong options of an application name the option."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.filter.app_manifest import app_manifest
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s.values import IMAGE, QUANTITY
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app.input import OPTIONS

IMAGE_NAME = "registry.example.org/team/web:1.2"


def refusal(**options: Any) -> str:
    """Why an application is refused; empty when it is not."""
    name, image = options.pop("name", "web"), options.pop("image", IMAGE_NAME)
    try:
        app_manifest(name, image, "app_", **options)
    except AnsibleFilterError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Web"}, "app_name Web is not a name: use lower-case letters"),
        ({"name": "1web"}, "app_name 1web is not a name"),
        ({"name": "w" * 64}, "app_name " + "w" * 64 + " is not a name"),
        ({"name": ""}, "app_name  is not a name"),
        ({"image": ""}, "app_image  is not an image: write it like registry.example.org/team/web:1.2"),
        ({"image": "Web"}, "app_image Web is not an image"),
        ({"image": None}, "app_image None is not an image"),
        ({"namespace": "a.b"}, "app_namespace a.b is not a DNS label"),
        ({"replica": 2}, "app_replica is not an option: the options are namespace, replicas, strategy,"),
        ({"replicas": -1}, "app_replicas -1 is not a number from 0 to 10000"),
        ({"drain": "1s"}, "app_drain 1s is not a number of seconds from 0 to 3600"),
        ({"replicas": 1.5}, "app_replicas 1.5 is not a number"),
        ({"replicas": True}, "app_replicas True is not a number"),
        ({"ports": 80}, "app_ports must be a list, not int"),
        ({"ports": [0]}, "app_ports[0].port 0 is not a port from 1 to 65535"),
        ({"ports": [{"target_port": 80}]}, "app_ports[0].port is missing"),
        ({"ports": [{"port": 80, "targetPort": 81}]}, "app_ports[0].targetPort is not a known key: the keys are port,"),
        ({"ports": [{"port": 80, "protocol": "TCP"}]}, "app_ports[0].protocol TCP is not one of tcp, udp, sctp"),
        ({"ports": [{"port": 80, "name": "Web"}]}, "app_ports[0].name Web is not the name of a port"),
        ({"ports": [{"port": 80, "name": "8080"}]}, "app_ports[0].name 8080 is not the name of a port"),
        ({"ports": [80, 81, 80]}, "app_ports[2].port 80 is already that of app_ports[0]"),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]},
            "app_ports[1].name a is already that of app_ports[0]",
        ),
        (
            {"ports": [{"port": 80, "node_port": 30080}, {"port": 81, "node_port": 30080}], "service_type": "NodePort"},
            "app_ports[1].node_port 30080 is already that of app_ports[0]",
        ),
        (
            {"ports": [{"port": 80, "node_port": 30080}]},
            "app_ports: a node_port needs app_service_type NodePort or LoadBalancer, which is ClusterIP",
        ),
        ({"ports": [], "service_type": "NodePort"}, "app_ports is empty: a Service of type NodePort needs one"),
        ({"command": "sh -c true"}, "app_command must be a list, not str"),
        ({"args": [["a"]]}, "app_args[0] must be a text, not list"),
        ({"env": ["A=b"]}, "app_env must be a mapping, not list"),
        ({"env": {"A B": 1}}, "app_env A B is not the name of a variable"),
        ({"env": {"A": None}}, "app_env.A must be a text, not NoneType"),
        ({"env": {"A": {"secret": "b"}}}, "app_env.A.secret is not a known key: the keys are secretKeyRef,"),
        ({"env": {"A": {}}}, "app_env.A must have exactly one of the keys secretKeyRef,"),
        ({"config": {"a/b": ""}}, "app_config a/b is not the name of a file"),
        ({"config": {"..": ""}}, "app_config .. is not the name of a file"),
        ({"config": {"a": {}}}, "app_config.a must be a text, not dict"),
        ({"config_path": "etc"}, "app_config_path etc is not an absolute path of a folder, such as /tmp"),
        ({"writable_paths": ["/"]}, "app_writable_paths[0] / is not an absolute path"),
        ({"writable_paths": ["/a/../b"]}, "app_writable_paths[0] /a/../b is not an absolute path"),
        ({"writable_paths": ["/a", "/a/"]}, "app_writable_paths /a is there twice, or is app_config_path"),
        ({"writable_paths": ["/etc/web"], "config": {"a": ""}}, "app_writable_paths /etc/web is there twice, or is"),
        ({"readiness_probe": {"path": "/"}}, "app_readiness_probe.type is missing"),
        ({"readiness_probe": {"type": "icmp"}}, "app_readiness_probe.type icmp is not one of tcp, http, exec, none"),
        (
            {"liveness_probe": {"type": "tcp", "path": "/"}},
            "app_liveness_probe.path is for the type http, and the type",
        ),
        ({"liveness_probe": {"type": "exec"}}, "app_liveness_probe.command is missing: name the program"),
        ({"startup_probe": {"type": "http", "path": "a"}}, "app_startup_probe.path a does not begin with a slash"),
        ({"startup_probe": {"type": "tcp"}, "ports": []}, "app_startup_probe.port is missing: the application has no"),
        ({"startup_probe": {"type": "tcp", "interval": 0}}, "app_startup_probe.interval 0 is not a number from 1 to"),
        ({"resources": {"cpu": 1}}, "app_resources.cpu is not a known key: the keys are requests, limits"),
        ({"resources": {"limits": {"memory": "64 MB"}}}, "app_resources.limits.memory 64 MB is not a quantity: write"),
        ({"resources": {"limits": {"cpu": -1}}}, "app_resources.limits.cpu -1 is not a quantity"),
        ({"security_context": "root"}, "app_security_context must be a mapping, not str"),
        ({"service_account": "A"}, "app_service_account A is not the name of an object"),
        ({"image_pull_secrets": ["a_b"]}, "app_image_pull_secrets[0] a_b is not the name of an object"),
        ({"node_selector": {"a b": "c"}}, "app_node_selector a b is not a qualified name: write it like tier or"),
        ({"tolerations": ["all"]}, "app_tolerations[0] must be a mapping, not str"),
        ({"labels": {"tier": "a b"}}, "app_labels.tier a b is not a label's value"),
        (
            {"labels": {"app.kubernetes.io/name": "x"}},
            "app_labels.app.kubernetes.io/name cannot be set: the application",
        ),
        ({"annotations": {"/a": ""}}, "app_annotations /a is not a qualified name"),
        ({"service_type": "Ingress"}, "app_service_type Ingress is not one of ClusterIP, NodePort, LoadBalancer"),
        ({"external_traffic_policy": "local"}, "app_external_traffic_policy local is not one of Cluster, Local"),
        (
            {"external_traffic_policy": "Local"},
            "app_external_traffic_policy needs app_service_type NodePort or LoadBalancer, which is ClusterIP",
        ),
        (
            {"load_balancer_ips": ["172.16.0.110"], "service_type": "NodePort"},
            "app_load_balancer_ips needs app_service_type LoadBalancer, which is NodePort",
        ),
        ({"load_balancer_ips": ["172.16.0.300"]}, "app_load_balancer_ips[0] 172.16.0.300 is not an IP address"),
        ({"load_balancer_ips": ["10.0.0.1", "10.0.0.2"]}, "app_load_balancer_ips[1] 10.0.0.2 is a second IPv4 address"),
        ({"load_balancer_class": "a b"}, "app_load_balancer_class a b is not a qualified name"),
        (
            {"load_balancer_source_ranges": ["10.0.0.1/8"]},
            "app_load_balancer_source_ranges[0] 10.0.0.1/8 has host bits",
        ),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    assert refusal(**options).startswith(message)


@pytest.mark.parametrize(
    ("image", "good"),
    [
        ("nginx", True),
        ("nginx:1.27-alpine", True),
        ("localhost:5000/web", True),
        ("registry.k8s.io/e2e-test-images/agnhost:2.53", True),
        ("[fd00::1]:5000/team/web:1", True),
        ("web@sha256:" + "0" * 64, True),
        ("web:1@sha256:" + "0" * 64, True),
        ("a__b/c.d-e", True),
        ("web:", False),
        ("web:1:2", False),
        ("web@sha256:0", False),
        ("web@latest", False),
        ("-web", False),
        ("team//web", False),
        ("https://registry.example.org/web", False),
        ("registry.example.org/Team/web", False),
        ("web:1\n", False),
        (" web", False),
    ],
)
def test_images(image: str, good: bool) -> None:
    assert bool(IMAGE.match(image)) == good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("1", True),
        ("0.5", True),
        (".5", True),
        ("250m", True),
        ("64Mi", True),
        ("1e3", True),
        ("1E3", True),
        ("2k", True),
    ]
    + [(text, False) for text in ("", "64MB", "64mi", "1K", "m", "1.2.3", "-1", "1 Gi", "0x10", "1\n")],
)
def test_quantities(text: str, good: bool) -> None:
    assert bool(QUANTITY.match(text)) == good


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["port", "type", "limits", "name", "A"]) | st.text(max_size=4), inner, max_size=3
        ),
    ),
    max_leaves=8,
)


@given(st.sampled_from(["name", "image", *OPTIONS]), JUNK)
def test_any_declaration_is_accepted_or_refused_by_name(option: str, value: Any) -> None:
    said = refusal(**{option: value})
    assert not said or said.startswith("app_" + option)
