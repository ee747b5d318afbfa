# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's ipsets: the sets, the rules that use them, and an empty network namespace for trials."""

from __future__ import annotations

import re
from typing import Iterable, Sequence

from .._common.command import CommandError, Completed, run
from .._common.errors import NodeError, NotInstalledError
from .._common.network import new_network
from .._iptables.node import Iptables
from .model import Sets, parse_headers, parse_save

_NOISE = re.compile(r"^ipset v[\d.]+: (Error in line (\d+): )?")


def headers() -> Sets:
    """All sets of the node, without their entries."""
    try:
        return parse_headers(run(["ipset", "list", "-terse"]).out)
    except CommandError as error:
        if error.completed.rc == 127:
            raise NotInstalledError("ipset is not installed: install the package ipset", "ipset") from error
        raise NodeError(
            "the sets of this node cannot be read: %s. That needs root, and a kernel with the module ip_set"
            % reason(error.completed.err)
        ) from error


def read(sets: Sets) -> Sets:
    """Read the entries of these sets, which headers() has found."""
    found = parse_save(restore(["save " + name for name in sets]).out) if sets else {}
    return {name: live._replace(references=sets[name].references) for name, live in found.items()}


def restore(lines: Iterable[str]) -> Completed:
    """Load lines; the caller checks the exit code. Lines before a refused one stay in effect."""
    return run(["ipset", "-exist", "restore"], "\n".join([*lines, ""]), check=False)


def restore_aside(lines: Iterable[str]) -> Completed:
    """The same in a temporary empty network namespace."""
    with new_network():
        return restore(lines)


def first_refused(lines: Sequence[str], said: str) -> int:
    """The index, from 0, of the refused line: from ipset's message, or else found by loading fewer and fewer lines."""
    found = _NOISE.match(said)
    if found and found.group(2):
        return int(found.group(2)) - 1
    good, count = 0, len(lines)
    while count - good > 1:
        middle = (good + count) // 2
        if restore_aside(lines[:middle]).rc == 0:
            good = middle
        else:
            count = middle
    return count - 1


def reason(said: str) -> str:
    """ipset's message without its program name and our line number."""
    lines = [_NOISE.sub("", line).strip() for line in said.splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("Try `")) or "it gives no reason"


def kernel_module(header: str) -> str:
    """The kernel module of a set type."""
    method, dummy, what = header.split(" ", 1)[0].partition(":")
    return "ip_set_%s_%s" % (method, what.replace(",", ""))


def rules_with(name: str) -> list[str]:
    """The iptables rules, of either family and backend, that match against a set or add to it."""
    pattern = re.compile(r"--(?:match|add|del|map)-set %s " % re.escape(name))
    found = []
    for family in ("ipv4", "ipv6"):
        for backend in ("nft", "legacy"):
            try:
                tool = Iptables(family, backend)
            except NodeError:
                continue
            if backend == "legacy" and not tool.legacy_tables():
                continue  # listing the rules would only load the kernel's modules
            ruleset = tool.save()
            found += ["that `nft list table %s` may show" % tool.nft_name(table) for table in tool.unshown]
            for table, content in ruleset.items():
                for chain, rules in content.chains.items():
                    command = "%s -t %s -A %s" % (tool.command, table, chain)
                    found += ["`%s %s`" % (command, rule) for rule in rules if pattern.search(rule + " ")]
    return found
