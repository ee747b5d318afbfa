# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine carries out plans, on an API server in memory. tests/api does so on a real one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s.transport import Request, Response
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import Engine, FailedError, RefusedError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import (
    Accepted,
    Apply,
    Outcome,
    Patch,
    Plan,
    Rehearsal,
    Remove,
    Rollout,
    Until,
)
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.server import (
    RefusalError,
    Server,
    UnansweredError,
    check,
)
from ansible_collections.homelab.loadbalancer.tests.unit.fake_api import CRD, FakeApi, refusal

CONFLICT = refusal(409, 'Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.a')
WEBHOOK = refusal(500, 'Internal error occurred: failed calling webhook "x": connection refused')


def thing(kind: str = "ConfigMap", name: str = "one", version: str = "v1", **content: Any) -> dict[str, Any]:
    metadata = {"name": name} if kind in ("Namespace", "Node", CRD) else {"name": name, "namespace": "default"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


DEFAULT = thing("Namespace", "default")
THINGS = thing(
    CRD,
    "things.example.org",
    "apiextensions.k8s.io/v1",
    spec={
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [{"name": "v1"}],
    },
)
THING = thing("Thing", version="example.org/v1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only sleeping advances."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


def run(api: FakeApi, *steps: Any, check_mode: bool = False, **more: Any) -> Outcome:
    return Engine(Server(api), check_mode, print).run(Plan(steps, **more))


def test_second_run_writes_nothing() -> None:
    api = FakeApi(DEFAULT)
    step = Apply([thing(data={"a": "b"}), thing("Secret", data={"p": "eA=="})])
    assert run(api, step).changes == ["create ConfigMap default/one", "create Secret default/one"]
    api.asked.clear()
    assert run(api, step).changes == []
    assert api.writes == []


class FastApi(FakeApi):
    """Everything happens within the same second."""

    def applied(self, *arguments: Any) -> dict[str, Any]:
        self.clock = 0
        return super().applied(*arguments)


def test_change_within_a_second_of_the_last_one_is_a_change() -> None:
    api = FastApi(DEFAULT)
    run(api, Apply([thing(data={"a": "b"})]))
    assert run(api, Apply([thing(data={"a": "c"})])).changes == ["update ConfigMap default/one"]


def test_check_mode_tells_the_changes_and_writes_nothing() -> None:
    api = FakeApi(DEFAULT, thing("Node", "n"))
    steps = [Apply([thing()]), Remove([thing("Node", "n")]), Patch(thing("Node", "n"), {"spec": {"x": 1}})]
    found = run(api, *steps, check_mode=True)
    assert found.changes == ["create ConfigMap default/one", "delete Node n", "update Node n"]
    assert api.writes == []


@pytest.mark.parametrize("refused", [CONFLICT, WEBHOOK, refusal(403, "configmaps is forbidden")])
def test_refused_object_leaves_all_others_unapplied(refused: Response) -> None:
    api = FakeApi(DEFAULT, thing("Node", "n"))
    api.refuse["bad"] = refused
    with pytest.raises(
        RefusedError, match=r"nothing was changed, because the cluster refuses\nConfigMap default/bad: "
    ):
        run(api, Apply([thing(), thing(name="bad")]), Remove([thing("Node", "n")]))
    assert api.writes == []


def test_refused_removal_leaves_all_others_unapplied() -> None:
    api = FakeApi(DEFAULT, thing("Node", "n"))
    api.refuse["n"] = refusal(403, "nodes is forbidden")
    with pytest.raises(RefusedError, match="Node n: nodes is forbidden"):
        run(api, Apply([thing()]), Remove([thing("Node", "n")]))
    assert api.writes == []


def test_namespaces_and_kinds_come_before_the_objects_that_need_them() -> None:
    inside = {**THING, "metadata": {"name": "one", "namespace": "new"}}
    api = FakeApi()
    record = {**thing(name="record"), "metadata": {"name": "record", "namespace": "new"}}
    found = run(api, Apply([record, inside, THINGS, thing("Namespace", "new")]))
    assert found.changes == [
        "create Namespace new",
        "create ConfigMap new/record",
        "create CustomResourceDefinition things.example.org",
        "create Thing new/one",
    ]


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        (THING, "the cluster does not know Thing of example.org/v1: install its CustomResourceDefinition first"),
        (thing(), "the namespace default does not exist: create it, or declare it as well"),
        (thing(), "metadata.namespace is missing: ConfigMap is a kind of namespaces"),
    ],
)
def test_missing_kind_or_namespace_is_a_refusal(declared: dict[str, Any], fault: str) -> None:
    if fault.startswith("metadata"):
        declared = {**declared, "metadata": {"name": "one"}}
    with pytest.raises(RefusedError, match=fault):
        run(FakeApi(), Apply([declared]))


@pytest.mark.parametrize("declared", [THING, thing()])
def test_missing_kind_or_namespace_counts_as_coming_in_check_mode(declared: dict[str, Any]) -> None:
    assert len(run(FakeApi(), Apply([declared]), check_mode=True).changes) == 1


def test_objects_of_all_kinds_go_in_one_exchange_up_to_the_next_definition_of_kinds() -> None:
    class Counting(FakeApi):
        sent: list[int]

        def __call__(self, requests: Any) -> list[Response]:
            if any(request.method == "PATCH" and ("dryRun", "All") not in request.query for request in requests):
                self.sent.append(len(requests))
            return super().__call__(requests)

    api = Counting(DEFAULT)
    api.sent = []
    run(api, Apply([thing(), thing("Secret"), THINGS, thing("Service"), thing("Secret", "two"), THING]))
    assert api.sent == [3, 3]


def test_write_that_is_refused_keeps_those_after_it_back() -> None:
    class Late(FakeApi):
        """Refuses a write that it accepted in the dry run."""

        def answer(self, request: Request) -> Response:
            if request.path.endswith("/bad") and request.method == "PATCH" and ("dryRun", "All") not in request.query:
                return CONFLICT
            return super().answer(request)

    api = Late(DEFAULT)
    with pytest.raises(FailedError) as caught:
        run(api, Apply([thing(), thing("Secret", "bad"), thing("Secret", "good"), thing("Service")]))
    assert caught.value.outcome.changes == ["create ConfigMap default/one", "create Secret default/good"]
    assert str(caught.value).startswith("Secret default/bad: Apply failed with 1 conflict")


def test_objects_are_removed_in_the_opposite_order_and_workloads_with_their_pods() -> None:
    deployment = thing("Deployment", version="apps/v1")
    api = FakeApi(DEFAULT, thing(), deployment)
    assert run(api, Remove([thing(), thing(name="gone"), THING, deployment])).changes == [
        "delete Deployment default/one",
        "delete ConfigMap default/one",
    ]
    assert list(api.objects) == [api.path(DEFAULT)]


def test_object_that_stays_is_named_with_its_finalizers() -> None:
    held = thing()
    held["metadata"]["finalizers"] = ["example.org/hold"]
    api = FakeApi(DEFAULT, held)
    api.lasting.add(api.path(held))
    with pytest.raises(
        FailedError, match=r"ConfigMap default/one is still there after 9 s: its finalizers example.org"
    ):
        run(api, Remove([held]), timeout=9)


def test_late_objects_are_tried_after_the_steps_before_them() -> None:
    api = FakeApi(DEFAULT, thing(name="old"))
    run(api, Remove([thing(name="old")]), Apply([thing(name="new")], late=True))
    path = api.path(thing(name="new"))
    assert api.asked.index("dry PATCH " + path) > api.asked.index("DELETE " + api.path(thing(name="old")))
    assert run(FakeApi(DEFAULT), Apply([thing(name="new")], late=True), check_mode=True).changes == [
        "create ConfigMap default/new"
    ]


def test_refused_late_object_names_the_changes_made() -> None:
    api = FakeApi(DEFAULT, thing(name="old"))
    api.refuse["new"] = CONFLICT
    with pytest.raises(FailedError) as caught:
        run(api, Remove([thing(name="old")]), Apply([thing(name="new")], late=True))
    assert caught.value.outcome.changes == ["delete ConfigMap default/old"]


def test_patient_step_waits_for_a_webhook() -> None:
    class Slow(FakeApi):
        def patch(self, request: Request, dry: bool) -> Response:
            return WEBHOOK if len(self.asked) < 9 else super().patch(request, dry)

    assert run(Slow(DEFAULT), Apply([thing()], patient=True)).changes == ["create ConfigMap default/one"]
    with pytest.raises(RefusedError, match="failed calling webhook"):
        run(Slow(DEFAULT), Apply([thing()]))


def test_patch_that_changes_nothing_is_no_change() -> None:
    api = FakeApi(thing("Node", "n", spec={"x": 1}))
    assert run(api, Patch(thing("Node", "n"), {"spec": {"x": 1}})).changes == []
    assert run(api, Patch(thing("Node", "n"), {"spec": {"x": 2}})).changes == ["update Node n"]
    with pytest.raises(RefusedError, match="Node m: not found"):
        run(api, Patch(thing("Node", "m"), {}))


def test_rehearsal_leaves_nothing_and_is_no_change() -> None:
    api = FakeApi(DEFAULT)
    assert run(api, Rehearsal([thing()], "it would not work")).changes == []
    assert list(api.objects) == [api.path(DEFAULT)]
    assert run(api, Rehearsal([thing()], "it would not work"), check_mode=True).changes == []
    api.refuse["one"] = refusal(403, "exceeded quota")
    with pytest.raises(RefusedError, match="exceeded quota"):
        run(api, Rehearsal([thing()], "it would not work"))


def test_until_ends_when_nothing_is_missing_and_returns_the_answers() -> None:
    left = ["a is missing", "b is missing"]
    until = Until([{"kind": "Node"}], lambda answers: [left.pop()] if left else [], "not all work:")
    assert [len(answers) for answers in run(FakeApi(), until).seen] == [1]
    forever = Until([{"kind": "Node"}], lambda answers: ["c is missing"], "not all work:")
    with pytest.raises(FailedError, match=r"^not all work:\nc is missing$"):
        run(FakeApi(), forever)
    assert len(run(FakeApi(), forever, check_mode=True).seen) == 1


def test_until_begins_with_the_answers_of_the_plan() -> None:
    api = FakeApi(DEFAULT)
    queries = [{"kind": "Node"}]
    until = Until(queries, lambda answers: [], "not all work:")
    server = Server(api)
    server.read(queries)
    asked = len(api.asked)
    Engine(server, False, print).run(Plan([until]))
    assert api.asked[asked:] == []
    Engine(server, False, print).run(Plan([Apply([thing()]), until]))
    assert "/api/v1/nodes" in api.asked[-1]


@pytest.mark.parametrize("changed", [True, False])
def test_failure_is_explained_by_a_fresh_read(changed: bool) -> None:
    """A Service that loses its address is reported, though it had one when it was read or applied."""
    status = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
    service = thing("Service", "web", spec={"type": "LoadBalancer", "loadBalancerIP": "10.9.9.9"})
    api = FakeApi(DEFAULT, thing("Service", "web", spec={"type": "LoadBalancer"}, status=status))
    if not changed:
        run(api, Apply([service]))
        api.objects[api.path(service)]["status"] = status

    def missing(answers: Any) -> list[str]:
        api.objects[api.path(service)].pop("status", None)
        return ["it has no address"]

    until = Until([{"kind": "Node"}], missing, "not all work:", explain=[service])
    with pytest.raises(FailedError, match="Service default/web: no load balancer has given it an address"):
        run(api, Apply([service]), until)


def test_address_of_a_service_that_was_changed_is_awaited_anew() -> None:
    old = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
    service = thing("Service", "web", spec={"type": "LoadBalancer", "loadBalancerIP": "10.9.9.9"})

    class Controlled(FakeApi):
        """Its controller gives an address when the changed Service is read."""

        def get(self, request: Request, dry: bool) -> Response:
            one = self.objects.get(self.path(service))
            if one and "loadBalancerIP" in one["spec"]:
                one["status"] = {"loadBalancer": {"ingress": [{"ip": "10.9.9.9"}]}}
            return super().get(request, dry)

    api = Controlled(DEFAULT, thing("Service", "web", spec={"type": "LoadBalancer"}, status=old))
    found = run(api, Apply([service]), Rollout([service], addresses=True))
    assert found.addresses == {"default/web": ["10.9.9.9"]}
    assert run(api, Apply([service]), Rollout([service], addresses=True)).addresses == found.addresses


def test_accepted_waits_for_the_api_server_to_accept_an_object() -> None:
    api = FakeApi(DEFAULT)
    run(api, Accepted(thing(), "no pool was accepted.", "Look at the webhook"))
    assert list(api.objects) == [api.path(DEFAULT)]
    api.refuse["one"] = WEBHOOK
    with pytest.raises(FailedError, match=r"no pool was accepted. Seen last: .*refused. Look at the webhook"):
        run(api, Accepted(thing(), "no pool was accepted.", "Look at the webhook"))


@pytest.mark.parametrize("old", [False, True])
def test_kinds_are_asked_for_once_a_run_and_again_when_one_is_missing(old: bool, tmp_path: Path) -> None:
    api = FakeApi(DEFAULT, old=old)
    for dummy in range(2):
        assert Server(api, str(tmp_path), "k").read([{"kind": "Namespace"}])[0]["resources"] == [
            {**DEFAULT, "metadata": {"name": "default", "uid": "u"}}
        ]
    assert api.asked.count("GET /apis") == 1
    server = Server(api, str(tmp_path), "k")
    assert server.read([{"kind": "Thing", "api_version": "example.org/v1"}] * 2)[1]["api_found"] is False
    assert api.asked.count("GET /apis") == 2
    assert oct(next(tmp_path.iterdir()).stat().st_mode)[-3:] == "600"


def test_optional_query_that_is_forbidden_is_no_failure() -> None:
    class Closed(FakeApi):
        def get(self, request: Request, dry: bool) -> Response:
            return refusal(403, "secrets is forbidden")

    query = {"kind": "Secret", "optional": True}
    assert Server(Closed()).read([query])[0] == {
        "kind": "Secret",
        "api_found": True,
        "resources": [],
        "forbidden": True,
    }
    with pytest.raises(RefusalError, match="secrets is forbidden"):
        Server(Closed()).read([{"kind": "Secret"}])


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (Response(0, None, "unreachable", "Connection refused"), "Connection refused"),
        (Response(0, None, "silent", "timed out"), "it accepted a request and sent no answer in time"),
        (Response(0, None, "broken", "reset"), "it ended the connection without an answer"),
        (Response(401, {"message": "Unauthorized"}), "Unauthorized"),
    ],
)
def test_no_answer_ends_the_task(response: Response, said: str) -> None:
    with pytest.raises(UnansweredError) as caught:
        check(response)
    assert str(caught.value) == said


def test_hidden_fields_are_left_out() -> None:
    secret = thing("Secret", data={"a": "b"}, metadata_={"tls.key": "x"}, spec=[{"x": {"y": 1, "z": 2}}])
    found = Server(FakeApi(secret)).read(
        [{"kind": "Secret", "hidden_fields": ["data", "spec.x.y", "metadata.uid", "metadata_[tls.key]", "no"]}]
    )
    assert found[0]["resources"] == [thing("Secret", metadata_={}, spec=[{"x": {"z": 2}}])]
