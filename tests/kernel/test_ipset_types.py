# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every set type, on a kernel that has them all."""

from __future__ import annotations

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network
from ansible_collections.homelab.loadbalancer.tests.integration.sets import TYPES, every_type


def test_all_types_at_once_in_odd_spellings() -> None:
    with fresh_network():
        every_type(*TYPES)
