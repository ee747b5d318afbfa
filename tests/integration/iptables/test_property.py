# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of declared states, with somebody else at work between them: after each the node is as declared.

The expected rules come from iptables-restore, which loads the declared text into another namespace.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    Firewall,
    chains_of,
    fresh_network,
    module,
    without_empty_tables,
    without_ours,
)
from ansible_collections.homelab.loadbalancer.tests.integration.random_examples import try_examples

EXAMPLES = 25
HOOKS = {
    "raw": ["PREROUTING", "OUTPUT"],
    "mangle": ["PREROUTING", "FORWARD", "POSTROUTING"],
    "nat": ["PREROUTING", "OUTPUT", "POSTROUTING"],
    "filter": ["INPUT", "FORWARD", "OUTPUT"],
}
NAMES = ["LB-A", "LB-B", "LB-C", "LB-D"]
THEIRS = ["THEIRS", "DOCKER-USER"]  # chains of others, made in each table when first needed
PLAIN = [
    "",
    "-j RETURN",
    "-p tcp --dport 80 -j ACCEPT",
    "-p TCP --dport http -j ACCEPT",
    "-m tcp -p tcp --sport 1024:  -j RETURN",
    "-p udp --dport domain",
    "-p tcp -m multiport --dports 80,443 -j RETURN",
    "-m conntrack --ctstate ESTABLISHED,NEW -j ACCEPT",
    "-m addrtype --dst-type LOCAL -j RETURN",
    '-m comment --comment "not -j LB-A" -j RETURN',
    "-m limit --limit 5/minute -j RETURN",
    "-m statistic --mode random --probability 0.33 -j RETURN",
    "-m recent --name web --set",
    "-m mark --mark 1 -j RETURN",
    "-i eth+ -j ACCEPT",
]
SPECIAL = {
    "raw": ["-p udp -j CT --notrack"],
    "mangle": ["-j MARK --set-mark 16", "-p tcp --syn -j TCPMSS --set-mss 1400"],
    # Nothing that only some hooks of nat have: any chain may be led to from any of them.
    "nat": ["-j MARK --or-mark 0x10"],
    "filter": ["-j REJECT", "-j DROP"],
}
MATCHES = [
    "",
    "-p tcp",
    "-p udp --dport 53",
    "-m addrtype --src-type LOCAL",
    '-m comment --comment "ours -j THEIRS"',
    "-m mark --mark 7",
]
ADDRESSES = {
    "ipv4": ["-s 10.0.0.7", "-d 10.1.0.0/255.255.0.0", "-s 10.0.0.0/8,192.168.0.0/16"],
    "ipv6": ["-s fd00::7", "-d FD00:1::/64", "-s fd00::/64,fd01::/64"],
}


@st.composite
def contents(draw: st.DrawFn, table: str, family: str) -> dict[str, Any]:
    """The declared content of one table."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4).map(sorted))
    chains: dict[str, list[str]] = {}
    for i, name in enumerate(names):
        leads = ["-j %s" % below for below in names[i + 1 :]] + ["-p tcp -g %s" % below for below in names[i + 1 :]]
        addresses = ["%s -j RETURN" % address for address in ADDRESSES[family]]
        chains[name] = draw(st.lists(st.sampled_from(PLAIN + SPECIAL[table] + addresses + leads), max_size=4))
    jumps: dict[str, Any] = {}
    hosts = st.lists(st.sampled_from(HOOKS[table] + THEIRS), unique=True, max_size=2)
    for host in draw(hosts) if names else []:
        jumps[host] = draw(st.lists(entries(names), max_size=3))
    return {"chains": chains, "jumps": jumps}


@st.composite
def entries(draw: st.DrawFn, names: list[str]) -> dict[str, str]:
    """A jump. Where it shall stand beside a rule of others, there is one: `-j ACCEPT`, by the model."""
    rule = "%s -%s %s" % (draw(st.sampled_from(MATCHES)), draw(st.sampled_from("jg")), draw(st.sampled_from(names)))
    where = draw(
        st.sampled_from([{}, {"position": "first"}, {"position": "last"}, {"before": "ACCEPT"}, {"after": "ACCEPT"}])
    )
    return {"rule": rule, **where}


@st.composite
def edits(draw: st.DrawFn, family: str) -> tuple[str, str, int, str]:
    """What somebody else does: a table, a chain, a place in it, and a rule, or none to take one out."""
    table = draw(st.sampled_from(list(HOOKS)))
    chain = draw(st.sampled_from(HOOKS[table] + THEIRS))
    rules = ["-p tcp -m tcp --dport %d -j ACCEPT" % port for port in (22, 443)] + ["-j THEIRS", "-j RETURN", ""]
    rule = draw(st.sampled_from(rules if chain not in THEIRS else [*rules[:2], rules[3], ""]))
    return table, chain, draw(st.integers(0, 5)), rule


@st.composite
def steps(draw: st.DrawFn, family: str) -> dict[str, Any]:
    tables = draw(st.lists(st.sampled_from(list(HOOKS)), unique=True, max_size=4))
    return {
        "edits": draw(st.lists(edits(family), max_size=3)),
        "tables": {table: draw(contents(table, family)) for table in tables},
        "absent": draw(st.integers(0, 5)) == 0,
        "diff": draw(st.booleans()),
    }


class Model:
    """What others have on the node, and what it is with a declaration added; built by iptables-restore."""

    def __init__(self, firewall: Firewall) -> None:
        self.firewall = firewall
        self.chains: dict[tuple[str, str], list[str]] = {
            (table, chain): [] for table, hooks in HOOKS.items() for chain in hooks + THEIRS
        }

    def start(self) -> None:
        """Chains of others, and rules of theirs that jumps may stand beside."""
        for theirs in self.chains.values():
            theirs += ["-p udp -m udp --dport 9 -j ACCEPT", "-j RETURN", "-p udp -m udp --dport 7 -j ACCEPT"]
        self.write({})

    def edit(self, table: str, chain: str, place: int, rule: str) -> None:
        """Edit the node by hand, beside whatever of ours is there."""
        theirs = self.chains[table, chain]
        if rule:
            before = self.firewall.chains()["%s %s" % (table, chain)][:place]
            self.firewall("-I %s %d %s" % (chain, len(before) + 1, rule), table)
            theirs.insert(sum("LB-" not in kept for kept in before), rule)
        elif theirs:
            gone = theirs[place % len(theirs)]
            self.firewall("-D %s %s" % (chain, gone), table)
            theirs.remove(gone)

    def anchored(self, tables: dict[str, Any]) -> dict[str, Any]:
        """A declaration without the jumps that stand beside a rule that is not there."""
        return {
            table: {
                "chains": content["chains"],
                "jumps": {
                    host: [
                        entry
                        for entry in jumps
                        if not ({"before", "after"} & set(entry))
                        or any(rule.endswith("-j ACCEPT") for rule in self.chains[table, host])
                    ]
                    for host, jumps in content["jumps"].items()
                },
            }
            for table, content in tables.items()
        }

    def write(self, tables: dict[str, Any]) -> None:
        """Write the rules of others and those declared into an empty node, as a user of iptables-restore types them."""
        text = ""
        for table, hooks in HOOKS.items():
            content = tables.get(table, {"chains": {}, "jumps": {}})
            lines = dict(content["chains"])
            for chain in hooks + THEIRS:
                lines[chain] = with_jumps(self.chains[table, chain], content["jumps"].get(chain, []))
            text += "*%s\n" % table + "".join(":%s -\n" % chain for chain in lines if chain not in hooks)
            text += "".join("-A %s %s\n" % (chain, rule) for chain, rules in lines.items() for rule in rules)
            text += "COMMIT\n"
        run([self.firewall.command + "-restore", "--noflush"], text)

    def written_by_hand(self, tables: dict[str, Any]) -> dict[str, list[str]]:
        """All chains of a node that has the rules of others and those declared."""
        with fresh_network():
            self.write(tables)
            return self.firewall.chains()


def with_jumps(theirs: list[str], jumps: list[dict[str, str]]) -> list[str]:
    """A chain of others with jumps put in, one kind after the other."""
    plain = [jump for jump in jumps if "before" not in jump and "after" not in jump]
    result = list(theirs)
    accepts = [i for i, rule in enumerate(theirs) if rule.endswith("-j ACCEPT")]
    if accepts:
        result[accepts[-1] + 1 : accepts[-1] + 1] = [jump["rule"] for jump in jumps if "after" in jump]
        result[accepts[0] : accepts[0]] = [jump["rule"] for jump in jumps if "before" in jump]
    first = [jump["rule"] for jump in plain if jump.get("position", "first") == "first"]
    return first + result + [jump["rule"] for jump in plain if jump.get("position") == "last"]


def take_step(model: Model, step: dict[str, Any]) -> None:
    """Others edit the node, then a state is declared: predicted, carried out, held against the model, repeated."""
    firewall = model.firewall
    for edit in step["edits"]:
        model.edit(*edit)
    tables = {} if step["absent"] else model.anchored(step["tables"])
    named: dict[str, Any] = {table: {"jumps": {chain: [] for chain in THEIRS}} for table in HOOKS}
    for table, content in tables.items():
        named[table] = {"chains": content["chains"], "jumps": {**named[table]["jumps"], **content["jumps"]}}
    options = {
        "backend": firewall.backend,
        "family": firewall.family,
        "prefix": "LB-",
        "tables": named,
        "state": "absent" if step["absent"] else "present",
    }
    before = firewall.save(counters=True)
    predicted = module("iptables_chains", check_mode=True, **options)
    assert not predicted.get("failed"), predicted["msg"]
    assert firewall.save(counters=True) == before
    result = module("iptables_chains", diff=step["diff"], **options)
    if not step["diff"]:
        predicted.pop("diff")
    assert result == predicted
    after = firewall.save(counters=True)
    assert without_ours(after, "LB-") == without_ours(before, "LB-")
    expected, found = model.written_by_hand(tables), chains_of(after)
    assert {name: rules for name, rules in found.items() if rules or " LB-" in name} == {
        name: rules for name, rules in expected.items() if rules or " LB-" in name
    }
    assert result["changed"] == (without_empty_tables(after) != without_empty_tables(before))
    again = module("iptables_chains", diff=False, **options)
    assert not again["changed"]
    assert firewall.save(counters=True) == after


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_random_sequences_of_states(backend: str, family: str) -> None:
    def sequence(states: list[dict[str, Any]]) -> None:
        with fresh_network():
            model = Model(Firewall(backend, family))
            model.start()
            for step in states:
                take_step(model, step)
            take_step(model, {"edits": [], "tables": {}, "absent": True, "diff": True})

    try_examples(EXAMPLES, st.lists(steps(family), min_size=1, max_size=5), sequence)
