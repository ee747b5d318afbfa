# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules share that ask the API server themselves: they run on a host, with the client of kubernetes.core.

They ask by paths, and not by the functions of kubernetes.core, where these take an answer for nothing (a selector that
the API server refuses), or change an object that was to be created.
"""

from __future__ import annotations

import difflib
import json
import traceback
from typing import Any, Callable, Mapping, Sequence

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.homelab.loadbalancer.plugins.module_utils._app_values import parse_label
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_access import ACCESS, discreet_module
from ansible_collections.homelab.loadbalancer.plugins.module_utils._module import Module

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
    from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError
except ImportError:
    MISSING = traceback.format_exc()
else:
    MISSING = ""

# What an API server may answer in place of whole objects, and a server of an aggregated API does not know.
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
# Groups whose objects are views of others.
_OF_OTHERS = ("metrics.k8s.io",)
TEXTS: dict[str, Any] = {"type": "list", "elements": "str", "default": []}


class RefusalError(Exception):
    """What the API server says in place of an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """The API server of a kubeconfig, which is a path or the content of one."""

    def __init__(self, access: Mapping[str, Any]) -> None:
        self._client = get_api_client(**{key: value or None for key, value in access.items()})

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Sequence[tuple[str, Any]] = (),
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> bytes:
        """The body of an answer. Raises RefusalError."""
        try:
            answer = self._client.client.request(
                method,
                path,
                body=body,
                query_params=list(query),
                header_params={"Accept": accept},
                content_type=content_type,
                serialize=False,
            )
        except ApiException as error:
            raise RefusalError(int(error.status or 0), _said(error)) from error
        data: bytes = answer.data
        return data

    def get(self, path: str, query: Sequence[tuple[str, Any]] = (), accept: str = "application/json") -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask("GET", path, query=query, accept=accept))
        return answer

    def refuse_missing_namespace(self, namespace: str, where: str) -> None:
        """InputError where there is no such namespace, in which the API server finds nothing without a word."""
        try:
            self.get("/api/v1/namespaces/" + parse_label(namespace, where))
        except RefusalError as error:
            if error.status != 404:
                return  # it may not be asked for, for instance
            raise InputError(
                "%s: there is no namespace %s: see its spelling, or list the cluster's by the kind namespaces"
                % (where, namespace)
            ) from error

    def find(self, kind: str, api_version: str, verb: str) -> Any:
        """The resource of a kind, named as for kubectl: Deployment, deployments, deploy or deployments.apps.

        Raises InputError with what the cluster has instead.
        """
        known = self._known()
        fitting = choose(known, kind, api_version, verb)
        if fitting is None:
            # What was installed a moment ago is not in the client's cache.
            self._client.resources.invalidate_cache()
            known = self._known()
            fitting = choose(known, kind, api_version, verb)
        if fitting is None:
            raise InputError(unknown_kind(known, kind, api_version, verb))
        return fitting

    def everything(self, namespace: str) -> list[dict[str, Any]]:
        """All objects of a namespace but events, of all kinds, each with its metadata alone.

        Raises RefusalError where objects of a kind cannot be listed: there may be some.
        """
        # A kind may have come a moment ago.
        self._client.resources.invalidate_cache()
        kinds: dict[tuple[str, str], Any] = {}
        for one in self._known():
            if one.namespaced and "list" in (one.verbs or []) and one.group not in _OF_OTHERS and one.name != "events":
                kinds.setdefault((one.group or "", one.name), one)
        found = []
        for one in kinds.values():
            for item in self.get(one.path(namespace=namespace), accept=_METADATA).get("items") or []:
                metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
                found.append({"apiVersion": one.group_version, "kind": one.kind, "metadata": metadata})
        return found

    def _known(self) -> list[Any]:
        """All resources. The lists of objects, which are kinds of their own there, are left out."""
        try:
            groups = list(self._client.resources)
        except ApiException as error:
            if error.status != 404:
                raise
            # A group of the client's cache is there no more.
            self._client.resources.invalidate_cache()
            groups = list(self._client.resources)
        return [one for resources in groups for one in resources if type(one).__name__ != "ResourceList"]


def run_module(arguments: Mapping[str, Any], work: Callable[[Server, Module], dict[str, Any]]) -> None:
    """The main() of a module that asks the API server."""
    module = discreet_module(argument_spec={**arguments, **ACCESS}, supports_check_mode=True)
    if MISSING:
        missing = "the collection kubernetes.core and the Python package kubernetes"
        module.fail_json(msg=missing_required_lib(missing), exception=MISSING)
    try:
        returned = work(Server({key: module.params[key] for key in ("kubeconfig", "context")}), module)
    except (InputError, RefusalError, CoreException, ApiException, HTTPError) as error:
        module.fail_json(msg=_said(error) if isinstance(error, ApiException) else str(error))
    module.exit_json(**returned)


def choose(known: Sequence[Any], kind: str, api_version: str, verb: str) -> Any:
    """The resource of this name; where several groups have one, the core's first, and then Kubernetes' own."""
    fitting = [
        one
        for one in known
        if kind.lower() in _names(one) and api_version in ("", one.group_version) and verb in (one.verbs or [])
    ]
    return min(fitting, key=_order, default=None)


def unknown_kind(known: Sequence[Any], kind: str, api_version: str, verb: str) -> str:
    """What to tell who names a kind that is not there."""
    named = [one for one in known if kind.lower() in _names(one)]
    versions = sorted({one.group_version for one in named})
    wanted = "%s of %s" % (kind, api_version) if api_version else kind
    if api_version and versions and api_version not in versions:
        return "the cluster does not know %s: its api_version is %s" % (wanted, " or ".join(versions))
    if named:
        return "%s cannot be asked for in this way: it does not know %s" % (wanted, verb)
    spelt = {name: one.kind for one in known for name in (one.kind.lower(), one.name)}
    close = difflib.get_close_matches(kind.lower(), spelt, n=3)
    near = " or ".join(dict.fromkeys(spelt[name] for name in close))
    hint = "did you mean %s?" % near if near else "see its spelling, or install what brings it first"
    return "the cluster does not know %s: %s" % (wanted, hint)


def _names(resource: Any) -> set[str]:
    short = [resource.kind.lower(), resource.name, resource.singular_name or "", *(resource.short_names or [])]
    names = {name for name in short if name}
    return names | {"%s.%s" % (name, resource.group) for name in names if resource.group}


def _order(resource: Any) -> tuple[Any, ...]:
    group = resource.group or ""
    return bool(group), "." in group, not group.endswith(".k8s.io"), group, not resource.preferred


def _said(error: Any) -> str:
    """The API server's message. For credentials that it refuses there is a hint, which goes by the whole text."""
    if error.status == 401:
        return str(error)
    try:
        return str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        return str(error)
