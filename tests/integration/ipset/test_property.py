# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of declared sets, with somebody else at work between them: after each the node is as declared.

What is declared is known by another way: written entry by entry with plain `ipset add` into another namespace.
"""

from __future__ import annotations

import shlex
from typing import Any

from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipset import node as ipset_tool
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipset.input import parse_sets
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipset.plan import make_plan
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network
from ansible_collections.homelab.loadbalancer.tests.integration.random_examples import try_examples
from ansible_collections.homelab.loadbalancer.tests.integration.sets import converge, entries, ipset, lines

EXAMPLES = 12
# By type: entries in their many spellings, some of which mean the same.
ENTRIES = {
    "hash:ip": ["10.0.0.1", "10.0.0.1/32", "10.0.0.0/30", "10.0.0.2-10.0.0.5", "10.0.0.200", "10.0.1.0/24"],
    "hash:net": ["10.0.0.1/24", "10.0.0.0/24 nomatch", "10.0.0.0-10.0.0.9", "11.0.0.0/8", "128.0.0.0/1"],
    "hash:ip,port": ["10.0.0.1,80", "10.0.0.1,http", "10.0.0.1,tcp:79-81", "10.0.0.0/30,udp:53", "10.0.0.1,sctp:80"],
    "bitmap:port": ["http", "80", "78-82", "tcp:22", "1000"],
    "list:set": ["LB-A", "LB-C", "THEIRS", "MORE", "LB-A before LB-C"],
}
EXTRAS = {
    "timeout": [" timeout 0", " timeout 900"],
    "comment": [' comment "a b"', ' comment "add LB-A timeout 7 packets 1 bytes 2"'],
    "counters": [],
}


@st.composite
def declared(draw: st.DrawFn, name: str, kinds: list[str]) -> dict[str, Any]:
    kind = draw(st.sampled_from(kinds))
    options = {key: draw(st.booleans()) for key in EXTRAS} if kind != "list:set" else {}
    chosen = draw(st.lists(st.sampled_from(ENTRIES[kind]), max_size=5))
    extras = [extra for key, on in options.items() if on for extra in ["", *EXTRAS[key]]] or [""]
    plain = draw(st.booleans())
    result: dict[str, Any] = {
        "name": name,
        "type": kind,
        "entries": [entry + ("" if plain else draw(st.sampled_from(extras))) for entry in chosen],
        **{key: True for key in ("comment", "counters") if options.get(key)},
        **({"timeout": 1000} if options.get("timeout") else {}),
        **({"range": "0-1023"} if kind == "bitmap:port" else {}),
    }
    if kind == "list:set":
        result["entries"] = list(dict.fromkeys(entry for entry in chosen if "before" not in entry))
        if "LB-C" in result["entries"] and "LB-A" not in result["entries"] and draw(st.booleans()):
            result["entries"].append("LB-A before LB-C")
    return result


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    # What a list may hold keeps its type.
    kinds = {"LB-A": ["hash:ip"], "LB-B": ["hash:net", "hash:ip,port"], "LB-C": ["bitmap:port"]}
    sets = [draw(declared(name, of)) for name, of in kinds.items() if name != "LB-B" or draw(st.booleans())]
    if draw(st.booleans()):
        sets.append(draw(declared("LB-L", ["list:set"])))
    return {
        "sets": draw(st.permutations(sets)),
        "shared": draw(st.lists(st.sampled_from(ENTRIES["hash:ip"]), max_size=3)),
        "theirs": draw(st.lists(st.sampled_from(ENTRIES["hash:ip"]), max_size=3)),
        "absent": draw(st.integers(0, 4)) == 0,
        "cut": draw(st.one_of(st.none(), st.integers(0, 30))),
    }


def by_hand(sets: list[dict[str, Any]], shared: list[str]) -> list[str]:
    """What the sets would be saved as, had somebody typed them in."""
    with fresh_network():
        foreign()
        for each in sorted(sets, key=lambda each: each["type"] == "list:set"):
            options = [key if each[key] is True else "%s %s" % (key, each[key]) for key in each if key in EXTRAS]
            options += ["range %s" % each["range"]] if "range" in each else []
            run(["ipset", "create", each["name"], each["type"], *" ".join(options).split()])
            for entry in each["entries"]:
                run(["ipset", "-exist", "add", each["name"], *shlex.split(entry)])
        for entry in shared:
            ipset("-exist add SHARED " + entry)
        return lines()


def foreign() -> None:
    for name in ("THEIRS", "MORE", "SHARED"):
        ipset("create %s hash:ip" % name)
    ipset("add THEIRS 192.0.2.1")


def interrupt(step: dict[str, Any]) -> None:
    """Leave the node as a run does that was killed after so many lines."""
    plan = make_plan(parse_sets(step["sets"], present=True), "LB-")
    ipset_tool.restore(plan.edits.lines[: step["cut"]])


def take_step(step: dict[str, Any]) -> None:
    """Others edit the set they share, then a state is declared: predicted, carried out, compared, repeated."""
    for entry in step["theirs"]:
        ipset("-exist add SHARED " + entry)
    if step["theirs"]:
        ipset("-exist del SHARED " + step["theirs"][0])
        ipset("-exist add THEIRS 192.0.2.%d" % len(step["theirs"]))
    if step["cut"] is not None:
        interrupt(step)
    theirs = lines()
    standing = entries("SHARED")
    shared = {"name": "SHARED", "type": "hash:ip", "append": True, "entries": step["shared"]}
    sets = [] if step["absent"] else step["sets"]
    converge(prefix="LB-", sets=[*sets, shared])
    expected = [line for line in by_hand(sets, [*standing, *step["shared"]]) if " THEIRS" not in line[:11]]
    others = [line for line in theirs if line.startswith(("add THEIRS ", "create THEIRS "))]
    found = lines()
    lists = {each["name"]: entries(each["name"]) for each in sets if each["type"] == "list:set"}
    assert found == sorted([line for line in expected if not line.startswith("create THEIRS")] + others)
    for each in sets:
        if each["type"] == "list:set" and "LB-A before LB-C" not in each["entries"]:
            assert lists[each["name"]] == each["entries"]


def test_random_sequences_of_states() -> None:
    def sequence(states: list[dict[str, Any]]) -> None:
        with fresh_network():
            foreign()
            for step in states:
                take_step(step)
            take_step({"sets": [], "shared": [], "theirs": [], "absent": True, "cut": None})

    try_examples(EXAMPLES, st.lists(steps(), min_size=1, max_size=5), sequence)
