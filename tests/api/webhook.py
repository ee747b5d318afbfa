# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Admission in one namespace: a validating webhook of a test's own, and a ValidatingAdmissionPolicy."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import ssl
import threading
from typing import Any, Callable, Iterator

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, Refused
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

GROUP = "/apis/admissionregistration.k8s.io/v1/"
CONFIGMAPS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
# Returns the reason of a refusal; empty to admit the object.
Judge = Callable[[Any], str]


class Webhook(http.server.ThreadingHTTPServer):
    """Admits objects. While it is not `up`, connections to it are refused."""

    def __init__(self, api: ApiServer, judge: Judge) -> None:
        listening = api.listen()
        super().__init__(listening.getsockname(), Reviewer, bind_and_activate=False)
        self.socket.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(api.certificate, api.key)
        self.socket = context.wrap_socket(listening, server_side=True, do_handshake_on_connect=False)
        self.url = "https://127.0.0.1:%d/" % self.server_address[1]
        self.judge = judge
        self.up = True


class Reviewer(http.server.BaseHTTPRequestHandler):
    """Answers reviews (admission.k8s.io/v1)."""

    server: Webhook

    def log_message(self, *ignored: Any) -> None:
        """No log."""

    def do_POST(self) -> None:
        if not self.server.up:
            self.send_response(503)
            self.end_headers()
            return
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        why = self.server.judge(request["object"])
        response = {"uid": request["uid"], "allowed": not why, "status": {"message": why}}
        data = json.dumps(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def webhook(api: ApiServer, namespace: str, judge: Judge) -> Iterator[Webhook]:
    """A webhook that reviews each ConfigMap of a namespace."""
    with Webhook(api, judge) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        certificate = base64.b64encode(api.certificate.read_bytes()).decode()
        hook = {
            "name": "judge.homelab.test",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "rules": [CONFIGMAPS],
            "clientConfig": {"url": server.url, "caBundle": certificate},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        }
        path = GROUP + "validatingwebhookconfigurations"
        api.ask("POST", path, {"metadata": {"name": "judge-" + namespace}, "webhooks": [hook]})
        try:
            with _refusing(server):
                wait_for(lambda: _is_refused(api, namespace), "the API server to ask the webhook", 30)
            yield server
        finally:
            api.ask("DELETE", "%s/judge-%s" % (path, namespace))
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def policy(api: ApiServer, namespace: str, expression: str, message: str, operation: str = "") -> Iterator[None]:
    """A ValidatingAdmissionPolicy: of each ConfigMap of a namespace the expression must hold, in one operation or when
    it is created and updated."""
    name = "judge-" + namespace
    # The API server enforces the policy as soon as it refuses a probe with this name.
    marked = "request.operation != 'CREATE' || object.metadata.name != 'is-policy-there'"
    rules = [
        {"expression": marked, "message": "it is there"},
        {"expression": expression if not operation else "request.operation != '%s' || %s" % (operation, expression)},
    ]
    rules[1]["message"] = message
    matched = {**CONFIGMAPS, "operations": ["CREATE", operation or "UPDATE"]}
    spec = {"matchConstraints": {"resourceRules": [matched]}, "validations": rules, "failurePolicy": "Fail"}
    api.ask("POST", GROUP + "validatingadmissionpolicies", {"metadata": {"name": name}, "spec": spec})
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
    api.ask("POST", GROUP + "validatingadmissionpolicybindings", {"metadata": {"name": name}, "spec": binding})
    try:
        wait_for(lambda: _is_refused(api, namespace), "the API server to ask the policy", 30)
        yield
    finally:
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            api.ask("DELETE", GROUP + "%s/%s" % (kind, name))


@contextlib.contextmanager
def _refusing(server: Webhook) -> Iterator[None]:
    judge, server.judge = server.judge, lambda dummy: "not yet"
    try:
        yield
    finally:
        server.judge = judge


def _is_refused(api: ApiServer, namespace: str) -> bool:
    path = "/api/v1/namespaces/%s/configmaps?dryRun=All" % namespace
    try:
        api.ask("POST", path, {"metadata": {"name": "is-policy-there"}})
    except Refused:
        return True
    return False
