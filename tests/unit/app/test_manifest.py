# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that makes objects of an application."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.action.app import ActionModule
from ansible_collections.homelab.loadbalancer.plugins.doc_fragments import app
from ansible_collections.homelab.loadbalancer.plugins.filter.app_manifest import app_manifest
from ansible_collections.homelab.loadbalancer.plugins.modules import app as app_module
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app.input import OPTIONS

ROOT = Path(__file__).resolve().parents[3]
IMAGE_NAME = "registry.example.org/team/web:1.2"
MANAGED = {"app.kubernetes.io/name": "web", "app.kubernetes.io/managed-by": "homelab.loadbalancer"}


def made(**options: Any) -> dict[str, dict[str, Any]]:
    """The objects of an application called web, by their kinds."""
    return {entry["kind"]: entry for entry in app_manifest("web", IMAGE_NAME, **options)}


def container(**options: Any) -> dict[str, Any]:
    """The one container of the application's pods."""
    found: dict[str, Any] = made(**options)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


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


def test_old_pods_serve_until_new_pods_are_ready() -> None:
    assert made()["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert container()["readinessProbe"] == {"tcpSocket": {"port": 8080}}


def test_pods_stop_after_nodes_have_removed_their_endpoints() -> None:
    def told(**options: Any) -> tuple[Any, Any]:
        pod = made(**options)["Deployment"]["spec"]["template"]["spec"]
        return container(**options).get("lifecycle"), pod.get("terminationGracePeriodSeconds")

    assert told() == ({"preStop": {"sleep": {"seconds": 5}}}, 35)
    assert told(drain=60) == ({"preStop": {"sleep": {"seconds": 60}}}, 90)
    assert told(drain=0) == (None, None)


def test_default_security_context_is_restrictive() -> None:
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


def test_undeclared_fields_are_left_to_the_cluster() -> None:
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


def test_scheduling_options_are_translated() -> None:
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


def test_null_options_are_ignored() -> None:
    """Jinja's `default(omit)` within a mapping leaves nulls behind."""
    nulls = {option: None for option in OPTIONS if option != "replicas"}
    assert app_manifest("web", IMAGE_NAME, **nulls) == app_manifest("web", IMAGE_NAME)


def test_null_replicas_are_left_to_an_autoscaler() -> None:
    assert "replicas" not in made(replicas=None)["Deployment"]["spec"]
    assert made(replicas=0)["Deployment"]["spec"]["replicas"] == 0


def test_module_and_role_have_the_same_options() -> None:
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
