# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What applying objects would change, as the answers of kubernetes.core.k8s tell it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.homelab.loadbalancer.plugins.action.k8s_objects import ActionModule
from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_objects as objects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError

OURS = "homelab.loadbalancer"
OTHER = {"manager": "kube-controller-manager", "operation": "Update", "time": "2026-11-21T10:00:09Z"}


def thing(kind: str = "ConfigMap", namespace: str = "default", **content: Any) -> dict[str, Any]:
    metadata = {"name": "x", **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


def entry(time: str = "2026-11-21T10:00:00Z", manager: str = OURS) -> dict[str, Any]:
    return {"manager": manager, "operation": "Apply", "time": time, "fieldsV1": {}}


def answer(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {"diff": {"before": before, "after": after}}


def refused(message: str) -> dict[str, Any]:
    said = '{"kind":"Status","message":"%s","code":409}\n' % message.replace('"', '\\"').replace("\n", "\\n")
    return {"error": {"msg": "Failed to apply object: %r" % said.encode()}}


def verbs(definitions: list[dict[str, Any]], answers: list[dict[str, Any]], check_mode: bool = False) -> list[str]:
    return [step.fault or step.verb for step in objects.plan(definitions, answers, OURS, check_mode)]


@pytest.mark.parametrize(
    ("before", "after", "verb"),
    [
        ({}, {}, "keep"),
        ({}, {**thing(), "metadata": {"managedFields": [entry()]}}, "create"),
        # Somebody else worked on the object in the meantime.
        ({"status": {"ready": 0}}, {"status": {"ready": 1}}, "keep"),
        ({"metadata": {"managedFields": [entry()]}}, {"metadata": {"managedFields": [entry(), OTHER]}}, "keep"),
        # Our entry moved: the API server changed something for us, even where no difference is shown.
        (
            {"metadata": {"managedFields": [entry(), OTHER]}},
            {"metadata": {"managedFields": [entry("2026-11-21T11:00:00Z"), OTHER]}},
            "update",
        ),
        ({"metadata": {"managedFields": [OTHER]}}, {"metadata": {"managedFields": [OTHER, entry()]}}, "update"),
        (
            {"metadata": {"managedFields": [entry(manager="someone")]}},
            {"metadata": {"managedFields": [entry("2026-11-21T11:00:00Z", "someone")]}},
            "keep",
        ),
    ],
)
def test_only_our_own_entry_tells_a_change(before: dict[str, Any], after: dict[str, Any], verb: str) -> None:
    assert verbs([thing()], [answer(before, after)]) == [verb]


def test_an_update_that_the_module_does_not_see_shows_the_declaration() -> None:
    moved = answer({"metadata": {"managedFields": []}}, {"metadata": {"managedFields": [entry()]}})
    (step,) = objects.plan([thing(data={"a": "b"})], [moved], OURS)
    assert (step.before, step.after) == ({}, thing(data={"a": "b"}))


def test_lists_are_shown_in_one_order() -> None:
    ports = [{"port": 2}, {"port": 1}]
    shown = []
    for after in (ports, ports[::-1]):
        moved = {"metadata": {"managedFields": [entry()]}, "spec": {"ports": after}}
        shown.append(objects.plan([thing("Service")], [answer({}, moved)], OURS)[0].after)
    assert shown[0] == shown[1] == {"spec": {"ports": [{"port": 1}, {"port": 2}]}}


NO_NAMESPACE = refused('namespaces "new" not found')
NO_KIND = {"error": {"msg": "Failed to find exact match for example.org/v1.Thing by [kind, name, ...]"}}
GONE_KIND = {"error": {"msg": "Failed to apply object: b'404 page not found\\n'"}}
CUSTOM = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x"}}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.org"},
    "spec": {"group": "example.org", "names": {"kind": "Thing"}},
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}


def test_what_the_objects_bring_themselves_need_not_be_there() -> None:
    definitions = [NAMESPACE, CRD, thing(namespace="new"), CUSTOM]
    created = [answer({}, entry) for entry in (NAMESPACE, CRD)]
    assert verbs(definitions, [*created, NO_NAMESPACE, NO_KIND]) == ["create"] * 4


@pytest.mark.parametrize(
    ("definition", "said", "fault"),
    [
        (thing(namespace="new"), NO_NAMESPACE, "there is no namespace new: create it, or declare it as well"),
        (CUSTOM, NO_KIND, "the cluster does not know Thing of example.org/v1: install what brings it first"),
        (CUSTOM, GONE_KIND, "the cluster does not know Thing of example.org/v1: install what brings it first"),
    ],
)
def test_what_is_missing_is_named_and_counts_in_check_mode(
    definition: dict[str, Any], said: dict[str, Any], fault: str
) -> None:
    assert verbs([definition], [said]) == [fault]
    assert verbs([definition], [said], check_mode=True) == ["create"]


def test_a_conflict_names_the_other_manager() -> None:
    text = 'Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas'
    assert verbs([thing()], [refused(text)], check_mode=True) == [text]


def test_removal() -> None:
    definitions = [thing(), thing(), CUSTOM, thing("Secret", data={"a": "c2VjcmV0"}), thing()]
    forbidden = {"error": {"msg": 'Failed to delete object: b\'{"message": "forbidden"}\''}}
    answers = [{"changed": True}, {"changed": False}, NO_KIND, {"changed": True}, forbidden]
    steps = objects.plan_removal(definitions, answers)
    assert [step.fault or step.verb for step in steps] == ["delete", "keep", "keep", "delete", "forbidden"]
    assert steps[3].before["data"] == {"a": "(not shown)"}


def test_a_diff_shows_no_secret_and_no_bookkeeping() -> None:
    secret = thing("Secret", data={"password": "c2VjcmV0"}, stringData={"b": "secret"}, status={"phase": "x"})
    secret["metadata"]["uid"] = "1"
    assert objects.shown(secret) == thing("Secret", data={"password": "(not shown)"}, stringData={"b": "(not shown)"})
    assert objects.shown({"data": {"password": "x"}}, "Secret") == {"data": {"password": "(not shown)"}}
    # kubectl leaves a copy of the whole object in an annotation.
    secret["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(secret)}
    assert "c2VjcmV0" not in str(objects.shown(secret))


def test_one_answer_and_several() -> None:
    assert objects.answers_of({"changed": True, "result": {"kind": "ConfigMap"}}) == [
        {"changed": True, "result": {"kind": "ConfigMap"}}
    ]
    assert objects.answers_of({"result": {"results": [{"changed": True}, {"changed": False}]}}) == [
        {"changed": True},
        {"changed": False},
    ]


def test_lists_of_objects_are_taken_apart() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [thing(), thing("Service")]}
    assert objects.parse_definitions([listed, NAMESPACE], "d") == [thing(), thing("Service"), NAMESPACE]


@pytest.mark.parametrize(
    ("definitions", "message"),
    [
        ("x", "d must be a list, not str"),
        (["x"], "d[0] must be a mapping, not str"),
        ([{"kind": "ConfigMap"}], "d[0].apiVersion is missing"),
        ([{"apiVersion": "v1"}], "d[0].kind is missing"),
        ([thing(), {"apiVersion": "v1", "kind": "Pod"}], "d[1].metadata.name is missing"),
        ([{"kind": "List", "items": [{}]}], "d[0].items[0].apiVersion is missing"),
    ],
)
def test_what_is_no_object_is_named(definitions: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        objects.parse_definitions(definitions, "d")
    assert str(caught.value) == message


REFUSED = (
    "HTTPSConnectionPool(host='10.0.0.1', port=6443): Max retries exceeded with url: /version (Caused by "
    "NewConnectionError(\"HTTPSConnection(host='10.0.0.1', port=6443): Failed to establish a new connection: "
    '[Errno 111] Connection refused"))'
)
UNTRUSTED = (
    "HTTPSConnectionPool(host='10.0.0.1', port=6443): Max retries exceeded with url: /version (Caused by "
    "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get "
    "local issuer certificate (_ssl.c:1006)')))"
)


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        (
            "401\nReason: Unauthorized\nHTTP response headers: ...",
            "the API server https://10.0.0.1:6443 refuses the credentials of /k (401 Unauthorized): ",
        ),
        (REFUSED, "the API server https://10.0.0.1:6443 does not answer (Connection refused): start it, or "),
        (UNTRUSTED, "the API server https://10.0.0.1:6443 does not answer (certificate verify failed: unable to get "),
        ("Max retries exceeded", "the API server https://10.0.0.1:6443 does not answer (no connection): "),
        (
            "Could not create API client: Invalid kube-config file. No configuration found.",
            "/k is no kubeconfig that can be used (Invalid kube-config file. No configuration found.): name one ",
        ),
        (
            'Failed to delete object: b\'{"message": "pods \\\\"x\\\\" is forbidden"}\'',
            'pods "x" is forbidden',
        ),
    ],
)
def test_a_server_that_cannot_be_used_is_named(text: str, begin: str) -> None:
    said = objects.failure(text, "https://10.0.0.1:6443", "/k")
    assert said.startswith(begin)


def test_without_its_address_the_kubeconfig_names_the_server() -> None:
    assert objects.failure(REFUSED, "", "/k").startswith("the API server of /k does not answer")


KUBECONFIG = {
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "one"}}, {"name": "b", "context": {"cluster": "two"}}],
    "clusters": [
        {"name": "one", "cluster": {"server": "https://one:6443"}},
        {"name": "two", "cluster": {"server": "https://two:6443"}},
    ],
}


@pytest.mark.parametrize(
    ("kubeconfig", "context", "server"),
    [
        (KUBECONFIG, "", "https://one:6443"),
        (KUBECONFIG, "b", "https://two:6443"),
        (KUBECONFIG, "c", ""),
        (None, "", ""),
        ({"current-context": "a"}, "", ""),
    ],
)
def test_the_servers_address(kubeconfig: Any, context: str, server: str) -> None:
    assert objects.server_of(kubeconfig, context) == server


class Runs(ActionModule):
    """The action plugin with answers instead of a cluster, and a note of what was asked."""

    def __init__(self, answers: list[dict[str, Any]], check_mode: bool = False, **arguments: Any) -> None:
        task = SimpleNamespace(args=arguments, check_mode=check_mode, diff=False, no_log=False, async_val=0)
        super().__init__(task, *[MagicMock()] * 5)
        self.answers = answers
        self.asked: list[tuple[bool, dict[str, Any]]] = []

    def _execute_module(self, name: str, arguments: dict[str, Any], **dummy: Any) -> dict[str, Any]:
        self.asked.append((self._task.check_mode, arguments))
        assert self._task.no_log
        return self.answers.pop(0) if self.answers else {"result": {"results": []}}

    def applied(self) -> list[list[str]]:
        """The kinds that were applied or removed, by call."""
        return [[obj["kind"] for obj in more["definition"]] for check, more in self.asked if not check]


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActionBase, "run", lambda *dummy: {})


def several(*answers: dict[str, Any]) -> dict[str, Any]:
    return {"result": {"results": list(answers)}}


def created(definition: dict[str, Any]) -> dict[str, Any]:
    return answer({}, definition)


def test_only_what_changes_is_applied_and_kinds_come_first() -> None:
    definitions = [NAMESPACE, thing(), thing("Service"), CRD]
    answers = several(created(NAMESPACE), {}, created(thing("Service")), created(CRD))
    plugin = Runs([answers], definitions=definitions, kubeconfig="/k")
    result = plugin.run()
    assert plugin.applied() == [["CustomResourceDefinition"], ["Namespace", "Service"]]
    assert [result["changed"], result["changes"]] == [
        True,
        ["create Namespace new", "create Service default/x", "create CustomResourceDefinition things.example.org"],
    ]
    apply = {"field_manager": OURS, "force_conflicts": False}
    assert all((more["server_side_apply"], more["kubeconfig"]) == (apply, "/k") for dummy, more in plugin.asked)
    assert (plugin._task.check_mode, plugin._task.diff, plugin._task.no_log) == (False, False, False)


def test_a_check_run_and_a_second_run_apply_nothing() -> None:
    check = Runs([created(thing())], check_mode=True, definitions=[thing()])
    assert check.run()["changed"]
    second = Runs([{}], definitions=[thing()])
    assert not second.run()["changed"]
    assert check.applied() == second.applied() == []


def test_nothing_is_applied_when_one_object_is_refused() -> None:
    plugin = Runs([several(created(NAMESPACE), NO_KIND)], definitions=[NAMESPACE, CUSTOM])
    with pytest.raises(AnsibleActionFail, match=r"nothing was changed(.|\n)*Thing x: the cluster does not know Thing"):
        plugin.run()
    assert plugin.applied() == []


def test_removal_goes_backwards_and_only_workloads_wait_for_their_pods() -> None:
    workload = {**thing("Deployment"), "apiVersion": "apps/v1"}
    plugin = Runs([several(*[{"changed": True}] * 3)], definitions=[NAMESPACE, workload, thing()], state="absent")
    plugin.run()
    assert plugin.applied() == [["ConfigMap"], ["Deployment"], ["Namespace"]]
    policies = [more["delete_options"]["propagationPolicy"] for check, more in plugin.asked if not check]
    assert policies == ["Background", "Foreground", "Background"]
    assert all(more["wait"] for check, more in plugin.asked if not check)


def test_an_empty_list_changes_nothing() -> None:
    plugin = Runs([], definitions=[])
    assert plugin.run() == {"changed": False, "changes": [], "diff": []}
    assert plugin.asked == []
