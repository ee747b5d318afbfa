# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools and the wait for rollouts on a real API server, where nothing becomes ready by itself."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.server import RefusalError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools import listing, logs
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools import manage as manager
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, deployment, path, pool, thing
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes

HOSTS = ("operator", "node")
ROLLED_OUT = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
PASSWORD = "correct-horse"  # noqa: S105 -- of no account


@pytest.fixture
def cluster(api: ApiServer) -> Cluster:
    return Cluster(api)


def defaults(arguments: dict[str, dict[str, Any]], **options: Any) -> dict[str, Any]:
    return {**{key: option.get("default") for key, option in arguments.items()}, "prefix": "", **options}


def manage(cluster: Cluster, operation: str, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """The result of the module k8s_manage."""
    given = defaults(manager.ARGUMENTS, operation=operation, **options)
    return manager.manage(cluster.server(), given, check_mode)


def found(cluster: Cluster, *kinds: str, **options: Any) -> list[dict[str, Any]]:
    """The kinds in the result of the module k8s_list."""
    answer = listing.list_objects(cluster.server(), defaults(listing.ARGUMENTS, kinds=list(kinds), **options))
    kinds_found: list[dict[str, Any]] = answer["found"]
    return kinds_found


def test_lifecycle_of_one_object(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    one = config_map(namespace, "one")
    reference = {"kind": "configmaps", "name": "one", "namespace": namespace}
    with api.record() as asked:
        assert manage(cluster, "create", True, definition=one)["change"] == "create ConfigMap %s/one" % namespace
    assert writes(asked) == []
    assert manage(cluster, "create", definition=one)["changed"]
    with pytest.raises(InputError, match="exists already: replace or patch it"):
        manage(cluster, "create", definition=one)
    assert not manage(cluster, "replace", definition=one)["changed"]
    for patch_type, patch in (
        ("strategic", {"data": {"a": "1"}}),
        ("merge", {"data": {"b": "2"}}),
        ("json", [{"op": "add", "path": "/data/c", "value": "3"}]),
    ):
        assert manage(cluster, "patch", patch=patch, patch_type=patch_type, **reference)["changed"]
    assert {"a": "1", "b": "2", "c": "3"}.items() <= manage(cluster, "read", **reference)["object"]["data"].items()
    assert manage(cluster, "delete", **reference)["changed"]
    assert not manage(cluster, "delete", **reference)["changed"]
    with pytest.raises(InputError, match="there is no ConfigMap %s/one" % namespace):
        manage(cluster, "read", **reference)


def test_custom_resources_take_no_strategic_patch(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    manage(cluster, "create", definition=pool(namespace, "one", "172.16.0.100-172.16.0.149"))
    with pytest.raises(InputError, match="IPAddressPool takes no patch of the type strategic"):
        manage(cluster, "patch", kind="ipaddresspools", namespace=namespace, name="one", patch={"spec": {}})


def test_blocked_deletion_names_the_finalizer(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    one = config_map(namespace, "one")
    one["metadata"]["finalizers"] = ["example.org/keep"]
    manage(cluster, "create", definition=one)
    reference = {"kind": "ConfigMap", "name": "one", "namespace": namespace}
    with pytest.raises(InputError, match=r"is still there after 0 s\. What must be done before it goes: example.org/"):
        manage(cluster, "delete", timeout=0, **reference)
    manage(cluster, "patch", patch_type="merge", patch={"metadata": {"finalizers": None}}, **reference)


def test_lists_have_the_columns_of_kubectl(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    secret = thing("v1", "Secret", namespace, "login", stringData={"password": PASSWORD})
    for one in (config_map(namespace, "one"), secret, deployment(namespace, "web")):
        manage(cluster, "create", definition=one)
    maps, secrets, workloads = found(cluster, "cm", "secrets", "deployments.apps", namespace=namespace)
    assert maps["columns"] == ["Name", "Data", "Age"]
    assert [row[0] for row in maps["rows"]] == ["one"]
    assert secrets["objects"][0]["data"] == {"password": "(not shown)"}
    assert workloads["columns"][:2] == ["Name", "Ready"]
    [everywhere] = found(cluster, "cm", field_selectors=["metadata.name=one", "metadata.namespace=" + namespace])
    assert everywhere["rows"][0][:2] == [namespace, "one"]
    with pytest.raises(RefusalError, match="unable to parse requirement"):
        found(cluster, "pods", label_selectors=["!!"])
    with pytest.raises(InputError, match=r"did you mean ConfigMap\?"):
        found(cluster, "configmps")


def test_logs_of_pods_that_have_not_started(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    spec = {"containers": [{"name": "web", "image": "registry.example.org/web:1"}]}
    manage(cluster, "create", definition=thing("v1", "ServiceAccount", namespace, "default"))
    manage(cluster, "create", definition=thing("v1", "Pod", namespace, "web", spec=spec))
    read = logs.read_logs(cluster.server(), defaults(logs.ARGUMENTS, names=["web"], namespace=namespace))
    assert [(log["container"], log["lines"]) for log in read["logs"]] == [("web", [])]
    with pytest.raises(InputError, match="there is no pod db in the namespace " + namespace):
        logs.read_logs(cluster.server(), defaults(logs.ARGUMENTS, names=["db"], namespace=namespace))


@pytest.mark.parametrize("host", HOSTS)
def test_rollout_is_awaited_and_explained(api: ApiServer, namespace: str, host: str) -> None:
    def wait(name: str, **more: Any) -> dict[str, Any]:
        definitions = [deployment(namespace, name)]
        return {"homelab.loadbalancer.k8s_rollout": {"definitions": definitions, "timeout": 1}, **more}

    complete = path(namespace, "complete", "deployments").replace("/api/v1/", "/apis/apps/v1/")
    for name in ("web", "complete"):
        api.ask("POST", complete.rpartition("/")[0], deployment(namespace, name))
    api.ask("PATCH", complete + "/status", {"status": ROLLED_OUT}, "application/merge-patch+json")
    with api.record() as asked:
        (done, predicted, late), dummy = api.results(
            [wait("complete"), wait("web", check_mode=True), wait("web")], host=host
        )
    for one in (done, predicted):
        assert not one["changed"] and not one.get("failed")
    assert "the rollout is not complete after" in late["msg"]
    assert "Deployment %s/web: its controller has not seen the change yet" % namespace in late["msg"]
    # A complete workload is read once, without its pods.
    read = [one.path for one in asked if namespace in one.path]
    assert read.count(complete) == 1 and read[0] == complete
    assert "pods" not in read[1]


@pytest.mark.parametrize("host", HOSTS)
def test_tools_show_no_secrets(api: ApiServer, namespace: str, host: str) -> None:
    secret = thing("v1", "Secret", namespace, "login", stringData={"password": PASSWORD})
    create = {"operation": "create", "definition": secret}
    tasks = [
        {"homelab.loadbalancer.k8s_manage": create, "ignore_errors": True},
        {"homelab.loadbalancer.k8s_manage": {**create, "allow_write": True}},
        {"homelab.loadbalancer.k8s_list": {"kinds": ["secrets"], "namespace": namespace}, "register": "listed"},
        {"ansible.builtin.debug": {"var": "listed.found[0].objects"}},
    ]
    done = api.play(tasks, "-vvvv", "--diff", host=host)
    assert changes(done.out) == 1
    assert "writes to the cluster are disabled: set k8s_allow_write: true" in " ".join(done.out.split())
    assert "password: (not shown)" in done.out
    # Ansible prints a task's own arguments from -vvv on only when a module gets them.
    assert PASSWORD not in done.out + done.err
