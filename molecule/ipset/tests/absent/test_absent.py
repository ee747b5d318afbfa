# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of the sets: nothing."""

from __future__ import annotations

from typing import Any


def test_no_set_is_left(router: Any) -> None:
    assert router.output("ipset save") == ""
    assert not router.host.file("/etc/sets.ipset").exists
