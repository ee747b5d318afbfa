# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""These tests change the kernel's state: they run only in the user-mode kernel of `tools/kernel`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import standing
from ansible_collections.homelab.loadbalancer.tests.kernel.ipvs_lab import IpvsLab


@pytest.fixture(autouse=True, scope="session")
def _machine() -> None:
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text(encoding="ascii"):
        pytest.skip("not in a user-mode kernel: run `tools/kernel .venv/bin/pytest tests/kernel`")
    # A failed exec costs this kernel as much as a new process: the folders of the tools come first.
    os.environ["PATH"] = "/usr/sbin:/usr/bin:%s" % os.environ["PATH"]
    run(["modprobe", "-a", "ip_vs", "ip_vs_wrr", "nf_conntrack", "nf_conntrack_netlink"])


@pytest.fixture(scope="session")
def ipvs_lab() -> Iterator[IpvsLab]:
    """One lab for all tests of ipvs_services."""
    with standing(IpvsLab()) as made:
        yield made


@pytest.fixture
def lab(ipvs_lab: IpvsLab) -> IpvsLab:
    """Each test of ipvs_services starts with a router without rules, sets and virtual servers."""
    ipvs_lab.reset()
    return ipvs_lab
