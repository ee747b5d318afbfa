# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of `ipset list -terse`. Pure."""

from __future__ import annotations


def set_facts(text: str) -> dict[str, dict[str, str]]:
    """The facts of each set, by set name, with the output's own keys: Type, Header, References."""
    found = {}
    for block in text.split("\n\n"):
        facts = dict(line.split(": ", 1) for line in block.strip().splitlines() if ": " in line)
        if "Name" in facts:
            found[facts["Name"]] = facts
    return found


def set_header(facts: dict[str, str]) -> str:
    """A set's type and options, as in `create` after its name."""
    return ("%s %s" % (facts["Type"], facts.get("Header", ""))).rstrip()
