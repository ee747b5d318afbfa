# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server for the engine and the tools: objects by kind, and error messages for refusals."""

from __future__ import annotations

import json
import re
from typing import Any, Mapping, Sequence

from ...module_utils._k8s.transport import BROKEN, SILENT, SKIPPED, Request, Response
from .discovery import Discovery, Exchange, Kind
from .model import Answer, Query

# Media types for partial objects, which an aggregated API server may not support.
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
# Groups with objects that are views of other objects.
_OF_OTHERS = ("metrics.k8s.io",)
# The number of objects per answer, as in Kubernetes' own clients.
_PAGE = 500
_HIDDEN = ("metadata.managedFields",)
_FIELD = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


class RefusalError(Exception):
    """A refusal by the API server."""

    def __init__(self, status: int, message: str, body: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class UnansweredError(Exception):
    """No answer: the API server is unreachable or silent, or refuses the credentials.

    status -- 401, or 0
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class UnusableError(UnansweredError):
    """There is no usable kubeconfig. The message has the remedy."""


class Server:
    """Reads objects, and sends requests.

    exchange -- sends requests
    folder -- this run's private folder, which stores the known kinds; if empty, nothing is stored
    key -- identifies the API server and the credentials
    """

    def __init__(self, exchange: Exchange, folder: str = "", key: str = "") -> None:
        self._exchange = exchange
        self.discovery = Discovery(exchange, check, folder, key)
        # Whole objects that have been read, by version, kind, namespace and name.
        self.live: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        # Lists that have been read completely, by version, kind and namespace.
        self.listed: set[tuple[str, str, str]] = set()
        # The last answer to each query.
        self._answers: dict[str, Answer] = {}

    def exchange(self, requests: Sequence[Request]) -> list[Response]:
        """Answers and refusals. Raises UnansweredError if any request gets no answer."""
        if not requests:
            return []
        responses = list(self._exchange(requests))
        for response in responses:
            if response.failure not in ("", SKIPPED) or response.status == 401:
                check(response)
        return responses

    def ask(self, request: Request) -> Any:
        """The answer to one request. Raises RefusalError and UnansweredError."""
        return check(self.exchange([request])[0])

    def read(self, queries: Sequence[Query]) -> list[Answer]:
        """An answer to each query; all are sent in parallel.

        Raises RefusalError, except for a query with `optional`: its answer is empty and has `forbidden`.
        """
        kinds = [self._kind_of(query) for query in queries]
        plain = [(query, kind) for query, kind in zip(queries, kinds) if kind is not None]
        responses = iter(self.exchange([_request(query, kind) for query, kind in plain]))
        answers: list[Answer] = []
        for query, kind in zip(queries, kinds):
            if query["kind"] == "*":
                answers.append({"kind": "*", "api_found": True, "resources": self.everything(query["namespace"])})
            elif kind is None:
                answers.append({"kind": query["kind"], "api_found": False, "resources": []})
            else:
                answers.append(self._answer(query, kind, next(responses)))
                self._answers[_text(query)] = answers[-1]
        return answers

    def known(self, queries: Sequence[Query]) -> list[Answer] | None:
        """The answers to queries that have been read before; None unless all have been."""
        found = [self._answers.get(_text(query)) for query in queries]
        return [answer for answer in found if answer is not None] if None not in found else None

    def everything(self, namespace: str) -> list[dict[str, Any]]:
        """All objects of a namespace except events, of all kinds, each only with its metadata.

        Raises RefusalError if objects of a kind cannot be listed, because there may be some.
        """
        kinds: dict[tuple[str, str], Kind] = {}
        for one in self.discovery.renewed():
            if one.namespaced and "list" in one.verbs and one.group not in _OF_OTHERS and one.plural != "events":
                kinds.setdefault((one.group, one.plural), one)
        requests = [Request("GET", one.path(namespace), accept=_METADATA) for one in kinds.values()]
        found = []
        for one, response in zip(kinds.values(), self.exchange(requests)):
            for item in check(response).get("items") or []:
                metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
                found.append({"apiVersion": one.api_version, "kind": one.kind, "metadata": metadata})
        return found

    def _kind_of(self, query: Query) -> Kind | None:
        if query["kind"] == "*":
            return None
        return self.discovery.find(query.get("api_version") or "v1", query["kind"])

    def _answer(self, query: Query, kind: Kind, response: Response) -> Answer:
        found: dict[str, Any] = {"kind": kind.kind, "api_found": True, "resources": []}
        if response.status == 403 and query.get("optional"):
            return {**found, "forbidden": True}
        namespace = str(query.get("namespace") or "")
        if query.get("name"):
            if response.status == 404:
                return found
            objects = [check(response)]
        else:
            # A kind that was removed since discovery has no objects.
            if response.status == 404:
                self.discovery.forget()
                return {**found, "api_found": False}
            objects = self._all_pages(query, kind, check(response))
            if not (query.get("label_selectors") or query.get("field_selectors")):
                self.listed.add((kind.api_version, kind.kind, namespace))
        hidden = query.get("hidden_fields", _HIDDEN)
        for one in objects:
            # The objects of a list lack their apiVersion and kind.
            one.update(apiVersion=kind.api_version, kind=kind.kind)
            self.live[key_of(one)] = one
            found["resources"].append(without(one, hidden))
        return found

    def _all_pages(self, query: Query, kind: Kind, answer: Any) -> list[dict[str, Any]]:
        objects = list(answer.get("items") or [])
        while (answer.get("metadata") or {}).get("continue"):
            request = _request(query, kind)
            more = [*request.query, ("continue", answer["metadata"]["continue"])]
            answer = self.ask(request._replace(query=more))
            objects += answer.get("items") or []
        return objects


def _text(query: Query) -> str:
    return json.dumps(query, sort_keys=True, default=str)


def check(response: Response) -> Any:
    """The body of an answer. Raises RefusalError and UnansweredError."""
    if response.failure == SILENT:
        raise UnansweredError("it accepted a request and sent no answer in time")
    if response.failure == BROKEN:
        raise UnansweredError("it ended the connection without an answer")
    if response.failure:
        raise UnansweredError(response.cause or "no connection")
    if response.status == 401:
        raise UnansweredError("Unauthorized", 401)
    if not 200 <= response.status < 300:
        raise RefusalError(response.status, message_of(response), response.body)
    return response.body


def message_of(response: Response) -> str:
    """The API server's message for a refusal."""
    body = response.body
    said = body.get("message") if isinstance(body, Mapping) else body
    return str(said or "HTTP status %d" % response.status).strip()


def key_of(thing: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """The identity of an object."""
    metadata = thing["metadata"]
    return thing["apiVersion"], thing["kind"], metadata.get("namespace") or "", metadata["name"]


def without(thing: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """A copy of an object without the fields at these dotted paths; names that contain dots are in brackets."""
    for path in paths:
        thing = _cut(thing, [field.strip("[]") for field in _FIELD.findall(path)])
    return thing


def _cut(part: Any, path: list[str]) -> Any:
    if isinstance(part, list):
        return [_cut(entry, path) for entry in part]
    if not isinstance(part, dict) or path[0] not in part:
        return part
    if len(path) == 1:
        return {key: value for key, value in part.items() if key != path[0]}
    return {**part, path[0]: _cut(part[path[0]], path[1:])}


def _request(query: Query, kind: Kind) -> Request:
    path = kind.path(query.get("namespace") or "", query.get("name") or "")
    more = []
    if not query.get("name"):
        more.append(("limit", str(_PAGE)))
        for key, parameter in (("label_selectors", "labelSelector"), ("field_selectors", "fieldSelector")):
            if query.get(key):
                more.append((parameter, ",".join(query[key])))
    return Request("GET", path, more)
