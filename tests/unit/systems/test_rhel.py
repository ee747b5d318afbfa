# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' packages, services and files have names that RHEL and its relatives know. No test runs those systems."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import packages

ROOT = Path(__file__).resolve().parents[3]
# Packages that RHEL has by the same names as Debian. dnf installs iptables-nft for iptables, which that provides.
PACKAGES = {"iptables", "ipset", "keepalived", "nftables"}
# The names of packages that the modules of the data planes return.
LISTED = {"{{ __iptables_lb_missing }}", "{{ __ipvs_lb_missing }}", "{{ __nftables_lb_missing }}"}
SERVICES = {"keepalived.service"}
# Roles whose machines run Debian: the labs, which debootstrap makes.
LABS = {"cluster_lab", "node_lab", "vlan_lab"}
DEBIAN_ONLY = re.compile(r"\b(apt|apt_get|dpkg|debconf|update-alternatives)\b|/etc/(default|network|apt)\b")
NODE_CODE = sorted((ROOT / "plugins/module_utils").glob("**/*.py"))
TASKS = sorted(path for path in (ROOT / "roles").glob("*/tasks/*.yml") if path.parts[-3] not in LABS)


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    """All tasks of a file, also those in blocks."""
    left = list(yaml.safe_load(path.read_text()) or [])
    while left:
        task = left.pop(0)
        yield task
        left += task.get("block", []) + task.get("rescue", []) + task.get("always", [])


def arguments(*modules: str) -> list[tuple[str, Any]]:
    """The argument `name` of each task with one of the modules, with its file."""
    return [
        (str(path.relative_to(ROOT)), task[module]["name"])
        for path in TASKS
        for task in tasks(path)
        for module in modules
        if module in task
    ]


def test_packages_have_the_names_of_rhel() -> None:
    found = arguments("ansible.builtin.package")
    assert {name for dummy, name in found} == {"keepalived", *LISTED}, found


def test_packages_of_ipvs_have_the_names_of_rhel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *dummy, **more: None)
    monkeypatch.setenv("PATH", "")
    assert {*packages.missing_packages()} == {"iptables", "ipset"} <= PACKAGES


def test_services_have_the_names_of_rhel() -> None:
    found = arguments("ansible.builtin.systemd_service", "ansible.builtin.service")
    assert {name for dummy, name in found} == SERVICES, found


@pytest.mark.parametrize("path", TASKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tasks_name_nothing_that_only_debian_has(path: Path) -> None:
    assert DEBIAN_ONLY.findall(path.read_text()) == []


def test_modules_use_nothing_that_only_debian_has() -> None:
    found = {
        str(path.relative_to(ROOT)): line.strip()
        for path in NODE_CODE
        if "_uml" not in path.parts
        for line in path.read_text().splitlines()
        if DEBIAN_ONLY.search(line)
    }
    assert found == {}
