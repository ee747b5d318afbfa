# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages for an unusable API server or kubeconfig."""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import urllib3

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s import transport
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s.transport import Request, Response
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.access import Access
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.server import (
    RefusalError,
    Server,
    UnansweredError,
)

VERSION = Request("GET", "/version")


def access(response: Response, in_pod: bool = False, unusable: str = "", kubeconfig: str = "/k") -> Access:
    """Access by a module on a managed host, which returns this answer."""
    returned: dict[str, Any] = {"responses": [list(response)], "server": "https://10.0.0.1:6443", "in_pod": in_pod}
    if unusable:
        returned = {"unusable": unusable}
    return Access(kubeconfig, "", None, "", run_module=lambda arguments: returned)


def failure(way: Access) -> str:
    with pytest.raises(UnansweredError) as caught:
        Server(way.exchange).ask(VERSION)
    return way.explained(caught.value)


UNKNOWN = Response(401, {"message": "Unauthorized"})


@pytest.mark.parametrize(
    ("response", "begin"),
    [
        (UNKNOWN, "the API server https://10.0.0.1:6443 refuses the credentials of /k (401 Unauthorized): the token"),
        (
            Response(0, None, transport.UNREACHABLE, "Connection refused"),
            "the API server https://10.0.0.1:6443 does not answer (Connection refused): start it, or choose",
        ),
        (
            Response(0, None, transport.UNREACHABLE),
            "the API server https://10.0.0.1:6443 does not answer (no connection): ",
        ),
        (
            Response(0, None, transport.SILENT),
            "the API server https://10.0.0.1:6443 does not answer (it accepted a request and sent no answer in time): ",
        ),
    ],
)
def test_unusable_api_server_is_named(response: Response, begin: str) -> None:
    assert failure(access(response)).startswith(begin)


def test_unusable_kubeconfig_is_named() -> None:
    said = failure(access(UNKNOWN, unusable="Invalid kube-config file. No configuration found."))
    assert said.startswith(
        "/k is not a usable kubeconfig (Invalid kube-config file. No configuration found.): set "
        "k8s_kubeconfig to one on this host, and k8s_context to one of its contexts"
    )


def test_in_a_pod_the_service_account_is_named() -> None:
    said = failure(access(UNKNOWN, in_pod=True, kubeconfig=""))
    assert said.startswith("the API server of this pod's cluster refuses the credentials of the pod's service account")


def test_refusal_quotes_the_api_server() -> None:
    with pytest.raises(RefusalError, match=r'^pods "x" is forbidden$'):
        Server(access(Response(403, {"message": 'pods "x" is forbidden'})).exchange).ask(VERSION)


def _new_connection() -> BaseException:
    error = urllib3.exceptions.NewConnectionError(None, "Failed to establish a new connection")
    error.__cause__ = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return error


def _untrusted() -> BaseException:
    reason = ssl.SSLCertVerificationError(1, "certificate verify failed")
    reason.verify_message = "unable to get local issuer certificate"
    return urllib3.exceptions.SSLError(reason)


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (_new_connection(), transport.UNREACHABLE, "Connection refused"),
        (_untrusted(), transport.UNREACHABLE, "unable to get local issuer certificate"),
        (
            urllib3.exceptions.ReadTimeoutError(None, "/", "Read timed out"),
            transport.SILENT,
            "timed out",
        ),
        (
            urllib3.exceptions.ProtocolError(
                "Connection aborted.", ConnectionResetError(104, "Connection reset by peer")
            ),
            transport.BROKEN,
            "Connection reset by peer",
        ),
    ],
)
def test_connection_errors_are_explained(error: BaseException, kind: str, cause: str) -> None:
    assert transport._failed(error) == Response(0, None, kind, cause)


def test_closed_port_is_explained(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = "http://127.0.0.1:%d" % unused.getsockname()[1]
        kubeconfig = {
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "t0ken"}}],
            "current-context": "c",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig))
        said = failure(Access(str(path), "", None, ""))
    assert said.startswith("the API server %s does not answer (Connection refused): start it" % server)
    assert "t0ken" not in said
