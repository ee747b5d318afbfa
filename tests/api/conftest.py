# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real API server without nodes and controllers, one for all tests of this folder, ready within seconds.

    def test_pool_is_created(api: ApiServer, namespace: str) -> None:  # a namespace of the test's own
        api.kubectl("-n", namespace, "create", "configmap", "one")  # .out; stdin=, check=False
        path = "/api/v1/namespaces/%s/configmaps/one" % namespace
        api.apply(path, {...}, manager="somebody")  # as another field manager
        with api.record() as asked:  # from the audit log: verb, path, dry, status
            api.play([{"homelab.loadbalancer.metallb_pool": {...}}], "--check", "--diff", rc=0).out
        assert writes(asked) == []  # api_server.writes leaves out dry runs
        assert api.get(path)["data"] == {...}  # None where it is not there; api.ask(METHOD, PATH, body)

`play` passes k8s_kubeconfig. It runs on host="operator" (the engine in the action's process) or on host="node" (as a
module on a managed host). `with api.entered():` is this thread in the API server's network, for what is called in
process; `api.kubeconfig` is the administrator's. `api.listen()` is a socket there, for a webhook (its certificate:
api.certificate and api.key). The fixture `controllers` starts those that end namespaces and collect garbage, for the
rest of the session.

Without ansible-playbook, in milliseconds: `cluster.apply(*objects)`, `cluster.run(plan)` and `cluster.module(PLANNER,
options)` are the engine in this process, on the API server. With the fixture `proxy` they go through a server that has
faults (stub.py). `webhook` and `policy` of webhook.py refuse objects.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.stub import Proxy
from ansible_collections.homelab.loadbalancer.tests.integration.lab import in_repository


@pytest.fixture(scope="session")
def api(root: Path) -> Iterator[ApiServer]:
    """The API server, with the kinds of MetalLB and of the Gateway API."""
    if os.geteuid() != 0:
        pytest.skip("not root: run `make api`, or pytest by sudo")
    server = ApiServer()
    try:
        with in_repository(root):
            server.start()
            yield server
    finally:
        server.stop()


@pytest.fixture
def namespace(api: ApiServer) -> Iterator[str]:
    """A namespace of a test's own.

    It stays, because without controllers it would never come to its end. Its Services go: roles look at all of them.
    """
    name = api.new_namespace()
    yield name
    api.ask("DELETE", "/api/v1/namespaces/%s/services" % name)


@pytest.fixture(scope="session")
def controllers(api: ApiServer) -> None:
    """From now on deleted namespaces are removed with their content, and dependents with their owners."""
    api.start_controllers()


@pytest.fixture
def proxy(api: ApiServer) -> Iterator[Proxy]:
    """A proxy before the API server, with the faults that a test gives it."""
    with Proxy(api) as made:
        yield made


@pytest.fixture
def cluster(request: pytest.FixtureRequest, api: ApiServer) -> Cluster:
    """The engine in this process. It uses the proxy if the test has one."""
    if "proxy" in request.fixturenames:
        return Cluster(api, request.getfixturevalue("proxy").kubeconfig)
    return Cluster(api)
