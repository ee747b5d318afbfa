# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to a boot: that it was one, and that the rules came before the network."""

from __future__ import annotations

from typing import Any


def test_it_was_a_reboot(router: Any) -> None:
    assert not router.host.file("/run/molecule-before-reboot").exists
