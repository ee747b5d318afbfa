# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every type of set there is, on a kernel that has them all."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network
from ansible_collections.homelab.loadbalancer.tests.integration.sets import TYPES, every_type


@pytest.mark.parametrize("name", TYPES)
def test_a_type_in_odd_spellings(name: str) -> None:
    with fresh_network():
        every_type(name)
