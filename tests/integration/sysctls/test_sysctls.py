# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module sysctls in a network namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._sysctls import node as sysctls
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network, module

FORWARD = "net.ipv4.ip_forward"


def value() -> str:
    return Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii").strip()


def test_sysctls_lifecycle(tmp_path: Path) -> None:
    kept = tmp_path / "sysctl.conf"
    with fresh_network():
        before = value()
        other = {"0": "1", "1": "0"}[before]
        arguments = {"values": {FORWARD: other}, "save_to": str(kept)}
        predicted = module("sysctls", check_mode=True, **arguments)
        assert (value(), kept.exists()) == (before, False)
        done = module("sysctls", **arguments)
        assert predicted == done
        assert done["changed"]
        after = "%s = %s\n" % (FORWARD, other)
        values, file = done["diff"]
        assert values == {"before": "%s = %s\n" % (FORWARD, before), "after": after}
        assert (file["before_header"], file["before"], file["after"]) == (str(kept), "", after)
        assert (value(), kept.read_text()) == (other, "%s = %s\n" % (FORWARD, other))
        assert not module("sysctls", **arguments)["changed"]
        kept.write_text("")
        alone = module("sysctls", **arguments)
        assert (alone["changed"], alone["diff"][1]["after"]) == (True, after)


def test_values_are_restored_if_the_file_cannot_be_written(tmp_path: Path) -> None:
    with fresh_network():
        module("sysctls", values={FORWARD: 0})
        result = module("sysctls", values={FORWARD: 1}, save_to=str(tmp_path / "no-folder" / "sysctl.conf"))
        assert result["failed"]
        assert value() == "0"


@pytest.mark.parametrize("bad", [{"net.ipv4.no_such": 1}, {FORWARD: 1, "net.ipv4.conf.all.rp_filter": "much"}])
def test_nothing_is_set_when_one_is_refused(bad: dict[str, object]) -> None:
    with fresh_network():
        module("sysctls", values={FORWARD: 0})
        result = module("sysctls", values=bad)
        assert result["failed"]
        assert list(bad)[-1] in result["msg"]
        assert value() == "0"


def test_values_changed_by_other_values_converge(tmp_path: Path) -> None:
    """Switching ip_forward on makes every link forward."""
    kept = tmp_path / "sysctl.conf"
    with fresh_network():
        run(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2"])
        module("sysctls", values={FORWARD: 0})
        link = "net.ipv4.conf.%s.forwarding"
        values = {link % "eth1": 0, "net.ipv4.conf.all.accept_redirects": 1, FORWARD: 1}
        predicted = module("sysctls", check_mode=True, values=values, save_to=str(kept))
        done = module("sysctls", values=values, save_to=str(kept))
        assert predicted == done
        assert sysctls.read([link % "eth1", link % "eth2"]) == {link % "eth1": "0", link % "eth2": "1"}
        assert not module("sysctls", values=values, save_to=str(kept))["changed"]
        # As a boot does it: line by line.
        module("sysctls", values={FORWARD: 0})
        run(["sysctl", "-p", str(kept)])
        assert not module("sysctls", check_mode=True, values=values)["changed"]


def test_values_that_undo_each_other_are_refused_and_rolled_back(tmp_path: Path) -> None:
    with fresh_network():
        run(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2"])
        module("sysctls", values={FORWARD: 0, "net.ipv4.conf.eth2.forwarding": 1})
        names = [FORWARD, "net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.eth2.forwarding"]
        before = sysctls.read(names)
        result = module("sysctls", values={FORWARD: 1, "net.ipv4.conf.all.forwarding": 0})
        assert result["msg"].startswith("values.%s 1, values.net.ipv4.conf.all.forwarding 0 do not stand" % FORWARD)
        assert sysctls.read(names) == before


def test_a_value_in_another_spelling_is_not_changed_again() -> None:
    values = {"net.ipv4.ip_local_reserved_ports": "9000,8080,8081", "net.ipv4.ip_default_ttl": "0x30"}
    with fresh_network():
        predicted = module("sysctls", check_mode=True, values=values)
        done = module("sysctls", values=values)
        assert predicted == done
        assert done["diff"]["after"].splitlines()[0] == "net.ipv4.ip_local_reserved_ports = 8080-8081,9000"
        for check_mode in (True, False):
            again = module("sysctls", check_mode=check_mode, values=values)
            assert not again["changed"]
            assert again["diff"]["before"] == again["diff"]["after"]
