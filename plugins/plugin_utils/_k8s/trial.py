# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that steps would make, found by dry runs on the API server (KEP-576), which change nothing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Sequence

from ...module_utils._k8s.transport import Request, Response
from .differences import shown, shown_pair
from .discovery import Kind
from .model import Apply, Object, Patch, Remove
from .ownership import entry_of, is_applied
from .server import Server, key_of, message_of

CRD = "CustomResourceDefinition"
_DRY = ("dryRun", "All")
_UNKNOWN_NAMESPACE = re.compile(r'namespaces "[^"]*" not found')
# The API server's message while a webhook's pod is not there yet, or its certificate is new.
_WEBHOOK = "failed calling webhook"
# At least this many objects of a kind and namespace are read as one list, except kinds with potentially large objects.
_LIST = 3
_LARGE = ("Secret", "ConfigMap", CRD)
# Bookkeeping fields, which change even if a patch changes nothing else.
_NOTED = ("managedFields", "resourceVersion", "generation")


@dataclass
class Trial:
    """The action on one object.

    verb -- create, update, delete or keep
    fault -- the reason why the action is impossible
    """

    definition: Object
    kind: Kind | None
    verb: str = "keep"
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""
    transient: bool = False  # whether the fault may disappear by itself
    policy: str = ""  # the propagation policy of a deletion
    homeless: bool = False  # whether its namespace does not exist yet

    @property
    def request(self) -> Request:
        """The request for the action, without the parameters of its manager."""
        if self.kind is None:
            raise ValueError("%s is of an unknown kind" % self.definition["kind"])
        metadata = self.definition["metadata"]
        path = self.kind.path(metadata.get("namespace") or "", metadata["name"])
        if self.policy:
            return Request("DELETE", path, [("propagationPolicy", self.policy)])
        return Request("PATCH", path, body=self.definition, content_type="application/apply-patch+yaml")


class Trials:
    """Tries steps by dry runs.

    manager -- the field manager
    brought -- the namespaces and kinds that the plan itself creates
    check_mode -- missing objects are no fault, because in check mode an earlier task has not created them
    """

    def __init__(self, server: Server, manager: str, check_mode: bool, planned: Iterable[Any]) -> None:
        self._server = server
        self._manager = manager
        self._check_mode = check_mode
        self._namespaces: set[str] = set()
        self._kinds: dict[tuple[str, str], Kind] = {}
        for step in planned:
            for one in step.objects if isinstance(step, Apply) else ():
                self._bring(one)

    def _bring(self, one: Object) -> None:
        if one["kind"] == "Namespace":
            self._namespaces.add(str(one["metadata"]["name"]))
        if one["kind"] == CRD:
            spec = one["spec"]
            for version in spec.get("versions") or []:
                api_version = "%s/%s" % (spec["group"], version["name"])
                names = spec["names"]
                namespaced = spec.get("scope") == "Namespaced"
                self._kinds[api_version, names["kind"]] = Kind(api_version, names["kind"], names["plural"], namespaced)

    def apply(self, step: Apply, blind: bool = False) -> list[Trial]:
        """The changes that an apply would make. With `blind` they come from the live objects, without a dry run."""
        objects = [plain(one) for one in step.objects]
        trials = [Trial(one, self._server.discovery.find(one["apiVersion"], one["kind"])) for one in objects]
        for trial in trials:
            self._refuse_misplaced(trial)
        self._read([trial for trial in trials if trial.kind and not trial.fault])
        left = []
        for trial in trials:
            if trial.fault or not trial.kind:
                self._without_kind(trial)
            elif not is_applied(self.live(trial.definition) or {"apiVersion": ""}, trial.definition, self._manager):
                left.append(trial)
        if blind:
            for trial in left:
                trial.verb = "update" if self.live(trial.definition) else "create"
                trial.after = shown(trial.definition)
            return trials
        requests = [applying(trial, self._manager, step.force, dry=True) for trial in left]
        for trial, response in zip(left, self._server.exchange(requests)):
            self._judge(trial, response)
        self._try_elsewhere([trial for trial in left if trial.homeless and not trial.fault])
        return trials

    def _try_elsewhere(self, trials: Sequence[Trial]) -> None:
        """Try objects for a namespace that does not exist yet as new objects in the namespace `default`.

        Only errors in the object itself count, not missing permissions or names that are in use there.
        """
        requests = [_elsewhere(trial.definition, trial.kind) for trial in trials if trial.kind]
        for trial, response in zip(trials, self._server.exchange(requests)):
            said = message_of(response) if response.status in (400, 422) else ""
            if said and "denied" not in said:
                trial.fault = said

    def remove(self, step: Remove) -> list[Trial]:
        """The changes that a removal would make, in the order of removal."""
        trials = []
        for one in reversed(step.objects):
            kind = self._server.discovery.find(one["apiVersion"], one["kind"])
            # Foreground deletion of a workload waits for its pods. For objects without pods it would only take longer.
            foreground = one["apiVersion"].startswith(("apps/", "batch/"))
            trials.append(Trial(one, kind, policy="Foreground" if foreground else "Background"))
        known = [trial for trial in trials if trial.kind]
        requests = [trial.request._replace(query=[*trial.request.query, _DRY]) for trial in known]
        for trial, response in zip(known, self._server.exchange(requests)):
            if 200 <= response.status < 300:
                trial.verb, trial.before = "delete", shown(trial.definition)
            elif response.status != 404:
                trial.fault = message_of(response)
        return trials

    def probe(self, one: Object) -> str:
        """The reason why the API server would not accept an object now; empty if it would."""
        trial = Trial(plain(one), self._server.discovery.find(one["apiVersion"], one["kind"]))
        if not trial.kind:
            return "the cluster does not know %s of %s" % (one["kind"], one["apiVersion"])
        response = self._server.exchange([applying(trial, self._manager, False, dry=True)])[0]
        return "" if 200 <= response.status < 300 else message_of(response)

    def patch(self, step: Patch) -> Trial:
        """The change that a patch would make."""
        target = step.target
        trial = Trial(target, self._server.discovery.find(target["apiVersion"], target["kind"]))
        if not trial.kind:
            self._without_kind(trial)
            return trial
        self._read([trial])
        live = self.live(target)
        response = self._server.exchange([patching(step, trial.kind, dry=True)])[0]
        if response.status == 404 and self._check_mode:
            trial.verb, trial.after = "update", dict(step.patch)
        elif not 200 <= response.status < 300:
            trial.fault = message_of(response)
        elif _noted(live or {}) != _noted(response.body):
            trial.verb = "update"
            trial.before, trial.after = shown_pair(live or {}, response.body)
        return trial

    def live(self, one: Object) -> dict[str, Any] | None:
        """The last read version of an object."""
        return self._server.live.get(key_of(one))

    def _read(self, trials: Sequence[Trial]) -> None:
        """Read objects that have not been read yet; many of a kind as one list."""
        groups: dict[tuple[str, str, str], list[Object]] = {}
        for trial in trials:
            version, kind, namespace, dummy = key = key_of(trial.definition)
            listed = {(version, kind, namespace), (version, kind, "")} & self._server.listed
            if not listed and key not in self._server.live:
                groups.setdefault((version, kind, namespace), []).append(trial.definition)
        queries = []
        for (version, kind, namespace), objects in groups.items():
            query = {"api_version": version, "kind": kind, "namespace": namespace, "optional": True}
            if len(objects) >= _LIST and kind not in _LARGE:
                queries.append(query)
            else:
                queries += [{**query, "name": one["metadata"]["name"]} for one in objects]
        self._server.read(queries)

    def _refuse_misplaced(self, trial: Trial) -> None:
        namespace = trial.definition["metadata"].get("namespace")
        if trial.kind and trial.kind.namespaced and not namespace:
            trial.fault = "metadata.namespace is missing: %s is a kind of namespaces" % trial.kind.kind

    def _without_kind(self, trial: Trial) -> None:
        """An object cannot be tried while its kind does not exist."""
        if trial.fault:
            return
        one = trial.definition
        trial.kind = self._kinds.get((one["apiVersion"], one["kind"]))
        if trial.kind or self._check_mode:
            trial.verb, trial.after = "create", shown(one)
        else:
            trial.fault = "the cluster does not know %s of %s: install its CustomResourceDefinition first" % (
                one["kind"],
                one["apiVersion"],
            )

    def _judge(self, trial: Trial, response: Response) -> None:
        """Interpret the answer to a dry run."""
        if is_unknown(response):
            # A kind that an earlier task found may have been removed since.
            self._server.discovery.renewed()
            trial.kind = self._server.discovery.find(trial.definition["apiVersion"], trial.definition["kind"])
            if trial.kind is None:
                self._without_kind(trial)
                return
        one, live = trial.definition, self.live(trial.definition)
        if 200 <= response.status < 300:
            if live is None:
                # The object exists but could not be read.
                trial.verb, trial.after = "create" if response.status == 201 else "update", shown(one)
            elif _differs(live, response.body, self._manager):
                trial.verb = "update"
                trial.before, trial.after = shown_pair(live, response.body)
                if not trial.before and not trial.after:
                    trial.after = shown(one)  # only the owners of fields change, no values
            return
        said = message_of(response)
        namespace = str(one["metadata"].get("namespace"))
        if response.status == 404 and _UNKNOWN_NAMESPACE.search(said):
            if self._check_mode or namespace in self._namespaces:
                trial.verb, trial.after, trial.homeless = "create", shown(one), True
            else:
                trial.fault = "the namespace %s does not exist: create it, or declare it as well" % namespace
            return
        trial.fault, trial.transient = said, response.status == 500 and _WEBHOOK in said


def is_unknown(response: Response) -> bool:
    """Whether the API server does not know the path at all, rather than the object."""
    if response.status != 404:
        return False
    details = response.body.get("details") if isinstance(response.body, Mapping) else None
    return not (details or {}).get("name")


def applying(trial: Trial, manager: str, force: bool, dry: bool = False) -> Request:
    """The request of a server-side apply."""
    query = [("fieldManager", manager), ("force", "true" if force else "false"), *([_DRY] if dry else [])]
    return trial.request._replace(query=query)


def _elsewhere(one: Object, kind: Kind) -> Request:
    """The request that tries to create an object in the namespace `default`."""
    moved = {**one, "metadata": {**one["metadata"], "namespace": "default"}}
    return Request("POST", kind.path("default"), [("fieldValidation", "Strict"), _DRY], body=moved)


def patching(step: Patch, kind: Kind, dry: bool = False) -> Request:
    """The request of a patch."""
    metadata = step.target["metadata"]
    path = kind.path(metadata.get("namespace") or "", metadata["name"])
    query = [_DRY] if dry else []
    return Request("PATCH", path, query, body=plain(step.patch), content_type="application/merge-patch+json")


def plain(thing: Mapping[str, Any]) -> dict[str, Any]:
    """Convert to plain JSON types: Vault-encrypted texts and dates that YAML has parsed become text."""
    copy: dict[str, Any] = json.loads(json.dumps(thing, default=str))
    return copy


def _differs(live: Mapping[str, Any], tried: Mapping[str, Any], manager: str) -> bool:
    """Whether an apply changes an object, according to the answer to a dry run.

    The manager's entry has a time in whole seconds, so two applies within one second look the same. If nothing else has
    changed the object since it was read, every difference comes from the apply.
    """
    if entry_of(live, manager) != entry_of(tried, manager):
        return True
    versions = [thing["metadata"].get("resourceVersion") for thing in (live, tried)]
    return versions[0] == versions[1] and _noted(live) != _noted(tried)


def _noted(thing: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in (thing.get("metadata") or {}).items() if key not in _NOTED}
    return {**thing, "metadata": metadata}
