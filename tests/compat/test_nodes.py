# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed nodes with other releases of Debian: the modules run on their Python and their tools, with real packets."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Mapping

import pytest

from ansible_collections.homelab.loadbalancer.tests.compat.matrix import DATA_PLANES, NODES, SCENARIOS
from ansible_collections.homelab.loadbalancer.tests.compat.results import Record
from ansible_collections.homelab.loadbalancer.tests.compat.router import Router, changed

VIP, POD, TEXT = "192.168.10.100", "192.168.20.20", "Hello from Pod B"
# The first systemd without cgroups of version 1.
UNIFIED_ONLY = 258
BUILT_IN = re.compile(
    r"table ip6? (?:filter|mangle|nat) \{|chain (?:PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) \{"
    r"|type \w+ hook [^;]+; policy accept;|\}|# Warning: .*|"
)


@pytest.mark.parametrize("role", DATA_PLANES)
def test_role_carries_services(router: Router, release: str, role: str, record: Record) -> None:
    record(NODES[release], "role `%s`" % role, router.versions())
    before = router.output("nft", "list", "ruleset")
    assert router.page(VIP) == ""
    router.play("playbooks/%s.yml" % role)
    assert router.page(VIP) == TEXT
    assert router.page(POD) == ""  # isolated
    assert changed(router.play("playbooks/%s.yml" % role)) == []
    router.play("playbooks/%s.yml" % role, lb_state="absent")
    assert router.page(VIP) == ""
    assert content(router.output("nft", "list", "ruleset")) == content(before)


def test_nftables_table_translates(router: Router, release: str, record: Record) -> None:
    record(NODES[release], "module `nftables_table`", router.versions())
    options = {"compat_vip": VIP, "compat_state": "present"}
    router.play("tests/compat/files/nftables.yml", **options)
    assert router.page(VIP) == TEXT
    assert changed(router.play("tests/compat/files/nftables.yml", **options)) == []
    router.play("tests/compat/files/nftables.yml", **{**options, "compat_state": "absent"})
    assert router.page(VIP) == ""
    assert "compat" not in router.output("nft", "list", "tables")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_role_with_systemd(root: Path, release: str, scenario: str, record: Record) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["DEBIAN_RELEASE"] = release
    image = output(environment, str(root / "tools/container-image")).strip()
    systemd = output(environment, "podman", "run", "--rm", "--network=none", image, "systemctl", "--version").split()[1]
    record(NODES[release], "molecule `%s`" % scenario, "systemd %s" % systemd)
    if int(systemd) >= UNIFIED_ONLY and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("systemd %s does not start on this machine, whose cgroups have version 1" % systemd)
    done = subprocess.run(
        [str(root / "tools/molecule"), "test", "-s", scenario],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20000:]


def output(environment: Mapping[str, str], *argv: str) -> str:
    """What a program prints."""
    return subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def content(ruleset: str) -> list[str]:
    """A listing without the empty tables and built-in chains that iptables 1.8.7 leaves."""
    return [line for line in ruleset.splitlines() if not BUILT_IN.fullmatch(line.strip())]
