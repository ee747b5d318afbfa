# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ipvs on a kernel that has no IPVS. The rest of its tests are in tests/kernel."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import kernel as ipvs_kernel
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network, module


@pytest.fixture(autouse=True)
def _no_ipvs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the kernel has it: not loaded, and not to be found."""
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/net/ip_vs" and exists(path))
    monkeypatch.setattr(ipvs_kernel, "_listed", lambda: None)


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("servers", [[], [{"address": "10.0.0.1", "port": 80}]])
def test_missing_ipvs_names_the_kernel_module_and_its_packages(check_mode: bool, servers: list[dict[str, Any]]) -> None:
    with fresh_network():
        message = module("ipvs", check_mode, virtual_servers=servers)["msg"]
    assert message.startswith(
        "this kernel (%s) has no IPVS. It is in its module `ip_vs` (try: modp" % os.uname().release
    )
    assert "linux-image-amd64" in message and "linux-modules-extra-" in message


@pytest.mark.parametrize("check_mode", [False, True])
def test_absent_without_ipvs_has_nothing_to_do(check_mode: bool) -> None:
    with fresh_network():
        assert not module("ipvs", check_mode, scope=["10.0.0.0/8"], state="absent")["changed"]
