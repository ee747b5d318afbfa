# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module sysctls in a network namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network, module

FORWARD = "net.ipv4.ip_forward"


def value() -> str:
    return Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii").strip()


def test_set_check_and_repeat(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("bad", [{"net.ipv4.no_such": 1}, {FORWARD: 1, "net.ipv4.conf.all.rp_filter": "much"}])
def test_nothing_is_set_when_one_is_refused(bad: dict[str, object]) -> None:
    with fresh_network():
        module("sysctls", values={FORWARD: 0})
        result = module("sysctls", values=bad)
        assert result["failed"]
        assert list(bad)[-1] in result["msg"]
        assert value() == "0"
