# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role leaves when it is taken away: nothing."""

from __future__ import annotations

import difflib
from typing import Any


def test_the_node_is_as_it_was_found(router: Any) -> None:
    before = router.output("cat /root/node-state.before").splitlines()
    now = router.output("/root/node-state").splitlines()
    changes = "\n".join(difflib.unified_diff(before, now, "before", "now", lineterm="", n=0))
    assert not changes, changes


def test_the_virtual_address_does_not_answer(client: Any) -> None:
    # The node itself does, so it is not the way there that is cut.
    assert client.reaches("192.168.10.1")
    assert not client.reaches("192.168.10.100")
    assert client.curl("http://192.168.10.100/").rc != 0
