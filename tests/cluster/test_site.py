# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`playbooks/site.yml`, from nothing to a page by its name on a client outside the cluster, and back to nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    NODES,
    PATIENCE,
    Cluster,
    Visitor,
    changed,
    everything,
    flat,
    recap,
    wait_for,
)

HOSTS = {"control1", "worker1", "worker2", "operator", "client"}
STAGING, PROD = "url-shortener.staging.k8s.local", "url-shortener.prod.k8s.local"
KINDS = "gateways.gateway.networking.k8s.io"
# The client's usual DNS server: it gives every name the same address, and prints the names that it is asked for.
SERVER = r"""
import socket
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.bind(("172.16.0.254", 53))
while True:
    said, client = link.recvfrom(4096)
    end = said.index(b"\0", 12) + 5
    print("".join("." if byte < 32 else chr(byte) for byte in said[13:end - 5]), flush=True)
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\1\2\3\4" if said[end - 3] == 1 else b""
    link.sendto(said[:2] + b"\x81\x80\0\1\0" + bytes([bool(answer)]) + b"\0\0\0\0" + said[12:end] + answer, client)
"""


@pytest.fixture(scope="module")
def usual(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The client's usual DNS server, and the file in which it notes the names."""
    path = tmp_path_factory.mktemp("dns") / "asked"
    with path.open("w") as asked:
        argv = [*cluster.network("router"), sys.executable, "-c", SERVER]
        server = subprocess.Popen(argv, stdout=asked)
    try:
        wait_for(lambda: found(cluster, "example.org") == ["1.2.3.4"], "the client's usual server")
        yield path
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def site(cluster: Cluster, usual: Path) -> Iterator[Cluster]:
    """The lab after one run of the playbook; in the end nothing is left of it."""
    kinds = cluster.kubectl("get", "crd", KINDS, "--ignore-not-found")
    before = state(cluster)
    cluster.playbook("site", "--check", "--diff")
    assert state(cluster) == before
    try:
        said = flat(cluster.playbook("site", external_access_wait=60))
        for name in (STAGING, PROD):
            assert re.search(r"client │ http://%s/ │ proved │ 172\.16\.0\.1\d\d: HTTP 200" % re.escape(name), said)
        yield cluster
        cluster.playbook("site_down", "--check")
        cluster.kubectl("create", "secret", "generic", "precious", "-n", "staging", "--from-literal=of=others")
        others_need_metallb(cluster)
    finally:
        cluster.playbook("site_down", gateway_remove_crds=not kinds)
    assert cluster.kubectl("get", "secret,service", "-n", "staging", "-o", "name") == "secret/precious\n"
    cluster.kubectl("delete", "namespace", "staging")
    assert state(cluster) == before
    assert not changed(cluster.playbook("site_down"))


def state(cluster: Cluster) -> tuple[set[str], list[str], str]:
    """All objects, the ports that the nodes' firewalls open, and how the client resolves names."""
    ports = [cluster.node(node, "firewall-cmd", "--list-all-zones") for node in NODES]
    resolver = cluster.node("client", "sh", "-c", "resolvectl dns; resolvectl domain; ls /etc/systemd/resolved.conf.d")
    return everything(cluster), ports, resolver


def others_need_metallb(cluster: Cluster) -> None:
    """The site stays while a Service of somebody else has an address of MetalLB."""
    cluster.kubectl("create", "namespace", "others")
    try:
        cluster.kubectl("create", "service", "loadbalancer", "theirs", "-n", "others", "--tcp=80")
        wait_for(lambda: cluster.address("others", "theirs"), "an address")
        output = cluster.playbook("site_down", rc=2)
        said = "Service others/theirs (%s) would lose their addresses" % cluster.address("others", "theirs")
        assert said in flat(output)
        assert not changed(output)
    finally:
        cluster.kubectl("delete", "namespace", "others")


def found(cluster: Cluster, name: str) -> list[str]:
    """The addresses that programs on the client find for a name."""
    said = cluster.node("client", "getent", "ahostsv4", name, check=False)
    return sorted({line.split()[0] for line in said.splitlines()})


def fetch(cluster: Cluster, name: str = STAGING) -> str:
    """The pod that answers the client, or an empty string."""
    url = "http://%s/hostname" % name
    return cluster.node("client", "curl", "-sSf", "--connect-timeout", "1", "--max-time", "2", url, check=False)


def visitor(cluster: Cluster) -> Visitor:
    return Visitor(cluster.argv("client"), "http://%s/hostname" % STAGING)


def test_curl_by_name(site: Cluster) -> None:
    for name, namespace in ((STAGING, "staging"), (PROD, "prod")):
        pods = site.kubectl("get", "pods", "-n", namespace, "-o", "name").split()
        assert "pod/" + fetch(site, name) in pods


def test_only_names_of_the_zone_go_to_the_cluster(site: Cluster, usual: Path) -> None:
    # Before the playbook ran, the usual server was asked for all names.
    before = len(usual.read_text())
    path = "jsonpath={.items[0].status.addresses[0].value}"
    assert found(site, STAGING) == [site.kubectl("get", "gateway", "-A", "-o", path)]
    assert found(site, "missing.k8s.local") == []
    assert found(site, "elsewhere.example.org") == ["1.2.3.4"]
    asked = usual.read_text()[before:]
    assert "elsewhere.example.org" in asked
    assert "k8s.local" not in asked


def test_second_run_changes_nothing(site: Cluster) -> None:
    for options in ((), ("--check", "--diff")):
        output = site.playbook("site", *options)
        counts = recap(output)
        assert set(counts) >= HOSTS
        assert not any(counts.values()), output


def test_invalid_application_refused_before_any_change(site: Cluster) -> None:
    """All other refusals are in tests/unit/site."""
    output = site.playbook("site", rc=2, site_apps=[{"name": "web", "image": "example.org/web:1", "replica": 2}])
    assert "site_apps[0].replica is not a known key" in flat(output)
    assert not changed(output)


def test_renamed_and_undeclared_applications(site: Cluster, root: Path) -> None:
    apps = yaml.safe_load((root / "inventories/homelab/group_vars/all/site.yml").read_text())["site_apps"]
    renamed = {**apps[0], "name": "shortener"}
    # Its image would run as root.
    broken = {**renamed, "name": "broken", "hostnames": ["broken.k8s.local"], "security_context": {}}
    try:
        with visitor(site) as visits:
            # An application that does not work leaves the others served, and undeclared ones stay.
            output = site.playbook("site", rc=2, site_apps=[renamed, broken])
            assert "Deployment staging/broken does not work" in flat(output)
            assert fetch(site, PROD)
            site.playbook("site", site_apps=[renamed])
            assert fetch(site).startswith("shortener-")
            assert site.kubectl("get", "deployment,service", "-n", "staging", "-o", "name") == (
                "deployment.apps/shortener\nservice/shortener\n"
            )
            assert site.kubectl("get", "deployment,service,httproute", "-n", "prod", "-o", "name") == ""
        assert set(visits.codes) - {"000"} == {"200"}
        wait_for(lambda: found(site, PROD) == [], "the name is gone, from the client's cache as well")
    finally:
        # The client remembers that the name is gone, longer than a run takes.
        site.node("client", "resolvectl", "flush-caches")
        site.playbook("site", external_access_wait=60)
    assert fetch(site, PROD)


def wait_for_answers(site: Cluster) -> None:
    """Wait until the client gets ten answers in a row."""
    wait_for(lambda: all(fetch(site) for dummy in range(10)), "ten answers in a row")


def test_a_worker_is_killed(site: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """The longest time without an answer is printed: another node takes the address, and dead pods are left out."""
    macs = {site.node(name, "cat", "/sys/class/net/eth0/address").strip(): name for name in NODES}
    address = found(site, STAGING)[0]
    fetch(site)
    shown = site.client("ip", "neigh", "show", address)
    victim = macs[re.findall(r"lladdr (\S+)", shown)[0]]
    try:
        with visitor(site) as visits:
            run(["podman", "kill", "cluster-" + victim])
            # The dead node's pods are left out when its lease has run out.
            site.kubectl("wait", "--for=condition=Ready=Unknown", "node/" + victim, PATIENCE)
            wait_for_answers(site)
        with capsys.disabled():
            print("%s was killed: the longest time without an answer was %.1f s" % (victim, visits.gap))
    finally:
        site.playbook("cluster_lab", "--tags", "start")
    site.kubectl("wait", "--for=condition=Ready", "node/" + victim, PATIENCE)
    wait_for_answers(site)
    # A node that starts has no rules of its former life: the next run opens the speakers' port again. They find each
    # other only then, and the address may move during the run.
    assert site.speakers_let_in(victim) == 0
    assert changed(site.playbook("site", external_access_wait=60))
    assert site.speakers_let_in(victim) == 1
