# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server of the tests itself: its kinds, its audit log, its network and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, remove_remains, writes
from ansible_collections.homelab.loadbalancer.tests.api.plays import play_of
from ansible_collections.homelab.loadbalancer.tests.api.stub import DROP, HANG, LOSE, Fault, Proxy
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import REPOSITORY, wait_for


def test_kinds_of_metallb_and_gateway_api_are_served(api: ApiServer) -> None:
    kinds = api.kubectl("api-resources", "-o", "name").out.split()
    assert {"ipaddresspools.metallb.io", "gateways.gateway.networking.k8s.io"} <= set(kinds)


def test_audit_log_tells_writes_from_dry_runs(api: ApiServer, namespace: str) -> None:
    path = "/api/v1/namespaces/%s/configmaps" % namespace
    with api.record() as asked:
        api.kubectl("-n", namespace, "create", "configmap", "one", "--dry-run=server")
        api.kubectl("-n", namespace, "create", "configmap", "one")
        api.kubectl("-n", namespace, "delete", "configmap", "one")
        api.get(path)  # the test's own
    changing = [(one.verb, one.path, one.dry, one.status) for one in asked if one.verb not in ("get", "list", "watch")]
    assert changing == [
        ("create", path, True, 201),
        ("create", path, False, 201),
        ("delete", path + "/one", False, 200),
    ]
    assert [one.verb for one in writes(asked)] == ["create", "delete"]


def test_play_runs_in_the_network_of_the_api_server(api: ApiServer) -> None:
    task = {"ansible.builtin.uri": {"url": "https://127.0.0.1:6443/version", "ca_path": str(api.certificate)}}
    assert api.run_playbook([play_of(host, [task]) for host in ("operator", "node")]).out.count("ok=1 ") == 2


def test_proxy_passes_on_and_has_faults(api: ApiServer, namespace: str) -> None:
    with Proxy(api) as proxy:
        kubectl = ("--kubeconfig=%s" % proxy.kubeconfig, "-n", namespace)
        api.kubectl(*kubectl, "create", "configmap", "one")
        place = "/api/v1/namespaces/%s/configmaps" % namespace
        assert proxy.writes() == ["POST " + place]
        for act, said in ((DROP, "EOF"), (LOSE, "EOF"), ((401, "Unauthorized"), "Unauthorized")):
            proxy.faults[:] = [Fault("POST", act)]
            done = api.kubectl(*kubectl, "create", "configmap", "two", "--validate=false", check=False)
            assert done.rc != 0 and said in done.err
            assert (api.get(place + "/two") is None) == (act == DROP)
        proxy.faults[:] = [Fault("POST", HANG)]
        done = api.kubectl(*kubectl, "create", "configmap", "three", "--request-timeout=1", check=False)
        assert done.rc != 0 and api.get(place + "/three") is None


def test_controllers_end_namespaces(api: ApiServer, controllers: None) -> None:
    path = "/api/v1/namespaces/" + api.new_namespace()
    api.ask("DELETE", path)
    wait_for(lambda: api.get(path) is None, "the end of a namespace", 60)


def test_remains_of_a_killed_run_are_removed() -> None:
    program = (
        "from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer\n"
        "server = ApiServer(); server.prepare(); print(server.name, flush=True); input()"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        try:
            pids = run(["ip", "netns", "pids", name]).out.split()
            assert len(pids) == 1
        finally:
            process.kill()
    wait_for(lambda: run(["ip", "netns", "pids", name]).out == "", "the end of its programs", 30)
    remove_remains()
    assert name not in run(["ip", "netns", "list"]).out.split()
    assert list(Path(tempfile.gettempdir()).glob(name + "-*")) == []
