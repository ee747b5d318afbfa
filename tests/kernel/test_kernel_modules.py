# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of a real kernel: the planned ones are loaded, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._balancer.kernel import KernelModules
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import NodeError

NAMES = ["ip_vs_lblc", "ip-vs-nq"]


def loaded() -> set[str]:
    lines = Path("/proc/modules").read_text(encoding="ascii").splitlines()
    return {line.split()[0] for line in lines} & {"ip_vs_lblc", "ip_vs_nq"}


@pytest.fixture(autouse=True)
def _unloaded() -> Iterator[None]:
    run(["modprobe", "--remove", "--all", *NAMES])
    yield
    run(["modprobe", "--remove", "--all", *NAMES])


def test_planned_modules_are_loaded_and_unloaded() -> None:
    modules = KernelModules(NAMES)
    assert modules.missing == ["ip_vs_lblc", "ip_vs_nq"]
    assert loaded() == set()
    modules.load()
    assert loaded() == {"ip_vs_lblc", "ip_vs_nq"}
    assert not KernelModules(NAMES).changed
    modules.unload()
    assert loaded() == set()


def test_unknown_module_is_refused_before_another_is_loaded() -> None:
    with pytest.raises(NodeError, match=r"kernel_modules: .*Module ip_vs_none not found"):
        KernelModules(["ip_vs_lblc", "ip_vs_none"])
    assert loaded() == set()
