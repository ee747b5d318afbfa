# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that makes objects of an application, and how it refuses what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.action.app import ActionModule
from ansible_collections.homelab.loadbalancer.plugins.doc_fragments import app
from ansible_collections.homelab.loadbalancer.plugins.filter.app_manifest import app_manifest
from ansible_collections.homelab.loadbalancer.plugins.module_utils._app_values import IMAGE, QUANTITY
from ansible_collections.homelab.loadbalancer.plugins.modules import app as app_module
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app.input import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
IMAGE_NAME = "registry.example.org/team/web:1.2"
MANAGED = {"app.kubernetes.io/name": "web", "app.kubernetes.io/managed-by": "homelab.loadbalancer"}


def made(**options: Any) -> dict[str, dict[str, Any]]:
    """The objects of an application called web, by their kinds."""
    return {entry["kind"]: entry for entry in app_manifest("web", IMAGE_NAME, **options)}


def container(**options: Any) -> dict[str, Any]:
    """The one container of the application's pods."""
    found: dict[str, Any] = made(**options)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


def refusal(**options: Any) -> str:
    """Why an application is refused; empty when it is not."""
    name, image = options.pop("name", "web"), options.pop("image", IMAGE_NAME)
    try:
        app_manifest(name, image, "app_", **options)
    except AnsibleFilterError as error:
        return str(error)
    return ""


def test_a_name_and_an_image_suffice() -> None:
    objects = app_manifest("web", IMAGE_NAME)
    assert [(entry["kind"], entry["metadata"]["name"]) for entry in objects] == [
        ("Deployment", "web"),
        ("Service", "web"),
    ]
    deployment, service = objects
    assert {entry["metadata"]["namespace"] for entry in objects} == {"default"}
    assert [entry["metadata"]["labels"] for entry in objects] == [MANAGED, MANAGED]
    assert deployment["spec"]["replicas"] == 1
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["ports"] == [{"name": "tcp-80", "port": 80, "protocol": "TCP", "targetPort": 8080}]


def test_the_service_and_the_deployment_select_the_pods() -> None:
    objects = made(labels={"tier": "front"})
    template = objects["Deployment"]["spec"]["template"]
    assert template["metadata"]["labels"] == {"tier": "front", **MANAGED}
    # Only what never changes: a Deployment's selector cannot be changed.
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == MANAGED
    assert objects["Service"]["spec"]["selector"] == MANAGED


def test_pods_of_before_work_until_new_ones_are_ready() -> None:
    assert made()["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert container()["readinessProbe"] == {"tcpSocket": {"port": 8080}}


def test_pods_serve_until_no_node_sends_them_connections() -> None:
    def told(**options: Any) -> tuple[Any, Any]:
        pod = made(**options)["Deployment"]["spec"]["template"]["spec"]
        return container(**options).get("lifecycle"), pod.get("terminationGracePeriodSeconds")

    assert told() == ({"preStop": {"sleep": {"seconds": 5}}}, 35)
    assert told(drain=60) == ({"preStop": {"sleep": {"seconds": 60}}}, 90)
    assert told(drain=0) == (None, None)


def test_the_default_is_safe() -> None:
    pod = made()["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container()["volumeMounts"] == [{"name": "writable-0", "mountPath": "/tmp"}]
    assert pod["volumes"] == [{"name": "writable-0", "emptyDir": {}}]


def test_the_security_context_can_be_changed() -> None:
    changed = container(security_context={"runAsUser": 65532, "readOnlyRootFilesystem": False})["securityContext"]
    assert changed["runAsUser"] == 65532
    assert changed["readOnlyRootFilesystem"] is False
    assert changed["runAsNonRoot"] is True
    assert "runAsUser" not in container()["securityContext"]  # nothing of it stays


def test_what_is_not_declared_is_left_to_the_cluster() -> None:
    """Server-side apply owns each field that is there, an empty one, too."""
    assert not re.search(r"\{\}|\[\]|null|''", yaml.safe_dump(made(writable_paths=[])))
    assert "externalTrafficPolicy" not in made()["Service"]["spec"]


def test_program() -> None:
    asked = container(
        command=["/agnhost"],
        args=["netexec", "--http-port=8080"],
        env={"DEBUG": True, "WORKERS": 2, "PASSWORD": {"secretKeyRef": {"name": "web", "key": "password"}}},
        resources={"requests": {"cpu": 0.25, "memory": "64Mi"}, "limits": {"memory": "1.5Gi"}},
    )
    assert (asked["command"], asked["args"]) == (["/agnhost"], ["netexec", "--http-port=8080"])
    assert asked["env"] == [
        {"name": "DEBUG", "value": "true"},
        {"name": "WORKERS", "value": "2"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "web", "key": "password"}}},
    ]
    assert asked["resources"] == {"requests": {"cpu": "0.25", "memory": "64Mi"}, "limits": {"memory": "1.5Gi"}}


def test_where_pods_run() -> None:
    taint = {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}
    pod = made(
        node_selector={"kubernetes.io/arch": "amd64"},
        tolerations=[taint],
        service_account="robot",
        image_pull_secrets=["registry.key"],
    )["Deployment"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["tolerations"] == [taint]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("robot", True)
    assert pod["imagePullSecrets"] == [{"name": "registry.key"}]


def test_files_are_mounted_and_their_change_replaces_pods() -> None:
    def template(text: str) -> dict[str, Any]:
        objects = made(config={"site.conf": text, "zone": ""})
        assert objects["ConfigMap"]["data"] == {"site.conf": text, "zone": ""}
        found: dict[str, Any] = objects["Deployment"]["spec"]["template"]
        return found

    first, second = template("one"), template("two")
    assert first["spec"] == second["spec"]
    assert first["metadata"]["annotations"] != second["metadata"]["annotations"]
    assert {"name": "config", "mountPath": "/etc/web", "readOnly": True} in container(config={"a": "b"})["volumeMounts"]
    assert container(config={"a": "b"}, config_path="/srv/")["volumeMounts"][-1]["mountPath"] == "/srv"


def test_ports() -> None:
    ports = [80, {"port": 443, "target_port": 80, "name": "alt"}, {"port": "53", "protocol": "udp", "node_port": 30053}]
    objects = made(ports=ports, service_type="NodePort")
    assert objects["Service"]["spec"]["ports"] == [
        {"name": "tcp-80", "port": 80, "protocol": "TCP", "targetPort": 80},
        {"name": "alt", "port": 443, "protocol": "TCP", "targetPort": 80},
        {"name": "udp-53", "port": 53, "protocol": "UDP", "targetPort": 53, "nodePort": 30053},
    ]
    # The API refuses a container's port that is there twice.
    assert container(ports=ports, service_type="NodePort")["ports"] == [
        {"containerPort": 80, "protocol": "TCP"},
        {"containerPort": 53, "protocol": "UDP"},
    ]


def test_without_ports_there_is_no_service() -> None:
    assert set(made(ports=[])) == {"Deployment"}
    assert "readinessProbe" not in container(ports=[])
    assert "readinessProbe" not in container(ports=[{"port": 53, "protocol": "udp"}])


@pytest.mark.parametrize(
    ("probe", "rendered"),
    [
        ({"type": "none"}, None),
        ({"type": "tcp"}, {"tcpSocket": {"port": 8080}}),
        ({"type": "http"}, {"httpGet": {"path": "/", "port": 8080}}),
        (
            {"type": "http", "path": "/healthz", "port": 81, "delay": 0, "interval": 2, "timeout": 1, "retries": 4},
            {
                "httpGet": {"path": "/healthz", "port": 81},
                "initialDelaySeconds": 0,
                "periodSeconds": 2,
                "timeoutSeconds": 1,
                "failureThreshold": 4,
            },
        ),
        ({"type": "exec", "command": ["/check", 1]}, {"exec": {"command": ["/check", "1"]}}),
    ],
)
def test_probes(probe: dict[str, Any], rendered: dict[str, Any] | None) -> None:
    assert container(readiness_probe=probe).get("readinessProbe") == rendered
    assert container(liveness_probe=probe).get("livenessProbe") == rendered
    assert container(startup_probe=probe).get("startupProbe") == rendered


def test_load_balancer() -> None:
    service = made(
        service_type="LoadBalancer",
        load_balancer_ips=["172.16.0.110", "FD00::0110"],
        load_balancer_class="example.org/metallb",
        load_balancer_source_ranges=["172.16.0.0/24"],
        external_traffic_policy="Local",
        annotations={"example.org/team": "web"},
    )["Service"]
    assert service["metadata"]["annotations"] == {
        "example.org/team": "web",
        "metallb.io/loadBalancerIPs": "172.16.0.110,fd00::110",
    }
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["loadBalancerClass"] == "example.org/metallb"
    assert service["spec"]["loadBalancerSourceRanges"] == ["172.16.0.0/24"]
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    assert service["spec"]["ipFamilyPolicy"] == "RequireDualStack"


def test_options_that_are_null_are_not_there() -> None:
    """Jinja's `default(omit)` within a mapping leaves nulls behind."""
    nulls = {option: None for option in OPTIONS if option != "replicas"}
    assert app_manifest("web", IMAGE_NAME, **nulls) == app_manifest("web", IMAGE_NAME)


def test_replicas_that_are_null_are_left_to_an_autoscaler() -> None:
    assert "replicas" not in made(replicas=None)["Deployment"]["spec"]
    assert made(replicas=0)["Deployment"]["spec"]["replicas"] == 0


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


def test_the_module_and_the_role_say_the_same() -> None:
    fragment = yaml.safe_load(app.ModuleDocFragment.DOCUMENTATION)["options"]
    documented = {**fragment, **yaml.safe_load(app_module.DOCUMENTATION)["options"]}
    role = yaml.safe_load((ROOT / "roles/app/meta/argument_specs.yml").read_text())
    variables = role["argument_specs"]["main"]["options"]
    tasks = yaml.safe_load((ROOT / "roles/app/tasks/main.yml").read_text())
    passed = next(task["homelab.loadbalancer.app"] for task in tasks if "homelab.loadbalancer.app" in task)
    assert set(fragment) == set(OPTIONS)
    assert set(documented) == set(ActionModule.ARGUMENTS) == set(passed) - {"prefix", "kubeconfig", "context"}
    assert {"app_" + option for option in documented} == {name for name in variables if name.startswith("app_")}
    for option, said in documented.items():
        assert passed[option] == "{{ app_%s }}" % option
        for key in ("type", "elements", "choices", "default"):
            assert said.get(key) == variables["app_" + option].get(key), option


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
def test_whatever_is_declared_is_taken_or_refused_by_name(option: str, value: Any) -> None:
    said = refusal(**{option: value})
    assert not said or said.startswith("app_" + option)
