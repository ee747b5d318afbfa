# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every type of set that this machine's kernel has; of the others, what the module says (tests/kernel has them all)."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network, module
from ansible_collections.homelab.loadbalancer.tests.integration.sets import TYPES, every_type, lines


@pytest.mark.parametrize("name", TYPES)
def test_a_type_in_odd_spellings(name: str) -> None:
    options, declared, dummy = TYPES[name]
    each = {"name": "LB-X", "type": name, **options}
    with fresh_network():
        made = ["%s %s" % (key, options[key]) for key in ("range", "size") if key in options]
        probe = run(["ipset", "create", "PROBE", each["type"], *" ".join(made).split()], check=False)
        if "set type not supported" not in probe.err:
            run(["ipset", "destroy"])
            every_type(name)
            return
        for check_mode in (True, False):
            result = module("ipset", check_mode, sets=[{**each, "entries": declared}])
            wanted = "ip_set_" + each["type"].replace(":", "_").replace(",", "")
            assert "sets[0]: this node's kernel has no %s sets" % each["type"] in result["msg"]
            assert "module %s)" % wanted in result["msg"]
            assert lines() == []
