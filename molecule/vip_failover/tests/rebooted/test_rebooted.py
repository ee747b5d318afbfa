# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests in `present` ran after a real reboot."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node


@pytest.mark.parametrize("name", ["director1", "director2"])
def test_it_was_a_reboot(name: str) -> None:
    assert not Node(name).host.file("/run/molecule-before-reboot").exists
