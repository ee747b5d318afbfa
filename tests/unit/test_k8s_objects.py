# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as users give them, and failures of modules that ask the API server."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_objects as objects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError


def thing(kind: str = "ConfigMap", namespace: str = "default", **content: Any) -> dict[str, Any]:
    metadata = {"name": "x", **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}


def test_lists_of_objects_are_taken_apart() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [thing(), thing("Service")]}
    assert objects.parse_definitions([listed, NAMESPACE], "d") == [thing(), thing("Service"), NAMESPACE]


@pytest.mark.parametrize(
    ("definitions", "message"),
    [
        ("x", "d must be a list, not str"),
        (["x"], "d[0] must be a mapping, not str"),
        ([{"kind": "ConfigMap"}], "d[0].apiVersion is missing"),
        ([{"apiVersion": "v1"}], "d[0].kind is missing"),
        ([thing(), {"apiVersion": "v1", "kind": "Pod"}], "d[1].metadata.name is missing"),
        ([{"kind": "List", "items": [{}]}], "d[0].items[0].apiVersion is missing"),
    ],
)
def test_what_is_no_object_is_named(definitions: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        objects.parse_definitions(definitions, "d")
    assert str(caught.value) == message


REFUSED = (
    "HTTPSConnectionPool(host='10.0.0.1', port=6443): Max retries exceeded with url: /version (Caused by "
    "NewConnectionError(\"HTTPSConnection(host='10.0.0.1', port=6443): Failed to establish a new connection: "
    '[Errno 111] Connection refused"))'
)
UNTRUSTED = (
    "HTTPSConnectionPool(host='10.0.0.1', port=6443): Max retries exceeded with url: /version (Caused by "
    "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get "
    "local issuer certificate (_ssl.c:1006)')))"
)


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        (
            "401\nReason: Unauthorized\nHTTP response headers: ...",
            "the API server https://10.0.0.1:6443 refuses the credentials of /k (401 Unauthorized): ",
        ),
        (REFUSED, "the API server https://10.0.0.1:6443 does not answer (Connection refused): start it, or "),
        (UNTRUSTED, "the API server https://10.0.0.1:6443 does not answer (certificate verify failed: unable to get "),
        ("Max retries exceeded", "the API server https://10.0.0.1:6443 does not answer (no connection): "),
        (
            "Could not create API client: Invalid kube-config file. No configuration found.",
            "/k is no kubeconfig that can be used (Invalid kube-config file. No configuration found.): name one ",
        ),
        (
            'Failed to delete object: b\'{"message": "pods \\\\"x\\\\" is forbidden"}\'',
            'pods "x" is forbidden',
        ),
    ],
)
def test_a_server_that_cannot_be_used_is_named(text: str, begin: str) -> None:
    said = objects.failure(text, "https://10.0.0.1:6443", "/k")
    assert said.startswith(begin)


def test_without_its_address_the_kubeconfig_names_the_server() -> None:
    assert objects.failure(REFUSED, "", "/k").startswith("the API server of /k does not answer")


KUBECONFIG = {
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "one"}}, {"name": "b", "context": {"cluster": "two"}}],
    "clusters": [
        {"name": "one", "cluster": {"server": "https://one:6443"}},
        {"name": "two", "cluster": {"server": "https://two:6443"}},
    ],
}


@pytest.mark.parametrize(
    ("kubeconfig", "context", "server"),
    [
        (KUBECONFIG, "", "https://one:6443"),
        (KUBECONFIG, "b", "https://two:6443"),
        (KUBECONFIG, "c", ""),
        (None, "", ""),
        ({"current-context": "a"}, "", ""),
    ],
)
def test_the_servers_address(kubeconfig: Any, context: str, server: str) -> None:
    assert objects.server_of(kubeconfig, context) == server
