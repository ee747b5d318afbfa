# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of declarations, with foreign edits between them."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.input import (
    Scope,
    parse_scope,
    parse_virtual_servers,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.model import parse, render
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network
from ansible_collections.homelab.loadbalancer.tests.kernel.virtual_servers import converge, exact

FRONTS: list[dict[str, Any]] = [
    {"address": "10.1.0.1", "port": 80},
    {"address": "10.1.0.1", "port": 80, "protocol": "udp"},
    {"address": "fd00:1::1", "port": 80, "protocol": "sctp"},
    {"mark": 7},
    {"mark": 7, "family": "ipv6"},
]
SCOPE: dict[str, Any] = {"scope": ["10.1.0.0/16", "fd00:1::/64"], "scope_marks": ["1-8"]}
OURS = parse_scope(SCOPE["scope"], SCOPE["scope_marks"])
FOREIGN = "-A -t 10.9.0.1:80 -s wlc\n-a -t 10.9.0.1:80 -r 10.0.0.2:80 -m -w 3\n"
# Foreign edits, inside and outside the scope. Each may fail where its object is missing.
EDITS = [
    "-C",
    "-D -t 10.1.0.1:80",
    "-D -f 7 -6",
    "-A -t 10.1.0.9:443 -s rr",
    "-A -u 10.1.0.1:80 -s sh -b sh-port -p 50",
    "-E -t 10.1.0.1:80 -s lc -p 99 -M 255.0.0.0",
    "-E -f 7 -s mh",
    "-a -t 10.1.0.1:80 -r 10.0.0.9:9 -m -w 9",
    "-e -t 10.1.0.1:80 -r 10.0.0.2:80 -m -w 9 -x 7 -y 3",
    "-e -f 7 -r 10.0.0.2:80 -i",
    "-d -t 10.1.0.1:80 -r 10.0.0.2:80",
    "-d -u 10.1.0.1:80 -r 10.0.0.3:80",
]


@st.composite
def virtual_servers(draw: st.DrawFn) -> list[dict[str, Any]]:
    fronts = draw(st.lists(st.sampled_from(FRONTS), max_size=4, unique_by=str))
    return [{**front, **draw(options("fd00" in str(front) or "ipv6" in str(front)))} for front in fronts]


@st.composite
def options(draw: st.DrawFn, ipv6: bool) -> dict[str, Any]:
    scheduler = draw(st.sampled_from(["rr", "wlc", "sh", "mh"]))
    flags = {"sh": ["sh-port"], "mh": ["mh-fallback", "mh-port"]}.get(scheduler, ["flag-2"])
    numbers = draw(st.lists(st.sampled_from([2, 3, 4]), unique=True, max_size=3))
    return {
        "scheduler": scheduler,
        "flags": draw(st.sampled_from([[], flags])),
        **draw(
            st.sampled_from([{}, {"persistence_timeout": 60}, {"persistence_timeout": 9, "persistence_netmask": 24}])
        ),
        "real_servers": [
            {
                "address": ("fd00::%d" if ipv6 else "10.0.0.%d") % number,
                "forward": draw(st.sampled_from(["masquerade", "direct", "tunnel"])),
                "port": 80,
                "weight": draw(st.integers(0, 3)),
                **draw(st.sampled_from([{}, {"upper_threshold": 9}, {"upper_threshold": 9, "lower_threshold": 5}])),
            }
            for number in numbers
        ],
    }


STEPS = st.lists(
    st.tuples(st.lists(st.sampled_from(EDITS), max_size=3), virtual_servers(), st.booleans(), st.sampled_from([0, 60])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_after_each_step_the_node_is_as_declared(
    steps: list[tuple[list[str], list[dict[str, Any]], bool, int]],
) -> None:
    with fresh_network():
        run(["ip", "link", "set", "lo", "up"])
        for edits, servers, absent, drain in steps:
            for edit in edits:
                run(["ipvsadm", *edit.split()], check=False)
            run(["ipvsadm", "-R"], FOREIGN, check=False)
            converge(virtual_servers=servers, state="absent" if absent else "present", drain=drain, **SCOPE)
            want = [] if absent else parse_virtual_servers(servers, Scope())
            assert exact() == render([*want, *parse(FOREIGN)])
            assert all(OURS.holds(virtual.front) for virtual in want)
