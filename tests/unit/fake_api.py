# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server in memory. It answers the engine's requests, and keeps a list of them."""

from __future__ import annotations

import copy
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s.transport import SKIPPED, Request, Response

VERBS = ["create", "delete", "get", "list", "patch"]
CRD = "CustomResourceDefinition"
KINDS: dict[str, dict[str, tuple[str, bool]]] = {
    "v1": {"ConfigMap": ("configmaps", True), "Namespace": ("namespaces", False), "Secret": ("secrets", True),
           "Node": ("nodes", False), "Service": ("services", True)},
    "apps/v1": {"Deployment": ("deployments", True)},
    "apiextensions.k8s.io/v1": {CRD: ("customresourcedefinitions", False)},
}  # fmt: skip


def refusal(status: int, message: str, **details: Any) -> Response:
    return Response(status, {"kind": "Status", "message": message, "details": details})


class FakeApi:
    """Objects by their paths.

    asked -- method and path of each request; dry runs begin with `dry `
    refuse -- by the name of an object why it is refused
    lasting -- paths of objects that a deletion leaves where they are
    """

    def __init__(self, *objects: dict[str, Any], old: bool = False) -> None:
        self.kinds = copy.deepcopy(KINDS)
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.refuse: dict[str, Response] = {}
        self.lasting: set[str] = set()
        self.clock = 0
        self.old = old  # does not know aggregated discovery
        for one in objects:
            self.objects[self.path(one)] = {**copy.deepcopy(one), "metadata": {"uid": "u", **one["metadata"]}}

    def path(self, one: Mapping[str, Any]) -> str:
        plural, namespaced = self.kinds[one["apiVersion"]][one["kind"]]
        space = "/namespaces/" + one["metadata"]["namespace"] if namespaced else ""
        root = "/apis/" if "/" in one["apiVersion"] else "/api/"
        return "%s%s%s/%s/%s" % (root, one["apiVersion"], space, plural, one["metadata"]["name"])

    @property
    def writes(self) -> list[str]:
        return [each for each in self.asked if not each.startswith(("GET", "dry"))]

    def __call__(self, requests: Sequence[Request]) -> list[Response]:
        responses: list[Response] = []
        skipped = False
        for request in requests:
            skipped = skipped or (request.then and any(not 200 <= response.status < 300 for response in responses))
            responses.append(Response(0, None, SKIPPED) if skipped else self.answer(request))
        return responses

    def answer(self, request: Request) -> Response:
        dry = ("dryRun", "All") in [tuple(pair) for pair in request.query]
        self.asked.append("%s%s %s" % ("dry " if dry else "", request.method, request.path))
        if request.path in ("/api", "/apis") or request.path.count("/") == (3 if "/apis" in request.path else 2):
            return self.discover(request.path)
        name = request.path.rpartition("/")[2]
        if name in self.refuse and request.method != "GET":
            return self.refuse[name]
        answers: dict[str, Callable[[Request, bool], Response]] = {
            "GET": self.get, "PATCH": self.patch, "POST": self.post, "DELETE": self.delete,
        }  # fmt: skip
        return copy.deepcopy(answers[request.method](request, dry))

    def discover(self, path: str) -> Response:
        if path.count("/") > 1:
            version = path.split("/", 2)[2]
            found = [
                {"name": plural, "kind": kind, "namespaced": namespaced, "verbs": VERBS, "singularName": kind.lower()}
                for kind, (plural, namespaced) in self.kinds[version].items()
            ]
            return Response(200, {"kind": "APIResourceList", "resources": [*found, {"name": "x/status", "kind": "X"}]})
        versions = [version for version in self.kinds if ("/" in version) == (path == "/apis")]
        if self.old:
            return Response(200, {"versions": versions} if path == "/api" else {"groups": [
                {"name": version.split("/")[0], "versions": [{"groupVersion": version}],
                 "preferredVersion": {"groupVersion": version}} for version in versions]})  # fmt: skip
        items = [
            {"metadata": {"name": version.rpartition("/")[0]}, "versions": [
                {"version": version.rpartition("/")[2], "resources": [
                    {"resource": plural, "responseKind": {"kind": kind}, "verbs": VERBS, "singularResource": "",
                     "scope": "Namespaced" if namespaced else "Cluster"}
                    for kind, (plural, namespaced) in self.kinds[version].items()]}]}
            for version in versions
        ]  # fmt: skip
        return Response(200, {"kind": "APIGroupDiscoveryList", "items": items})

    def get(self, request: Request, dry: bool) -> Response:
        if request.path in self.objects:
            return Response(200, self.objects[request.path])
        plurals = {plural for kinds in self.kinds.values() for plural, dummy in kinds.values()}
        name = request.path.rpartition("/")[2]
        if name not in plurals:
            return refusal(404, "%s not found" % name, name=name)
        begin, last = request.path.rpartition("/")[0], "/%s/" % name
        items = [one for path, one in self.objects.items() if path.startswith(begin) and last in path]
        return Response(200, {"kind": "List", "items": items})

    def patch(self, request: Request, dry: bool) -> Response:
        old = self.objects.get(request.path)
        parts = request.path.split("/")
        if "namespaces" in parts[:-2]:
            space = parts[parts.index("namespaces") + 1]
            if "/api/v1/namespaces/" + space not in self.objects:
                return refusal(404, 'namespaces "%s" not found' % space, name=space)
        if request.content_type == "application/merge-patch+json":
            if old is None:
                return refusal(404, "not found", name=parts[-1])
            new = {**old, **request.body}
        else:
            new = self.applied(old, request.body, next(value for key, value in request.query if key == "fieldManager"))
        if not dry:
            self.objects[request.path] = new
            self.learn(new)
        return Response(200 if old else 201, new)

    def post(self, request: Request, dry: bool) -> Response:
        """Only tried."""
        name = request.body["metadata"]["name"]
        return self.refuse.get(name) or Response(201, request.body)

    def applied(self, old: Any, body: dict[str, Any], manager: str) -> dict[str, Any]:
        entries = ((old or {}).get("metadata") or {}).get("managedFields") or []
        mine = [entry for entry in entries if entry["manager"] == manager]
        new = {
            **(old or {}),
            **body,
            "metadata": {"uid": "u", **((old or {}).get("metadata") or {}), **body["metadata"]},
        }
        if not mine or new != old:
            self.clock += 1
            entry = {"manager": manager, "operation": "Apply", "time": self.clock, "apiVersion": body["apiVersion"]}
            new["metadata"] = {**new["metadata"], "managedFields": [entry]}
        if body["kind"] == CRD:
            new["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        return new

    def learn(self, new: dict[str, Any]) -> None:
        if new["kind"] == CRD:
            spec = new["spec"]
            for version in spec["versions"]:
                known: dict[str, tuple[str, bool]] = self.kinds.setdefault(
                    "%s/%s" % (spec["group"], version["name"]), {}
                )
                known[spec["names"]["kind"]] = (spec["names"]["plural"], spec["scope"] == "Namespaced")

    def delete(self, request: Request, dry: bool) -> Response:
        if request.path not in self.objects:
            return refusal(404, "not found", name="x")
        if not dry and request.path not in self.lasting:
            del self.objects[request.path]
        return Response(200, {"kind": "Status", "details": {"uid": "u"}})
