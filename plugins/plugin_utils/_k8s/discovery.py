# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds that an API server serves.

They are read once per run of Ansible and kept in a file in the run's folder, because each task has its own process. A
kind that is missing in it is looked up once more: a recent installation may have added it.

Aggregated discovery takes two requests (KEP-3352, Kubernetes 1.27); older API servers are asked group by group.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

from ...module_utils._k8s.transport import Request, Response

_AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)

Exchange = Callable[[Sequence[Request]], Sequence[Response]]


class Kind(NamedTuple):
    """A kind of objects in one version of its group."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...] = ()
    singular: str = ""
    short_names: tuple[str, ...] = ()
    preferred: bool = True  # whether that version is the group's preferred one

    @property
    def group(self) -> str:
        """Empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of an object, or of all objects of a namespace or of the cluster."""
        return path_of(self.api_version, self.plural, namespace if self.namespaced else "", name)


def path_of(api_version: str, plural: str, namespace: str = "", name: str = "") -> str:
    """The path of a resource (Kubernetes API concepts, "Resource URIs")."""
    parts = ["/apis" if "/" in api_version else "/api", api_version]
    parts += ["namespaces", namespace] if namespace else []
    parts += [plural] + ([name] if name else [])
    return "/".join(parts)


class Discovery:
    """An API server's kinds.

    exchange -- sends requests
    check -- raises an exception for a failed response
    folder -- this run's private folder; if empty, nothing is stored
    key -- identifies the API server and the credentials
    """

    def __init__(self, exchange: Exchange, check: Callable[[Response], Any], folder: str, key: str) -> None:
        self._exchange = exchange
        self._check = check
        digest = hashlib.sha256(key.encode()).hexdigest()
        self._file = os.path.join(folder, "k8s-kinds-%s" % digest) if folder else ""
        self._fresh = False  # whether this task has asked the API server
        self._kinds: list[Kind] = []

    def all(self) -> list[Kind]:
        """All kinds at the time of the last discovery."""
        if not self._kinds:
            self._kinds = self._kept() or self._asked()
        return self._kinds

    def renewed(self) -> list[Kind]:
        """All kinds, read again unless this task has just done so."""
        if not self._fresh:
            self._kinds = self._asked()
        return self._kinds

    def forget(self) -> None:
        """Drop the known kinds after kinds have been added or removed."""
        self._kinds, self._fresh = [], False
        if self._file:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._file)

    def find(self, api_version: str, kind: str) -> Kind | None:
        """The kind, or None if it does not exist."""
        return _named(self.all(), api_version, kind) or _named(self.renewed(), api_version, kind)

    def _kept(self) -> list[Kind]:
        if not self._file:
            return []
        try:
            with open(self._file, encoding="utf-8") as file:
                return [_kind(entry) for entry in json.load(file)]
        except (OSError, ValueError, TypeError):
            return []

    def _asked(self) -> list[Kind]:
        requests = [Request("GET", path, accept=_AGGREGATED) for path in ("/api", "/apis")]
        core, groups = [self._check(response) for response in self._exchange(requests)]
        if groups.get("kind") == "APIGroupDiscoveryList" and core.get("kind") == "APIGroupDiscoveryList":
            found = [kind for answer in (core, groups) for kind in _aggregated(answer)]
        else:
            found = self._group_by_group(core, groups)
        self._fresh = True
        self._keep(found)
        return found

    def _group_by_group(self, core: Any, groups: Any) -> list[Kind]:
        versions = dict.fromkeys(core.get("versions") or [], True)
        for group in groups.get("groups") or []:
            preferred = (group.get("preferredVersion") or {}).get("groupVersion")
            versions.update({one["groupVersion"]: one["groupVersion"] == preferred for one in group["versions"]})
        requests = [Request("GET", ("/apis/" if "/" in version else "/api/") + version) for version in versions]
        found = []
        for (version, preferred), response in zip(versions.items(), self._exchange(requests)):
            # A group whose own API server is down hides only its own kinds.
            if response.status == 200:
                found += [
                    _plain(version, preferred, one)
                    for one in response.body.get("resources") or []
                    if "/" not in one["name"]
                ]
        return found

    def _keep(self, kinds: Iterable[Kind]) -> None:
        if not self._file:
            return
        # Several hosts may write at the same time: each writes its own file, then renames it.
        temporary = "%s.%d" % (self._file, os.getpid())
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump([list(kind) for kind in kinds], file)
        os.replace(temporary, self._file)


def _named(kinds: Iterable[Kind], api_version: str, kind: str) -> Kind | None:
    return next((one for one in kinds if (one.api_version, one.kind) == (api_version, kind)), None)


def _kind(entry: Sequence[Any]) -> Kind:
    version, kind, plural, namespaced, verbs, singular, short, preferred = entry
    return Kind(version, kind, plural, namespaced, tuple(verbs), singular, tuple(short), preferred)


def _aggregated(answer: Any) -> Iterator[Kind]:
    for group in answer.get("items") or []:
        name = (group.get("metadata") or {}).get("name", "")
        # The first version is the preferred one.
        for index, version in enumerate(group.get("versions") or []):
            api_version = "%s/%s" % (name, version["version"]) if name else version["version"]
            for one in version.get("resources") or []:
                yield Kind(
                    api_version,
                    (one.get("responseKind") or {}).get("kind", ""),
                    one["resource"],
                    one.get("scope") == "Namespaced",
                    tuple(one.get("verbs") or ()),
                    one.get("singularResource", ""),
                    tuple(one.get("shortNames") or ()),
                    index == 0,
                )


def _plain(version: str, preferred: bool, one: Any) -> Kind:
    return Kind(
        version,
        one["kind"],
        one["name"],
        bool(one.get("namespaced")),
        tuple(one.get("verbs") or ()),
        one.get("singularName", ""),
        tuple(one.get("shortNames") or ()),
        preferred,
    )
