# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next run completes the work of a killed run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from typing import Any, Callable

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.access import Access
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import Engine
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Patch, Plan, Remove
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.server import Server
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.objects import (
    config_map,
    deployment,
    kind,
    path,
    pool,
    service,
    thing,
)
from ansible_collections.homelab.loadbalancer.tests.api.stub import DROP, Fault, Proxy

# Not forks of this process: the proxy has threads, and a fork would inherit the locks that they hold.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
WRITES = "(POST|PATCH|DELETE) /"  # no dry runs


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server finds this module, and imports it once for all of its forks."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def carry_out(network: str, kubeconfig: str, plan: Plan) -> None:
    """The work of the process that is killed."""
    access = Access(kubeconfig, "", None, "", namespace=network)
    Engine(Server(access.exchange), False, print).run(plan)


def is_killed(api: ApiServer, proxy: Proxy, plan: Plan, skip: int) -> bool:
    """Carry out a plan in a process that is killed by a write after `skip` others. Tells whether it was killed.

    Where `skip` is even, the API server carries out the last write.
    """
    arguments = ("/run/netns/" + api.name, str(proxy.kubeconfig), plan)
    child = PROCESSES.Process(target=carry_out, args=arguments)

    def kill() -> str:
        os.kill(child.pid or 0, signal.SIGKILL)
        return DROP if skip % 2 else ""

    proxy.asked.clear()
    proxy.faults[:] = [Fault(WRITES, kill, times=1, skip=skip)]
    child.start()
    child.join()
    proxy.faults.clear()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def kill_and_complete(api: ApiServer, proxy: Proxy, prepared: Callable[[], Plan], check: Callable[[], None]) -> None:
    """Kill a run at each of its writes, and carry its plan out once more."""
    assert not is_killed(api, proxy, prepared(), 10000)
    total = len(proxy.writes())
    assert total
    for skip in range(total):
        plan = prepared()
        assert is_killed(api, proxy, plan, skip)
        Cluster(api).run(plan)
        check()
        assert Cluster(api).run(plan).changes == [], "after %d of %d writes" % (skip, total)


def steps(namespace: str, other: str) -> Plan:
    """All sorts of steps: a namespace with its content, updates, removals and a patch."""
    applied = [
        thing("v1", "Namespace", "", other),
        config_map(other, "first"),
        *[config_map(namespace, "c%d" % number, number=str(number)) for number in range(3)],
        service(namespace, "web", {"name": "http", "port": 80}, {"name": "https", "port": 443}),
        deployment(namespace, "web"),
        pool(other, "pool", "192.0.2.1-192.0.2.9"),
    ]
    removed = [config_map(namespace, "gone"), service(namespace, "gone")]
    patched = Patch(thing("v1", "Namespace", "", namespace), {"metadata": {"labels": {"colour": "blue"}}})
    return Plan(steps=[Apply(applied), Remove(removed), patched, Apply([config_map(namespace, "last")])])


def test_run_killed_at_any_write_is_completed_by_the_next(api: ApiServer, proxy: Proxy) -> None:
    used: list[str] = []

    def prepared() -> Plan:
        namespace = api.new_namespace("killed")
        used.append(namespace)
        Cluster(api).apply(
            config_map(namespace, "gone"),
            service(namespace, "gone"),
            service(namespace, "web"),
            config_map(namespace, "c1"),
        )
        return steps(namespace, namespace + "-other")

    def check() -> None:
        namespace = used[-1]
        found = api.ask("GET", "/api/v1/namespaces/%s/configmaps" % namespace)["items"]
        data = {one["metadata"]["name"]: one["data"] for one in found}
        assert data == {**{"c%d" % n: {"number": str(n)} for n in range(3)}, "last": {"text": "hello"}}
        ports = api.get(path(namespace, "web", "services"))["spec"]["ports"]
        assert [port["port"] for port in ports] == [80, 443]
        assert api.get(path(namespace, "gone", "services")) is None
        assert api.get("/api/v1/namespaces/" + namespace)["metadata"]["labels"]["colour"] == "blue"

    kill_and_complete(api, proxy, prepared, check)


def test_run_killed_while_it_creates_kinds_is_completed_by_the_next(api: ApiServer, proxy: Proxy) -> None:
    namespace = api.new_namespace("killed")
    made: list[Any] = []

    def prepared() -> Plan:
        made.append("kind%d.%s.test" % (len(made), namespace))
        small = thing(made[-1] + "/v1", "Gadget", namespace, "small", spec={"size": 1})
        return Plan(steps=[Apply([small, kind("gadgets", made[-1], "Gadget")])])

    def check() -> None:
        assert api.get("/apis/%s/v1/namespaces/%s/gadgets/small" % (made[-1], namespace))["spec"] == {"size": 1}

    kill_and_complete(api, proxy, prepared, check)
