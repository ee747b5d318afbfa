# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that build and remove the lab, with the inventories that users start from."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns_apply import apply
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns_model import Lab as Declared
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns_plan import plan
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns_state import read

# Ansible insists on UTF-8.
ENVIRONMENT = {"ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
_numbers = itertools.count()


class Lab:
    """A lab of a name of its own, from one of the project's inventories."""

    def __init__(self, inventory: str) -> None:
        self.inventory = inventory
        self.name = "vlt%dx%d" % (os.getpid(), next(_numbers))

    def playbook(self, playbook: str, *options: str, rc: int = 0, **variables: Any) -> str:
        values = json.dumps({"vlan_lab_name": self.name, **variables})
        done = run(
            ["ansible-playbook", "-i", self.inventory, "playbooks/%s.yml" % playbook, "-e", values, *options],
            env=ENVIRONMENT,
            check=False,
        )
        assert done.rc == rc, done.out + done.err
        return done.out + done.err

    def run(self, host: str, *argv: str, check: bool = True) -> str:
        return run(["ip", "netns", "exec", "%s-%s" % (self.name, host), *argv], check=check).out

    def traces(self) -> list[str]:
        """What is left of the lab on this machine: namespaces, processes, files."""
        found = [line for line in run(["ip", "netns", "list"]).out.splitlines() if line.startswith(self.name)]
        found += [
            line for line in run(["ps", "-eo", "args"]).out.splitlines() if "netns-lab-server " + self.name in line
        ]
        found += [line for line in run(["ip", "-o", "link"]).out.splitlines() if self.name in line]
        return found + run(["find", "/run", "/tmp", "-xdev", "-name", "*%s*" % self.name], check=False).out.splitlines()


def recap(output: str) -> tuple[int, int]:
    """How many tasks changed something, and how many failed."""
    found = re.search(r"changed=(\d+)\s+unreachable=0\s+failed=(\d+)", output)
    assert found, output
    return int(found[1]), int(found[2])


def diff_of(output: str) -> list[str]:
    return [line for line in output.splitlines() if line[:1] in "+-@ "]


@pytest.fixture(params=["lab", "lab_ja"])
def lab(root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.chdir(root)
    lab = Lab("inventories/%s" % request.param)
    try:
        yield lab
    finally:
        nothing = Declared(lab.name, (), ())
        apply(plan(read(lab.name, {}), nothing, present=False))
        assert lab.traces() == []


def test_lab_up_and_down(lab: Lab) -> None:
    client, pod, address, text = {
        "inventories/lab": ("a", "b", "192.168.20.20", "Hello from Pod B\n"),
        "inventories/lab_ja": ("b", "a", "192.168.10.10", "Hello from Pod A\n"),
    }[lab.inventory]
    done = lab.playbook("lab", "--diff")
    assert "+%s-%s: server http port 80" % (lab.name, pod) in done
    assert recap(done) == (1, 0)
    # The workshop's network before the load balancer: everybody reaches everybody, by the router.
    assert "ttl=63" in lab.run(client, "ping", "-c1", "-W5", address)
    assert lab.run(client, "curl", "-s", "--max-time", "5", "http://%s/" % address) == text
    assert recap(lab.playbook("lab")) == (0, 0)
    assert recap(lab.playbook("lab_down")) == (1, 0)
    assert lab.traces() == []


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
def test_check_mode_predicts(lab: Lab) -> None:
    for playbook in ("lab", "lab_down"):
        before = lab.traces()
        predicted = lab.playbook(playbook, "--check", "--diff")
        assert lab.traces() == before
        done = lab.playbook(playbook, "--diff")
        assert diff_of(done) == diff_of(predicted)
        assert (recap(predicted), recap(done)) == ((1, 0), (1, 0))
        assert recap(lab.playbook(playbook, "--check")) == (0, 0)


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
def test_hosts_are_ansible_hosts(lab: Lab) -> None:
    lab.playbook("lab")
    done = run(
        [
            *["ansible", "-i", lab.inventory, "-e", "vlan_lab_name=" + lab.name, "-o", "lab"],
            *["-m", "ansible.builtin.command", "-a", "ip -br -4 address show eth0"],
        ],
        env=ENVIRONMENT,
        check=False,
    )
    assert done.rc == 0, done.out + done.err
    for host, address in (("a", "192.168.10.10/24"), ("router", "192.168.10.1/24"), ("b", "192.168.20.20/24")):
        assert re.search(r"^%s \| CHANGED .* %s " % (host, address), done.out, re.MULTILINE), done.out


LINK = {"name": "eth0", "vlan": 10, "addresses": ["192.168.10.10/24"]}


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"vlan_lab_hosts": []}, "vlan_lab_hosts is empty: declare the hosts of the lab"),
        (
            {"vlan_lab_hosts": [{"name": "b"}, {"name": "a", "links": [{**LINK, "adresses": []}]}]},
            "vlan_lab_hosts[1].links[0].adresses is not a known key: known are name, vlan, addresses, mtu",
        ),
        (
            {"vlan_lab_hosts": [{"name": "a", "links": [LINK]}, {"name": "b", "links": [LINK]}]},
            "vlan_lab_hosts[1].links[0].addresses[0] 192.168.10.10/24 is already declared as "
            "vlan_lab_hosts[0].links[0].addresses[0]",
        ),
    ],
    ids=["empty", "unknown-key", "duplicate-address"],
)
def test_wrong_inventory_is_refused(lab: Lab, variables: dict[str, Any], message: str) -> None:
    assert message in " ".join(lab.playbook("lab", rc=2, **variables).split())
    assert lab.traces() == []
