# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units that restore a load balancer at boot."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._boot.units import Restored

PATH = "/etc/load balancer"
SYSCTLS = '/lib/systemd/systemd-sysctl "/etc/load balancer/sysctl.conf"'
BATCH = 'ip -force -batch "/etc/load balancer/addresses.batch"'


def unit(want: Restored, index: int) -> list[str]:
    """The lines of one of the two units."""
    text = {**want.protecting(), **want.serving()}["/etc/systemd/system/" + want.units[index]]
    assert isinstance(text, str)
    return text.splitlines()


def starts(lines: list[str]) -> list[str]:
    return [line.partition("=")[2] for line in lines if line.startswith("ExecStart=")]


def test_rules_are_restored_before_parameters_and_addresses() -> None:
    want = Restored("homelab-loadbalancer", PATH, commands=["-iptables -D x", "iptables-restore y"], sysctls="a = 1\n")
    assert starts(unit(want, 0)) == ["-iptables -D x", "iptables-restore y", SYSCTLS, "-" + BATCH]


def test_second_unit_adds_the_addresses_again() -> None:
    want = Restored("homelab-loadbalancer", PATH, (), (), ["address replace 192.0.2.1/32 dev eth0"], "a = 1\n")
    assert starts(unit(want, 1)) == [BATCH, "-" + SYSCTLS]
    assert want.serving()[PATH + "/addresses.batch"] == "address replace 192.0.2.1/32 dev eth0\n"


def test_no_file_with_parameters_without_parameters() -> None:
    want = Restored("homelab-loadbalancer", PATH)
    assert starts(unit(want, 0)) == ["-" + BATCH]
    assert want.protecting()[PATH + "/sysctl.conf"] is None


def test_existing_link_is_no_error() -> None:
    want = Restored("homelab-loadbalancer", PATH, addresses=["link add name lb0 type dummy"])
    assert starts(unit(want, 1))[0] == "-" + BATCH


@pytest.mark.parametrize(("name", "before"), [("homelab-loadbalancer", False), ("homelab-loadbalancer-cluster", True)])
def test_jumps_of_the_host_come_first(name: str, before: bool) -> None:
    """Each unit inserts its jumps at the top of the chain, so the unit of the host must run last."""
    lines = unit(Restored(name, PATH), 0)
    assert ("Before=homelab-loadbalancer-rules.service" in lines) == before


@pytest.mark.parametrize(("modules", "content"), [([], None), (["ip_vs", "dummy"], "ip_vs\ndummy\n")])
def test_kernel_modules_have_a_file_of_their_own(modules: list[str], content: str | None) -> None:
    want = Restored("other", PATH, kernel_modules=modules)
    assert want.protecting()["/etc/modules-load.d/other.conf"] == content
