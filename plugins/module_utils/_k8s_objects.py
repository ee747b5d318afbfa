# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What applying objects to a cluster would change, read from the answers of `kubernetes.core.k8s` in check mode.

Everything here is pure: the cluster is asked and changed by the action plugin `k8s_objects`.

Whether an object changes is not taken from that module. It compares the whole object with what it was a moment before,
so it takes a controller's work on the status for ours; and it compares lists by one key, so it misses a change of
53/tcp beside 53/udp. The API server knows: a server-side apply that changes something gives the entry of its manager in
`metadata.managedFields` a new time or other fields, one that changes nothing leaves that entry as it is.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_redact import redact
from ansible_collections.homelab.loadbalancer.plugins.module_utils._values import parse_list

# The label by which the roles know the objects that they made.
MANAGED_BY = "app.kubernetes.io/managed-by"
# The label by which one declaration is told from another in the same cluster.
PART_OF = "app.kubernetes.io/part-of"
MANAGER = "homelab.loadbalancer"
# The label by which an EndpointSlice names its Service.
SERVICE_NAME = "kubernetes.io/service-name"

# What the API server keeps for itself: no part of a declaration.
BOOKKEEPING = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
UNAUTHORIZED = "Unauthorized"  # all that the API server says to credentials that it does not know
_BODY = re.compile(r"""b(?P<quote>['"]).*(?P=quote)""", re.DOTALL)
_CAUSE = re.compile(r"""(?:\[Errno -?\d+\] |\[SSL: \w+\] )(?P<cause>[^"')(\\]*[^"')(\\ ])""")
_UNKNOWN_KIND = re.compile(r"Failed to find exact match|404 page not found|could not find the requested resource")
_UNKNOWN_NAMESPACE = re.compile(r'namespaces "[^"]*" not found')


class Step(NamedTuple):
    """What is to be done with one object."""

    definition: dict[str, Any]
    verb: str  # create | update | delete | keep
    before: dict[str, Any]  # what changes, as it is
    after: dict[str, Any]  # as it becomes
    fault: str = ""  # why it cannot be


def parse_definitions(raw: Any, where: str) -> list[dict[str, Any]]:
    """Check that it is a list of objects, and take lists of objects (`kind: List`) apart.

    Raises InputError, which names the entry: `where` is what the user calls the list.
    """
    objects = []
    for index, entry in enumerate(parse_list(raw, where)):
        place = "%s[%d]" % (where, index)
        if not isinstance(entry, dict):
            raise InputError("%s must be a mapping, not %s" % (place, type(entry).__name__))
        if str(entry.get("kind", "")).endswith("List") and "items" in entry:
            objects += parse_definitions(entry["items"], place + ".items")
            continue
        for key in ("apiVersion", "kind"):
            if not isinstance(entry.get(key), str) or not entry[key]:
                raise InputError("%s.%s is missing" % (place, key))
        metadata = entry.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            raise InputError("%s.metadata.name is missing" % place)
        objects.append(entry)
    return objects


def answers_of(returned: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One answer for each object: the module wraps them only when there are several."""
    results = (returned.get("result") or {}).get("results")
    return list(results) if results is not None else [dict(returned)]


def plan(
    definitions: Sequence[dict[str, Any]],
    answers: Sequence[Mapping[str, Any]],
    manager: str,
    check_mode: bool = False,
) -> list[Step]:
    """What applying the objects would do, by the answers of a dry run, in the same order.

    An object cannot be tried before its namespace or its kind is there. That is a fault, unless the objects themselves
    bring it, or in check mode, where the play may do so before: then it counts as one that would be created.
    """
    coming = _brought(definitions)
    return [_step(obj, answer, manager, check_mode, coming) for obj, answer in zip(definitions, answers)]


def _step(
    obj: dict[str, Any], answer: Mapping[str, Any], manager: str, check_mode: bool, coming: frozenset[tuple[str, ...]]
) -> Step:
    fault = _fault(answer)
    if fault:
        namespace = ("namespace", str(obj["metadata"].get("namespace")))
        kind = ("kind", obj["apiVersion"].split("/")[0], obj["kind"])
        unknown_kind, unknown_namespace = _UNKNOWN_KIND.search(fault), _UNKNOWN_NAMESPACE.search(fault)
        if (unknown_kind and (check_mode or kind in coming)) or (
            unknown_namespace and (check_mode or namespace in coming)
        ):
            return Step(obj, "create", {}, shown(obj))
        if unknown_kind:
            missing = "%s of %s" % (obj["kind"], obj["apiVersion"])
            fault = "the cluster does not know %s: install what brings it first" % missing
        elif unknown_namespace:
            fault = "there is no namespace %s: create it, or declare it as well" % namespace[1]
        return Step(obj, "keep", {}, {}, fault)
    diff = answer.get("diff") or {}
    before, after = _ordered(diff.get("before") or {}), _ordered(diff.get("after") or {})
    if "kind" in after:
        return Step(obj, "create", {}, shown(obj))
    if _entry(before, manager) == _entry(after, manager):
        return Step(obj, "keep", {}, {})
    before, after = shown(before, obj["kind"]), shown(after, obj["kind"])
    # That module may see no difference where there is one, see above: then the whole declaration is shown.
    return Step(obj, "update", before, after) if before != after else Step(obj, "update", {}, shown(obj))


def plan_removal(definitions: Sequence[dict[str, Any]], answers: Sequence[Mapping[str, Any]]) -> list[Step]:
    """What removing the objects would do. One whose kind or namespace is gone is gone, too."""
    steps = []
    for obj, answer in zip(definitions, answers):
        fault = _fault(answer)
        if _UNKNOWN_KIND.search(fault) or not (fault or answer.get("changed")):
            steps.append(Step(obj, "keep", {}, {}))
        else:
            steps.append(Step(obj, "keep" if fault else "delete", shown(obj), {}, fault))
    return steps


def name_of(obj: Mapping[str, Any]) -> str:
    """How messages call an object: `Deployment default/web`."""
    metadata = obj["metadata"]
    parts = [str(part) for part in (metadata.get("namespace"), metadata["name"]) if part]
    return "%s %s" % (obj["kind"], "/".join(parts))


def shown(part: Mapping[str, Any], kind: str = "") -> dict[str, Any]:
    """An object, or the part of it that differs, as a diff may show it: no bookkeeping, no status and no secrets."""
    result = {key: value for key, value in part.items() if key not in ("status", "metadata")}
    metadata = {key: value for key, value in (part.get("metadata") or {}).items() if key not in BOOKKEEPING}
    if metadata:
        result["metadata"] = metadata
    hidden: dict[str, Any] = redact(result, kind)
    return hidden


def by_kind(looked_up: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What homelab.loadbalancer.k8s_read found, several queries of one kind together."""
    cluster: dict[str, list[dict[str, Any]]] = {}
    for answer in looked_up:
        cluster.setdefault(answer["kind"], []).extend(answer["resources"])
    return cluster


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Whether a node or a pod says that it is."""
    conditions = (thing.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def has_labels(obj: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether an object has all of these labels, by which a role knows its own."""
    found = obj["metadata"].get("labels") or {}
    return all(found.get(key) == value for key, value in labels.items())


def reference(version: str, kind: str, obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object of a namespace, down to what it takes to remove it."""
    metadata = {key: obj["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def server_message(text: str) -> str:
    """What the API server said, out of the message in which `kubernetes.core` quotes its answer."""
    body = _BODY.search(text)
    if body:
        try:
            said = ast.literal_eval(body.group()).decode("utf-8", "replace")
            text = json.loads(said).get("message") or said
        except (AttributeError, SyntaxError, ValueError):
            text = body.group()[2:-1]
    return text.strip().replace("\\n", "")


def failure(text: str, server: str, kubeconfig: str) -> str:
    """What to tell the user when a module of `kubernetes.core` fails: for the usual reasons, what to do about it.

    server -- the API server's address, empty where it is not known
    kubeconfig -- the file that names it
    """
    server = "the API server %s" % (server or "of %s" % kubeconfig)
    if re.search(r"\(401\)|" + UNAUTHORIZED, text):
        return (
            "%s refuses the credentials of %s (401 Unauthorized): the token or certificate in it has expired, or is "
            "not of this cluster. Get a new one, and name it in k8s_kubeconfig" % (server, kubeconfig)
        )
    if "Max retries exceeded" in text:
        cause = _CAUSE.search(text)
        return "%s does not answer (%s): start it, or name the right cluster by k8s_kubeconfig and k8s_context" % (
            server,
            cause.group("cause") if cause else "no connection",
        )
    if "Could not create API client" in text:
        return (
            "%s is no kubeconfig that can be used (%s): name one on this host in k8s_kubeconfig, and one of its "
            "contexts in k8s_context" % (kubeconfig, text.split(": ", 1)[1])
        )
    return server_message(text)


def server_of(kubeconfig: Any, context: str) -> str:
    """The API server's address in a kubeconfig, empty when it does not say."""
    try:
        context = context or kubeconfig["current-context"]
        cluster = next(entry["context"]["cluster"] for entry in kubeconfig["contexts"] if entry["name"] == context)
        return str(next(entry["cluster"]["server"] for entry in kubeconfig["clusters"] if entry["name"] == cluster))
    except (KeyError, StopIteration, TypeError):
        return ""


def _brought(definitions: Sequence[dict[str, Any]]) -> frozenset[tuple[str, ...]]:
    """The namespaces and kinds that the objects themselves bring."""
    coming: set[tuple[str, ...]] = set()
    for obj in definitions:
        if obj["kind"] == "Namespace":
            coming.add(("namespace", str(obj["metadata"]["name"])))
        if obj["kind"] == "CustomResourceDefinition":
            coming.add(("kind", obj["spec"]["group"], obj["spec"]["names"]["kind"]))
    return frozenset(coming)


def _fault(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    return server_message(str(error.get("msg", error))) if error else ""


def _ordered(part: Any) -> Any:
    """The same, the entries of its lists in an order: that module names those that differ in one by chance."""
    if isinstance(part, dict):
        return {key: _ordered(value) for key, value in part.items()}
    if isinstance(part, list) and part and all(isinstance(entry, dict) for entry in part):
        return sorted(map(_ordered, part), key=lambda entry: json.dumps(entry, sort_keys=True, default=str))
    return part


def _entry(part: Mapping[str, Any], manager: str) -> Any:
    """The manager's entry in what differs. In both parts None when its entry does not differ."""
    for entry in (part.get("metadata") or {}).get("managedFields") or []:
        if (entry.get("manager"), entry.get("operation"), entry.get("subresource")) == (manager, "Apply", None):
            return entry
    return None
