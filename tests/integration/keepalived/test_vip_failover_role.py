# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vip_failover for two directors in network namespaces. For systemd, which is the machine's, stands a list."""

from __future__ import annotations

import json
import os
import re
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
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import standing, wait_for

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

    def written(self) -> dict[Path, str]:
        """The files of configuration."""
        return {path: path.read_text() for path in self.folder.rglob("*.conf")}


@pytest.fixture
def lab(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RoleLab]:
    monkeypatch.chdir(root)
    with standing(RoleLab(tmp_path)) as made:
        yield made


@pytest.fixture
def asked(lab: RoleLab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the systemctl of the test writes what it is asked to do."""
    asked = lab.folder / "asked"
    systemctl = lab.folder / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(SYSTEMCTL % asked)
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (systemctl.parent, os.environ["PATH"]))
    return asked


def test_lifecycle(lab: RoleLab, asked: Path) -> None:
    """A run that was cut short before it told keepalived is completed by the next one."""
    cut_short = "service,install,verify"
    predicted = lab.play("--check", "--diff", skip=cut_short)
    assert not lab.config("director1").exists()
    real = lab.play("--diff", skip=cut_short)
    assert sorted(diff_of(predicted)) == sorted(diff_of(real))
    assert changes(predicted) == changes(real) == 2
    assert changes(lab.play("--check", skip="install")) == 2
    assert not asked.exists()
    # The service is a pretence: nobody has started keepalived.
    said = lab.play(skip="install", rc=2)
    assert "no director advertises vip_failover_router_id 51 for IPv4" in re.sub(r"\s+", " ", said)
    assert asked.read_text() == "reload keepalived.service\n" * 2
    for host in DIRECTORS:
        lab.start(host)
    wait_for(lambda: any(map(lab.held, DIRECTORS)), "one director has the VIPs")
    assert changes(lab.play(skip="install")) == 0
    asked.unlink()

    absent = {"vip_failover_state": "absent"}
    assert changes(lab.play(skip=cut_short, **absent)) == 2
    assert not asked.exists()
    assert changes(lab.play("--check", skip="install", **absent)) == 2
    assert changes(lab.play(skip="install", **absent)) == 2
    assert asked.read_text() == "stop keepalived.service\n" * 2
    assert changes(lab.play(skip="install", **absent)) == 0
    assert lab.written() == {}


def test_equal_priorities_and_foreign_routers_are_refused_before_a_change(lab: RoleLab) -> None:
    lab.configure("client", services=[service("192.168.10.99")])
    lab.start("client")
    wait_for(lambda: lab.faults(running=False), "the foreign router advertises")
    before = lab.written()
    said = re.sub(r"\s+", " ", lab.play(rc=2, vip_failover_priority=100))
    assert "vip_failover_priority 100 is also that of director2: give each director a different one" in said
    assert "192.168.10.10 advertises vip_failover_router_id 51 on eth0" in said
    assert lab.written() == before
