# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Error messages name the user's own variable."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError, named

VARIABLES = {"isolate": "lb_isolate", "pod_cidr": "lb_pod_cidr", "values": "lb_sysctls"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("isolate[0].from eth9 is not an interface", "lb_isolate[0].from eth9 is not an interface"),
        ("pod_cidr[1] 10.0.0.0/8 is a second", "lb_pod_cidr[1] 10.0.0.0/8 is a second"),
        ("values.net.ipv4.ip_forward cannot", "lb_sysctls.net.ipv4.ip_forward cannot"),
        ("lb_services[0].address isolate is not", "lb_services[0].address isolate is not"),
        ("isolated is another word", "isolated is another word"),
        ("wait longer: increase the option pod_cidr", "wait longer: increase lb_pod_cidr"),
        ("isolate[0] and isolate[1] are equal", "lb_isolate[0] and lb_isolate[1] are equal"),
        ("the values are wrong. values", "the values are wrong. values"),
        ("/etc/x holds `values.batch`, /etc/values.d too", "/etc/x holds `values.batch`, /etc/values.d too"),
        ("enable lb-values.service: failed", "enable lb-values.service: failed"),
        ("cannot write '/etc/lb/values.batch'", "cannot write '/etc/lb/values.batch'"),
        ("", ""),
    ],
)
def test_the_roles_variable_is_named(said: str, expected: str) -> None:
    assert named(InputError(said), VARIABLES) == expected
    assert named(InputError(said), {}) == said
