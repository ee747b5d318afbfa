# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operation on one object of a cluster, and the change that it makes."""

from __future__ import annotations

import time
from typing import Any, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._k8s.transport import Request
from .._common.objects import BOOKKEEPING, name_of, parse_definitions
from .._common.redact import redact, redacted_pair, without_managed_fields
from .._k8s.server import RefusalError, Server
from .kinds import find_kind

OPERATIONS = ("create", "replace", "patch", "delete", "read")
PATCH_TYPES = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}
VERBS = {"create": "create", "replace": "update", "patch": "patch", "delete": "delete", "read": "get"}
INTERVAL = 0.5  # seconds between polls
# `definition` and `patch` are checked here, so that Ansible does not repeat a Secret in a message.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "operation": {"type": "str", "choices": list(OPERATIONS), "required": True},
    "definition": {"type": "raw"},
    "patch": {"type": "raw"},
    "patch_type": {"type": "str", "choices": list(PATCH_TYPES), "default": "strategic"},
    "kind": {"type": "str", "default": ""},
    "api_version": {"type": "str", "default": ""},
    "name": {"type": "str", "default": ""},
    "namespace": {"type": "str", "default": ""},
    "propagation": {"type": "str", "choices": ["Foreground", "Background", "Orphan"], "default": "Background"},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 120},
    "allow_write": {"type": "bool", "default": False},
    "show_secrets": {"type": "bool", "default": False},
}


class Target(NamedTuple):
    """The object of the operation."""

    kind: str
    api_version: str
    namespace: str
    name: str


def parse_definition(raw: Any, where: str) -> dict[str, Any]:
    """Check that the value is one object."""
    entries = raw if isinstance(raw, list) else [raw]
    objects = parse_definitions(entries, where)
    if len(objects) != 1:
        raise InputError("%s must be one object, and it is %d" % (where, len(objects)))
    return objects[0]


def parse_patch(raw: Any, patch_type: str, where: str) -> Any:
    """Check that the value is a valid patch of this type."""
    if patch_type != "json":
        if not isinstance(raw, Mapping) or not raw:
            raise InputError("%s must be a mapping for a patch of type %s" % (where, patch_type))
        return raw
    if not isinstance(raw, (list, tuple)) or not raw:
        raise InputError("%s must be a list of operations for a patch of type json" % where)
    for index, entry in enumerate(raw):
        if not isinstance(entry, Mapping) or not {"op", "path"} <= set(entry):
            raise InputError("%s[%d] must be a mapping with op and path" % (where, index))
    return list(raw)


def parse_target(options: Mapping[str, Any], definition: Mapping[str, Any]) -> Target:
    """The object named by the options or by its definition; the two must agree."""
    metadata = definition.get("metadata") or {}
    said = {
        "kind": definition.get("kind"),
        "api_version": definition.get("apiVersion"),
        "namespace": metadata.get("namespace"),
        "name": metadata.get("name"),
    }
    for key, value in said.items():
        if value and options[key] and value != options[key]:
            raise InputError("%s is %s, and the definition says %s" % (key, options[key], value))
    values = {key: str(options[key] or value or "") for key, value in said.items()}
    for key in ("kind", "name"):
        if not values[key]:
            raise InputError("%s is missing: name the object" % key)
    for key in ("name", "namespace"):
        # They become part of a path. The API server checks the rest.
        if values[key] in (".", "..") or set(values[key]) & set("/%?#"):
            raise InputError("%s %s is not the name of an object" % (key, values[key]))
    return Target(**values)


def significant(thing: Mapping[str, Any] | None, with_status: bool = False) -> dict[str, Any]:
    """An object without the fields that the API server and its controllers write."""
    if not thing:
        return {}
    result = {key: value for key, value in thing.items() if key != "metadata" and (with_status or key != "status")}
    metadata = thing.get("metadata") or {}
    return {**result, "metadata": {key: value for key, value in metadata.items() if key not in BOOKKEEPING}}


def names_status(definition: Mapping[str, Any], patch: Any) -> bool:
    """Whether the status is included, which controllers change on their own."""
    if isinstance(patch, Sequence) and not isinstance(patch, str):
        return any(str(entry.get("path")).startswith("/status") for entry in patch)
    return "status" in definition or (isinstance(patch, Mapping) and "status" in patch)


def spoken(target: Target) -> str:
    """The object's name in messages."""
    return name_of({"kind": target.kind, "metadata": {"namespace": target.namespace, "name": target.name}})


class Manager:
    """One object and the operations on it."""

    def __init__(self, server: Server, options: Mapping[str, Any], check_mode: bool) -> None:
        self.server, self.options = server, options
        self.definition = options["definition"] or {}
        target = parse_target(options, self.definition)
        kind = find_kind(server, target.kind, target.api_version, VERBS[options["operation"]])
        namespace = (target.namespace or "default") if kind.namespaced else ""
        self.target = target._replace(kind=kind.kind, namespace=namespace)
        self.api_version = kind.api_version
        self.folder = kind.path(namespace)
        self.path = "%s/%s" % (self.folder, target.name)
        self.check_mode = check_mode
        self.query = [("dryRun", "All")] if check_mode else []

    def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The object before and after."""
        operation = self.options["operation"]
        if operation == "create":
            return {}, self.create()
        before = self.look()
        if operation == "delete":
            return (before, self.delete(before)) if before else ({}, {})
        if not before:
            raise InputError("there is no %s" % spoken(self.target))
        if operation == "read":
            return before, before
        return before, self.replace(before) if operation == "replace" else self.patch()

    def look(self) -> dict[str, Any]:
        """The current object; empty if it does not exist."""
        try:
            thing: dict[str, Any] = self.server.ask(Request("GET", self.path))
            return thing
        except RefusalError as error:
            if error.status != 404:
                raise
            return {}

    def create(self) -> dict[str, Any]:
        try:
            return self.send("POST", self.folder, self.body())
        except RefusalError as error:
            if error.status != 409:
                raise
            name = spoken(self.target)
            raise InputError("%s exists already: replace or patch it, or apply its definition" % name) from error

    def replace(self, before: dict[str, Any]) -> dict[str, Any]:
        body = self.body()
        # This prevents overwriting a concurrent change, and custom resources cannot be replaced without it.
        body["metadata"].setdefault("resourceVersion", before["metadata"]["resourceVersion"])
        return self.send("PUT", self.path, body)

    def patch(self) -> dict[str, Any]:
        kind = self.options["patch_type"]
        try:
            return self.send("PATCH", self.path, self.options["patch"], PATCH_TYPES[kind])
        except RefusalError as error:
            if error.status != 415:
                raise
            text = "%s takes no patch of the type %s, as no custom resource does: use merge or json"
            raise InputError(text % (self.target.kind, kind)) from error

    def delete(self, before: dict[str, Any]) -> dict[str, Any]:
        # Only this object, not a new one of the same name.
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": self.options["propagation"],
            "preconditions": {"uid": before["metadata"]["uid"]},
        }
        self.send("DELETE", self.path, body)
        end = time.monotonic() + self.options["timeout"]
        while self.options["wait"] and not self.check_mode:
            now = self.look().get("metadata") or {}
            if now.get("uid") != before["metadata"]["uid"]:
                break
            if time.monotonic() > end:
                text = "%s is still there after %d s. What must be done before it goes: %s"
                finalizers = ", ".join(now.get("finalizers") or []) or "nothing that is known"
                raise InputError(text % (spoken(self.target), self.options["timeout"], finalizers))
            time.sleep(INTERVAL)
        return {}

    def body(self) -> dict[str, Any]:
        metadata = {**self.definition["metadata"], "name": self.target.name}
        if self.target.namespace:
            metadata["namespace"] = self.target.namespace
        kind = {"apiVersion": self.api_version, "kind": self.target.kind}
        return {**self.definition, **kind, "metadata": metadata}

    def send(self, method: str, path: str, body: Any, content_type: str = "application/json") -> dict[str, Any]:
        request = Request(method, path, self.query, body, content_type, repeatable=False)
        thing: dict[str, Any] = self.server.ask(request)
        return thing


def manage(server: Server, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the options say, and report the change."""
    manager = Manager(server, options, check_mode)
    before, after = manager.run()
    with_status = names_status(manager.definition, options["patch"])
    old, new = significant(before, with_status), significant(after, with_status)
    changed = old != new
    kind, name = manager.target.kind, spoken(manager.target)
    thing = without_managed_fields(after or before)
    if not options["show_secrets"]:
        old, new = redacted_pair(old, new, kind)
        thing = redact(thing, kind)
    return {
        "changed": changed,
        "object": thing,
        "change": "%s %s" % (options["operation"], name) if changed else "",
        "diff": {"before_header": name, "after_header": name, "before": old or "", "after": new or ""},
    }
