# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vip_failover for two directors in network namespaces. For systemd, which is the machine's, stands a list."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.failover_lab import (
    DIRECTORS,
    INTERVAL,
    PRIORITY,
    SERVICES,
    FailoverLab,
    service,
)
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT, changes, diff_of
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

# Of a service that runs and is enabled, it says so; what else it is asked to do, it writes down.
SYSTEMCTL = """#!/bin/sh
case $1 in
    show) printf 'LoadState=loaded\\nActiveState=active\\n' ;;
    is-enabled) echo enabled ;;
    *) echo "$*" >> %s ;;
esac
"""


class RoleLab(FailoverLab):
    """The same network, in an inventory."""

    def play(self, *options: str, skip: str = "service,install", rc: int = 0, **variables: Any) -> str:
        hosts = {
            name: {"vip_failover_priority": PRIORITY[name], "vip_failover_config": str(self.config(name))}
            for name in DIRECTORS
        }
        shared = {
            "ansible_connection": "homelab.loadbalancer.netns",
            "ansible_netns_prefix": self.name + "-",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "ansible_become": False,
            "lb_interface": "eth0",
            "lb_services": SERVICES,
            "vip_failover_advert_interval": INTERVAL,
        }
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps({"directors": {"hosts": hosts, "vars": shared}}))
        argv = ["ansible-playbook", "-i", str(inventory), "playbooks/failover.yml", "--skip-tags", skip]
        done = run([*argv, "-e", json.dumps(variables), *options], env=ENVIRONMENT, check=False)
        assert done.rc == rc, done.out + done.err
        return done.out + done.err

    def refused(self, **variables: Any) -> str:
        """What the play says when it refuses, in one line; nothing has been written."""
        before = {path: path.read_text() for path in self.folder.rglob("*.conf")}
        said = self.play(rc=2, **variables)
        assert {path: path.read_text() for path in self.folder.rglob("*.conf")} == before
        return re.sub(r"\s+", " ", said)


@pytest.fixture
def lab(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RoleLab]:
    if not shutil.which("keepalived", path="/usr/sbin:/usr/local/sbin"):
        pytest.skip("keepalived is not installed: `make setup PROFILE=test` installs it")
    monkeypatch.chdir(root)
    made = RoleLab(tmp_path)
    try:
        made.up()
        yield made
    finally:
        made.down()


def test_the_role(lab: RoleLab) -> None:
    predicted = lab.play("--check", "--diff")
    assert not lab.config("director1").exists()
    real = lab.play("--diff", skip="service,install,verify")
    assert sorted(diff_of(predicted)) == sorted(diff_of(real))
    assert changes(predicted) == changes(real) == 2
    # Nobody has started keepalived.
    assert "no director advertises vip_failover_router_id 51 for IPv4" in lab.refused()
    for host in DIRECTORS:
        lab.start(host)
    wait_for(lambda: any(map(lab.held, DIRECTORS)), "one director has the VIPs")
    assert changes(lab.play()) == 0

    # One of them has an address that is the other's.
    (standby,) = (host for host in DIRECTORS if not lab.held(host))
    lab.run(standby, "ip", "address", "add", "192.168.10.100/32", "dev", "eth0")
    assert "192.168.10.100 is on eth0 of this director" in lab.refused()
    lab.run(standby, "ip", "address", "del", "192.168.10.100/32", "dev", "eth0")

    # And now they do not hear each other.
    for host in DIRECTORS:
        for command in ("iptables", "ip6tables"):
            lab.run(host, command, "-A", "INPUT", "-p", "112", "-j", "DROP")
    wait_for(lambda: all(map(lab.held, DIRECTORS)), "both directors have the VIPs")
    assert "split brain: 192.168.10.1 (director1) and 192.168.10.2 (director2) advertise" in lab.refused()

    absent = {"vip_failover_state": "absent"}
    assert changes(lab.play(**absent)) == 2
    assert changes(lab.play(**absent)) == 0
    assert not lab.config("director1").exists()


def test_refused_before_anything_changes(lab: RoleLab) -> None:
    said = lab.refused(vip_failover_priority=100)
    assert "vip_failover_priority 100 is also that of director2: give each director a different one" in said
    assert "interface eth9 does not exist: this node has eth0, eth1" in lab.refused(vip_failover_interface="eth9")
    assert "lb_services[0].address 10.0.0.300 is not an IP address" in lab.refused(lb_services=[service("10.0.0.300")])
    lab.configure("client", services=[service("192.168.10.99")])
    lab.start("client")
    wait_for(lambda: lab.faults(running=False), "the foreign router advertises")
    assert "192.168.10.10 advertises vip_failover_router_id 51 on eth0" in lab.refused()


def test_a_run_that_was_cut_short_is_completed(lab: RoleLab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = lab.folder / "asked"
    systemctl = lab.folder / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(SYSTEMCTL % asked)
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (systemctl.parent, os.environ["PATH"]))
    for options, action in (({}, "reload"), ({"vip_failover_state": "absent"}, "stop")):
        assert changes(lab.play(skip="service,install,verify", **options)) == 2
        assert not asked.exists()
        assert changes(lab.play("--check", skip="install,verify", **options)) == 2
        assert changes(lab.play(skip="install,verify", **options)) == 2
        assert asked.read_text() == "%s keepalived.service\n" % action * 2
        assert changes(lab.play(skip="install,verify", **options)) == 0
        asked.unlink()
    assert not [path for host in DIRECTORS for path in lab.config(host).parent.iterdir()]
