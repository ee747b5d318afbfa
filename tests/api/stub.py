# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers with faults that a real API server does not have on demand.

`Api` knows just enough of Kubernetes, in memory, and only the older discovery, group by group. `Proxy` stands before a
real one. Both keep what was asked of them, and have faults:

    proxy.faults.append(Fault("PATCH /", HANG, skip=2))  # the third PATCH that is not a dry run, and all later ones
    proxy.faults.append(Fault("GET /apis", (401, "Unauthorized")))  # an answer
    proxy.faults.append(Fault("", process.kill, times=1))  # a call; the request is answered afterwards
"""

from __future__ import annotations

import http.client
import http.server
import json
import re
import socket
import ssl
import threading
import urllib.parse
from dataclasses import dataclass
from typing import Any, Callable, Union

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer

# Faults: no answer until the server ends; the connection ends before the request is carried out, or afterwards.
HANG, DROP, LOSE = "hang", "drop", "lose"
# Headers of one connection, which a proxy does not pass on.
_HOP = ("connection", "host", "keep-alive", "transfer-encoding")
HOSTILE = "\x1b]0;owned\x07\x9b2J"
KINDS = {
    "v1": {"namespaces": "Namespace", "pods": "Pod", "secrets": "Secret", "configmaps": "ConfigMap", "events": "Event"},
    "apps/v1": {"deployments": "Deployment"},
}


def resource(name: str, kind: str) -> dict[str, Any]:
    """A kind as the API server describes it."""
    verbs = ["create", "delete", "get", "list", "patch", "update"]
    entry: dict[str, Any] = {"name": name, "singularName": kind.lower(), "kind": kind, "verbs": verbs}
    return {**entry, "namespaced": kind != "Namespace", "shortNames": {"deployments": ["deploy"]}.get(name, [])}


def described(path: str) -> dict[str, Any] | None:
    """The API server's version and discovery."""
    entry = {"groupVersion": "apps/v1", "version": "v1"}
    group = {"name": "apps", "versions": [entry], "preferredVersion": entry}
    said: dict[str, dict[str, Any]] = {
        "/version": {"kind": "Info", "gitVersion": "v1.33.0", "major": "1", "minor": "33"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "groups": [group]},
    }
    for version, kinds in KINDS.items():
        resources = [resource(*item) for item in kinds.items()]
        place = ("/apis/" if "/" in version else "/api/") + version
        said[place] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
    return said.get(path)


def merge(old: Any, new: Any) -> Any:
    """A merge patch (RFC 7386). These tests need no more of the other patches."""
    if not isinstance(new, dict) or not isinstance(old, dict):
        return new
    return {**old, **{key: merge(old.get(key), value) for key, value in new.items()}}


def refusal(status: int, message: str) -> tuple[dict[str, Any], int]:
    """The API server's refusal of a request."""
    return {"kind": "Status", "status": "Failure", "code": status, "message": message}, status


Act = Union[str, "tuple[int, str]", Callable[[], Any]]


@dataclass
class Fault:
    """A fault of some requests.

    pattern -- a regular expression for the beginning of a line such as `PATCH (dry) /api/v1/namespaces`
    act -- HANG, DROP, LOSE, an answer's status and message, or a call before the answer, which may return one of these
    times -- how many requests; -1: all
    skip -- how many that fit are answered before
    """

    pattern: str
    act: Act
    times: int = -1
    skip: int = 0

    def takes(self, line: str) -> bool:
        """Whether this request is one of them."""
        if self.times == 0 or not re.match(self.pattern, line):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class FaultyServer(http.server.ThreadingHTTPServer):
    """A server with faults. It keeps a list of its requests, and ends its threads."""

    def __init__(
        self, handler: type[http.server.BaseHTTPRequestHandler], listening: socket.socket | None = None
    ) -> None:
        if listening is None:
            super().__init__(("127.0.0.1", 0), handler)
        else:
            super().__init__(listening.getsockname(), handler, bind_and_activate=False)
            self.socket.close()
            self.socket = listening
            self.server_name, self.server_port = listening.getsockname()
        self.asked: list[str] = []
        self.faults: list[Fault] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def fault_of(self, line: str) -> Act | None:
        """Keep a request, and return its fault."""
        with self._lock:
            self.asked.append(line)
            return next((fault.act for fault in self.faults if fault.takes(line)), None)

    def writes(self) -> list[str]:
        """The writes, without dry runs."""
        return [line for line in self.asked if not line.startswith("GET") and "(dry)" not in line]


class FaultyHandler(http.server.BaseHTTPRequestHandler):
    """Answers requests without a fault."""

    server: Any
    lost = False  # whether the answer gets lost

    def log_message(self, *ignored: Any) -> None:
        """No log, because the server keeps its requests."""

    def line(self) -> str:
        """The request without its query."""
        path, dummy, query = self.path.partition("?")
        return "%s %s%s" % (self.command, "(dry) " if "dryRun=All" in query else "", path.rstrip("/"))

    def is_answered(self) -> bool:
        """Whether a fault has taken this request. The caller must have read its body."""
        act = self.server.fault_of(self.line())
        if callable(act):
            act = act()
        self.lost = act == LOSE
        if act == HANG:
            self.server.ended.wait()
        if act in (HANG, DROP):
            self.drop()
            return True
        if isinstance(act, tuple):
            self.send(json.dumps(refusal(*act)[0]).encode(), act[0])
            return True
        return False

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def send(self, data: bytes, status: int, kind: str = "application/json") -> None:
        if self.lost:
            return self.drop()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(data)
        return None

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))


class Api(FaultyServer):
    """Objects by path, logs by pod and container, and a list of requests."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.objects: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, bytes] = {}
        self.version = 0
        self.writing = threading.Lock()
        self.manifest = b""

    def put(self, path: str, thing: dict[str, Any], manager: str = "") -> dict[str, Any]:
        """Keep an object. A changed object gets a new version."""
        old = self.objects.get(path)
        self.version += 1
        kept = {"uid": path, "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": str(self.version)}
        entry = {"manager": manager, "operation": "Apply", "time": str(self.version), "fieldsV1": {}}
        metadata = {**kept, **thing["metadata"], "managedFields": [entry] if manager else []}
        same = old and {**old, "metadata": None} == {**thing, "metadata": None}
        self.objects[path] = old if old and same else {**thing, "metadata": metadata}
        return self.objects[path]


class Handler(FaultyHandler):
    """Answers as Kubernetes does."""

    server: Api

    def answer(self, value: Any, status: int = 200) -> None:
        self.send(value if isinstance(value, bytes) else json.dumps(value).encode(), status)

    def refuse(self, status: int, message: str) -> None:
        self.answer(*refusal(status, message))

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        path, query = url.path.rstrip("/"), dict(urllib.parse.parse_qsl(url.query))
        if self.is_answered():
            return
        discovered = described(path)
        if discovered:
            self.answer(discovered)
        elif path.endswith("/log"):
            log = self.server.logs.get("%s %s" % (path[:-4].split("/")[-1], query["container"]))
            self.refuse(400, "container is waiting to start: " + HOSTILE) if log is None else self.answer(log)
        elif path == "/manifest.yml":
            self.answer(self.server.manifest)
        elif path in self.server.objects:
            self.answer(self.server.objects[path])
        elif path.rpartition("/")[2] in {name for kinds in KINDS.values() for name in kinds}:
            self.answer_list(path, query)
        else:
            self.refuse(404, '%s "%s" not found' % tuple(path.split("/")[-2:]))

    def answer_list(self, path: str, query: dict[str, str]) -> None:
        if "!!" in query.get("labelSelector", ""):
            return self.refuse(400, "unable to parse requirement: !!")
        folder, dummy, plural = path.rpartition("/")
        pattern = re.compile(re.escape(folder) + "(/namespaces/[^/]+)?/" + plural + "/[^/]+")
        found = [thing for place, thing in self.server.objects.items() if pattern.fullmatch(place)]
        if "as=Table" not in self.headers["Accept"]:
            kind = {**KINDS["v1"], **KINDS["apps/v1"]}[plural]
            return self.answer({"kind": kind + "List", "apiVersion": "v1", "metadata": {}, "items": found})
        columns = [{"name": "Name"}, {"name": "Data"}, {"name": "Node", "priority": 1}]
        rows = [{"cells": [thing["metadata"]["name"], 1, "n"], "object": thing} for thing in found]
        return self.answer({"kind": "Table", "columnDefinitions": columns, "rows": rows})

    def change(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        dry = query.get("dryRun") == "All"
        body = json.loads(self.body() or "{}")
        if self.is_answered():
            return
        with self.server.writing:
            before, version = dict(self.server.objects), self.server.version
            answer = self.carry_out(url.path, body, query.get("fieldManager", ""))
            if dry:
                self.server.objects, self.server.version = before, version
        self.answer(*answer)  # at the end, because another thread gets the next request at once

    do_POST = do_PUT = do_PATCH = do_DELETE = change

    def carry_out(self, path: str, body: Any, manager: str) -> tuple[dict[str, Any], int]:
        objects = self.server.objects
        if self.command == "POST":
            path = "%s/%s" % (path, body["metadata"]["name"])
            if path in objects:
                return refusal(409, "it already exists")
        elif path not in objects and "apply" not in self.headers["Content-Type"]:
            return refusal(404, "not found")
        if self.command == "DELETE":
            return objects.pop(path), 200
        if any(not isinstance(value, str) for value in (body.get("data") or {}).values()):
            # A real API server quotes the whole value, too.
            return refusal(400, ".data: expected string, got &value.valueUnstructured{Value:%r}" % body["data"])
        status = 200 if path in objects else 201
        if self.command == "PATCH":
            body = merge(objects.get(path) or {}, body)
        return self.server.put(path, body, manager), status


def named(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """An object."""
    version = "apps/v1" if kind == "Deployment" else "v1"
    metadata = {"name": name} if kind == "Namespace" else {"name": name, "namespace": "default"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


class Proxy(FaultyServer):
    """A proxy before a real API server, in its network and with its certificate."""

    def __init__(self, api: ApiServer) -> None:
        super().__init__(Forwarder, api.listen())
        self.api = api
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(api.certificate, api.key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.kubeconfig = api.folder / ("proxy-%d.conf" % self.server_port)
        self.kubeconfig.write_text(json.dumps(api.kubeconfig_of("https://127.0.0.1:%d" % self.server_port)))


class Forwarder(FaultyHandler):
    """Forwards requests. Each client connection has a connection of its own to the API server."""

    protocol_version = "HTTP/1.1"
    upstream: http.client.HTTPConnection | None = None

    def forward(self) -> None:
        body = self.body()
        if self.is_answered():
            return
        self.upstream = self.upstream or self.server.api.connect()
        header = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
        self.upstream.request(self.command, self.path, body or None, header)
        answer = self.upstream.getresponse()
        self.send(answer.read(), answer.status, answer.headers.get("Content-Type", "application/json"))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def finish(self) -> None:
        super().finish()
        if self.upstream:
            self.upstream.close()
