# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.unit.cluster_lab.release_site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    """A mirror with all releases."""
    with Site().serving() as served:
        yield served
