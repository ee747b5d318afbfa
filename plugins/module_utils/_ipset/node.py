# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ipset of a node: its sets, who uses them, and an empty network namespace to try others in."""

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
            raise NotInstalledError("ipset is not installed: install the package ipset") from error
        raise NodeError(
            "the sets of this node cannot be read: %s. That needs root, and a kernel with the module ip_set"
            % reason(error.completed.err)
        ) from error


def read(sets: Sets) -> Sets:
    """These sets, which headers() has found, with their entries."""
    found = parse_save(restore(["save " + name for name in sets]).out) if sets else {}
    return {name: live._replace(references=sets[name].references) for name, live in found.items()}


def restore(lines: Iterable[str]) -> Completed:
    """Load lines; the caller looks at the exit code. What came before a line that is refused is not taken back."""
    return run(["ipset", "-exist", "restore"], "\n".join([*lines, ""]), check=False)


def restore_aside(lines: Iterable[str]) -> Completed:
    """The same in an empty network namespace of our own, which is gone afterwards."""
    with new_network():
        return restore(lines)


def first_refused(lines: Sequence[str], said: str) -> int:
    """The number, from 0, of the line that is refused: as ipset tells it, or else found by loading ever fewer."""
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
    """What ipset said, less its own name and the number of a line of ours."""
    lines = [_NOISE.sub("", line).strip() for line in said.splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("Try `")) or "it gives no reason"


def kernel_module(header: str) -> str:
    """The kernel module of a set's type."""
    method, dummy, what = header.split(" ", 1)[0].partition(":")
    return "ip_set_%s_%s" % (method, what.replace(",", ""))


def rules_with(name: str) -> list[str]:
    """The iptables rules of either family and backend that look at a set or fill it."""
    pattern = re.compile(r"--(?:match|add|del|map)-set %s " % re.escape(name))
    found = []
    for family in ("ipv4", "ipv6"):
        for backend in ("nft", "legacy"):
            try:
                tool = Iptables(family, backend)
            except NodeError:
                continue
            if backend == "legacy" and not tool.legacy_tables():
                continue  # asking would only load the kernel's modules
            ruleset = tool.save()
            found += ["that `nft list table %s` may show" % tool.nft_name(table) for table in tool.unshown]
            for table, content in ruleset.items():
                for chain, rules in content.chains.items():
                    command = "%s -t %s -A %s" % (tool.command, table, chain)
                    found += ["`%s %s`" % (command, rule) for rule in rules if pattern.search(rule + " ")]
    return found
