# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for EKS and STS on the loopback interface, for the tests of logins."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import ipaddress
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qsl, quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

RESOURCES = [
    {"name": "namespaces", "kind": "Namespace", "namespaced": False, "verbs": ["get", "list"]},
    {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["get", "list", "patch"]},
]


def url_of(token: str) -> str:
    """The URL in a token."""
    assert token.startswith("k8s-aws-v1.") and "=" not in token and len(token) <= 4096
    text = token[len("k8s-aws-v1.") :]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def signature(url: str, cluster: str, secret: str) -> str:
    """The signature that STS computes, by the AWS documentation of Signature Version 4."""
    parts = urlsplit(url)
    query = [entry for entry in parse_qsl(parts.query) if entry[0] != "X-Amz-Signature"]
    encoded = "&".join("%s=%s" % (quote(key, safe=""), quote(value, safe="")) for key, value in sorted(query))
    headers = "host:%s\nx-k8s-aws-id:%s\n" % (parts.netloc, cluster)
    empty = hashlib.sha256(b"").hexdigest()
    request = "\n".join(["GET", parts.path, encoded, headers, "host;x-k8s-aws-id", empty])
    scope = dict(query)["X-Amz-Credential"].split("/", 1)[1]
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", dict(query)["X-Amz-Date"], scope, digest])
    key = ("AWS4" + secret).encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, which is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "ca.crt", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return pem, private


class ApiServer:
    """Answers requests with a token that `accepts` takes, and notes the tokens."""

    def __init__(self, folder: Path, accepts: Callable[[str], bool]) -> None:
        self.authority, key = certificate(folder)
        self.accepts = accepts
        self.tokens: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            do_PATCH = do_GET

            def log_message(self, *dummy: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, key)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        self.url = "https://127.0.0.1:%d" % self.port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop answering."""
        self.http.shutdown()
        self.http.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        length = int(request.headers.get("Content-Length") or 0)
        sent = request.rfile.read(length)
        token = request.headers.get("Authorization", "").partition(" ")[2]
        self.tokens.append(token)
        status, body = 401, {"kind": "Status", "apiVersion": "v1", "message": "Unauthorized", "code": 401}
        if self.accepts(token):
            status, body = self.found(request.path.partition("?")[0], sent)
        content = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def found(self, path: str, sent: bytes) -> tuple[int, dict[str, Any]]:
        """The object at a path. As on EKS, kube-proxy's ConfigMap holds the server's own address."""
        namespace = {"metadata": {"name": "default"}}
        proxy: dict[str, Any] = {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "data": {"kubeconfig": "apiVersion: v1\nserver: " + self.url},
        }
        proxy["metadata"] = {"name": "kube-proxy", "namespace": "kube-system"}
        if sent:
            fields = {"manager": "homelab.loadbalancer", "operation": "Apply", "time": "2026-11-21T10:00:00Z"}
            proxy = {**proxy, **json.loads(sent)}
            proxy["metadata"] = {**proxy["metadata"], "managedFields": [fields]}
        known: dict[str, dict[str, Any]] = {
            "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": RESOURCES},
            "/api/v1/namespaces": {"kind": "NamespaceList", "apiVersion": "v1", "items": [namespace]},
            "/api/v1/namespaces/kube-system/configmaps/kube-proxy": proxy,
        }
        missing = {"kind": "Status", "apiVersion": "v1", "message": "%s not found" % path, "code": 404}
        return (200, known[path]) if path in known else (404, missing)
