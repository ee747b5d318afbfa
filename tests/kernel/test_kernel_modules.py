# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module kernel_modules on a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import module

NAMES = ["ip_vs_lblc", "ip-vs-nq"]


def loaded() -> set[str]:
    lines = Path("/proc/modules").read_text(encoding="ascii").splitlines()
    return {line.split()[0] for line in lines} & {"ip_vs_lblc", "ip_vs_nq"}


@pytest.fixture(autouse=True)
def _unloaded() -> Iterator[None]:
    run(["modprobe", "--remove", "--all", *NAMES])
    yield
    run(["modprobe", "--remove", "--all", *NAMES])


def test_modules_are_loaded_as_check_mode_predicts() -> None:
    predicted = module("kernel_modules", check_mode=True, names=NAMES)
    assert loaded() == set()
    done = module("kernel_modules", names=NAMES)
    assert predicted == done
    assert (done["changed"], done["loaded"]) == (True, ["ip_vs_lblc", "ip_vs_nq"])
    assert loaded() == {"ip_vs_lblc", "ip_vs_nq"}
    again = module("kernel_modules", names=NAMES)
    assert (again["changed"], again["loaded"]) == (False, [])


def test_unknown_module_is_refused_before_another_is_loaded() -> None:
    result = module("kernel_modules", names=["ip_vs_lblc", "ip_vs_none"])
    assert result["failed"]
    assert "Module ip_vs_none not found" in result["msg"]
    assert loaded() == set()
