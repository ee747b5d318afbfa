# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reboot was real, and the rules were loaded before the network started."""

from __future__ import annotations

from typing import Any

RULES = "homelab-loadbalancer-rules.service"
NETWORK = ("networking.service", "systemd-networkd.service")


def reached(router: Any, unit: str, event: str) -> int:
    """The time of a unit's event in this boot, in microseconds of the monotonic clock; 0 is never."""
    return int(router.output(f"systemctl show --value --property={event}TimestampMonotonic {unit}"))


def test_it_was_a_reboot(router: Any) -> None:
    assert not router.host.file("/run/molecule-before-reboot").exists


def test_rules_loaded_before_the_network(router: Any) -> None:
    ready = reached(router, RULES, "ActiveEnter")
    started = {unit: reached(router, unit, "InactiveExit") for unit in NETWORK}
    assert ready > 0
    assert any(started.values()), f"none of {NETWORK} has started"
    assert all(ready <= moment for moment in started.values() if moment)
