# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module netns_lab on the real kernel: what it builds, removes and refuses."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns import apply as netns_apply
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.node import processes
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for
from ansible_collections.homelab.loadbalancer.tests.integration.netns.labs import Lab, fresh_lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with fresh_lab() as lab:
        yield lab


def machine() -> list[str]:
    """What of this machine's own network a lab could disturb."""
    shown = [["ip", "-o", "link"], ["ip", "route", "show", "table", "all"], ["ip", "-6", "route"], ["ip", "rule"]]
    shown += [["iptables-save", "-t", table] for table in ("filter", "nat")]
    # Counters of chains and the date are no state.
    texts = [
        "\n".join(line.partition("[")[0] for line in run(argv, check=False).out.splitlines() if line[:1] != "#")
        for argv in shown
    ]
    keys = ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/all/accept_dad", "ipv6/conf/all/disable_ipv6")
    return texts + [Path("/proc/sys/net", key).read_text() for key in keys if Path("/proc/sys/net", key).exists()]


def test_build_and_remove(lab: Lab) -> None:
    before = machine()
    assert lab.module(check=True)["changed"]
    assert lab.namespaces() == []
    result = lab.apply(run=lab.module)
    assert result["namespaces"] == {host: lab.namespace(host) for host in ("a", "router", "b")}
    assert result["diff"]["before"] == ""
    assert lab.namespaces() == sorted(map(lab.namespace, ("a", "b", "router", "switch")))
    lab.works()
    # Others may be at work on this machine: what they do passes, what the lab did would stay.
    wait_for(lambda: machine() == before, "the machine's own network as it was")
    left_alone = subprocess.Popen(["ip", "netns", "exec", lab.namespace("a"), "sleep", "1000"])
    wait_for(lambda: processes([lab.namespace("a")])[lab.namespace("a")], "sleep in the namespace")
    assert lab.apply("absent", run=lab.module)["diff"]["after"] == ""
    assert left_alone.wait(timeout=20) == -signal.SIGTERM
    assert (lab.namespaces(), lab.server_pids()) == ([], [])
    found = run(["find", "/run", "/tmp", "-xdev", "-name", "*%s*" % lab.name], check=False).out
    assert found == ""
    wait_for(lambda: machine() == before, "the machine's own network as it was")


def test_foreign_namespace_is_refused(lab: Lab) -> None:
    theirs = lab.namespace("router")
    run(["ip", "netns", "add", theirs])
    try:
        lab.ip("router", "link", "add", "br0", "type", "bridge")
        for check in (True, False):
            assert lab.module(check=check, prefix="vlan_lab_")["msg"] == (
                "network namespace %s exists and is not part of the lab %s: remove it (ip netns del %s) or choose "
                "another vlan_lab_name" % (theirs, lab.name, theirs)
            )
        assert not lab.module("absent")["changed"]
        assert lab.namespaces() == [theirs]
    finally:
        run(["ip", "netns", "del", theirs])


def test_interrupted_run_is_completed(lab: Lab) -> None:
    run(["ip", "netns", "add", lab.namespace("router")])
    Path("/run/netns", lab.namespace("a")).touch()
    assert lab.apply()["changed"]
    lab.works()


def test_refused_before_anything_changes(lab: Lab) -> None:
    lab.hosts[1]["links"][0]["addresses"][0] = "10.0.0.300/24"
    assert lab.module(prefix="vlan_lab_")["msg"] == (
        "vlan_lab_hosts[1].links[0].addresses[0] 10.0.0.300/24 is not an IP address with a prefix length"
    )
    assert lab.namespaces() == []


def test_sysctl_refused_by_the_kernel_is_named(lab: Lab) -> None:
    lab.hosts[0]["sysctls"] = {"net.ipv4.no_such": 1}
    assert "sysctl net.ipv4.no_such does not exist in network namespace" in lab.module()["msg"]
    lab.hosts[0]["sysctls"] = {"net.ipv4.ip_default_ttl": "never"}
    assert "ip_default_ttl of network namespace %s does not take never" % lab.namespace("a") in lab.module()["msg"]
    lab.hosts[0]["sysctls"] = {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.forwarding": 0}
    assert "does not stay at" in lab.module()["msg"]
    del lab.hosts[0]["sysctls"]
    lab.apply()
    lab.works()


def test_sysctls_that_change_each_other_converge(lab: Lab) -> None:
    link = "net.ipv4.conf.%s.forwarding" % lab.hosts[1]["links"][0]["name"]
    lab.hosts[1]["sysctls"] = {link: 0, "net.ipv4.ip_forward": 1, "net.ipv4.ip_default_ttl": "0x40"}
    assert lab.apply()["changed"]
    again = lab.apply()
    assert (again["changed"], again["diff"]["before"]) == (False, again["diff"]["after"])
    lab.run("router", "sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
    assert lab.apply()["changed"]
    assert lab.run("router", "sysctl", "-n", link, "net.ipv4.ip_forward").out.split() == ["0", "1"]


def test_non_root_user_is_refused(lab: Lab) -> None:
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *lab.command()]
    assert lab.module(command=nobody)["msg"].startswith("only root can make network namespaces: run Ansible as root")


def test_process_that_ignores_sigterm_is_killed() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
    stubborn = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        netns_apply.end(lambda: [stubborn.pid] if stubborn.poll() is None else [], grace=0.1)
        assert stubborn.returncode == -signal.SIGKILL
