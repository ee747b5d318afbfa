# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the links of a node and change their addresses, with iproute2 (`ip -json` and `ip -batch`)."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
from typing import Any, Iterator, Mapping, Sequence

from .._common.command import CommandError, ask, run
from .._common.errors import InputError, NodeError
from .input import IPAddress
from .neighbor import announce, probe
from .plan import Added, Address, Link, State, Step, Want, plan

_NO_DUMMY = (
    "this kernel has no dummy links. They are in its module `dummy` (try: modprobe dummy), which some packages leave "
    "out: Debian has it in linux-image-amd64, Ubuntu in linux-modules-extra-%(release)s, Fedora and RHEL in "
    "kernel-modules-core or kernel-modules; a container uses the kernel of its host"
)


class ApplyError(NodeError):
    """The kernel refused a step. The earlier steps were undone, unless the text says something else."""


class Change:
    """The change of a node's addresses, planned when it is constructed. Its two parts are applied one after the other.

    ask -- refuse an address that another host on the link has
    tell -- announce added addresses
    """

    def __init__(self, want: Want, ask: bool, tell: bool) -> None:
        self.have = read_state(want.interface)
        self.plan = plan(self.have, want)
        self.warnings = list(self.plan.warnings)
        link = self.have.links.get(want.interface)
        # A dummy link has no neighbours, and neither has a link that does not exist yet.
        reachable = link if link is not None and link.has_neighbours and self.plan.added else None
        if reachable and reachable.silent and (ask or tell):
            self.warnings.append(
                "%s %s: no other host could be asked whether it has the addresses, or be told of them"
                % (reachable.name, reachable.silent)
            )
            reachable = None
        if ask and reachable:
            refuse_claimed(reachable, {other.mac for other in self.have.links.values()}, self.plan.added)
        self._told = reachable if tell else None

    @property
    def changed(self) -> bool:
        return bool(self.plan.steps)

    def diff(self) -> dict[str, str]:
        return {"before": self.plan.before, "after": self.plan.after}

    def remove(self) -> None:
        """Remove the undeclared addresses, or none of them."""
        apply(self.plan.removals, self.plan.promote)

    def undo_remove(self) -> None:
        undo(self.plan.removals)

    def add(self) -> None:
        """Make the other changes, or none of them."""
        apply(self.plan.additions, self.plan.promote)

    def undo_add(self) -> None:
        undo(self.plan.additions)

    def announce(self) -> list[str]:
        """Announce the added addresses. Returns warnings."""
        return _tell(self._told, [new.address.ip for new in self.plan.added]) if self._told else []


def converge(want: Want, check_mode: bool, ask: bool, tell: bool) -> dict[str, Any]:
    """Bring the node to the declared state, or only predict it. Returns the module's result with its warnings."""
    change = Change(want, ask, tell)
    todo = change.plan
    if not check_mode:
        try:
            apply(todo.steps, todo.promote)
        except NodeError as error:
            rest = differences(change.have, read_state("")) or ["nothing was changed"]
            raise ApplyError("%s (%s)" % (error, "; ".join(rest))) from error
        change.warnings += change.announce()
    return {
        "changed": change.changed,
        "interface": want.interface,
        "added": [str(new.address) for new in todo.added],
        "removed": [str(address) for address in todo.removed],
        "batch": list(todo.batch),
        "diff": change.diff(),
        "warnings": change.warnings,
    }


def read_state(interface: str) -> State:
    """The node's links and their addresses, read once."""
    listed = json.loads(ask(["ip", "-details", "-json", "address", "show"]) or "[]", strict=False)
    links = [read_link(entry) for entry in listed if "ifname" in entry]
    by_name = {link.name: link for link in links}
    folder = interface if interface in by_name else "default"
    return State(by_name, _sysctl("ipv6", folder, "disable_ipv6") == "0")


def read_link(entry: Mapping[str, Any]) -> Link:
    """One link in the output of `ip -details -json address show`."""
    info = entry.get("linkinfo") or {}
    return Link(
        name=entry["ifname"],
        addresses=tuple(
            Address(ipaddress.ip_address(found["local"]), found["prefixlen"], found.get("metric", 0))
            for found in entry.get("addr_info", [])
            if "local" in found
        ),
        flags=frozenset(entry.get("flags", [])),
        kind=info.get("info_kind", ""),
        ether=entry.get("link_type") == "ether",
        mac=entry.get("address", ""),
        alias=entry.get("ifalias", ""),
        port_of=entry.get("master", "") if info.get("info_slave_kind") in ("bridge", "bond", "team") else "",
    )


def refuse_claimed(link: Link, own: set[str], added: Sequence[Added]) -> None:
    """InputError when another host on the link has one of the addresses to be added."""
    claimed = probe(link.name, link.mac, own, [new.address.ip for new in added])
    conflicts = [
        "%s is in use by another host on %s, %s" % (entry, link.name, claimed[address.ip])
        for entry, address in added
        if address.ip in claimed
    ]
    if conflicts:
        raise InputError("; ".join(conflicts) + ": declare another address, or take it from that host first")


def _tell(link: Link, addresses: Sequence[IPAddress]) -> list[str]:
    try:
        announce(link.name, link.mac, addresses, router=_sysctl("ipv6", link.name, "forwarding") == "1")
    except OSError as error:
        # The addresses are in place. The other hosts learn of them when their caches expire.
        return ["the addresses are on %s but could not be announced: %s" % (link.name, error)]
    return []


def apply(steps: Sequence[Step], promote: Sequence[str]) -> None:
    """Make all steps or none. ApplyError names the one that the kernel refused.

    promote -- links that keep the secondary addresses of a removed address
    """
    if not steps:
        return
    if any(step.do.endswith(" type dummy") for step in steps):
        load_dummy()
    with _promoted(promote):
        done = run(["ip", "-batch", "-"], stdin=_lines([step.do for step in steps]), check=False)
        if done.rc == 0:
            return
        # ip names the failed line as in `Command failed -:3`. Without such a line, it read nothing at all.
        found = re.search(r"^Command failed .*:(\d+)\s*$", done.err, re.MULTILINE)
        failed = int(found.group(1)) - 1 if found else 0
        said = re.sub(r"^Command failed .*\n?", "", done.err, flags=re.MULTILINE).strip()
        refusal = _refusal(steps[failed], said)
        try:
            undo(steps[:failed])
        except NodeError as error:
            raise ApplyError("%s; %s" % (refusal, error)) from error
    raise ApplyError(refusal)


def undo(steps: Sequence[Step]) -> None:
    """Undo steps that have been made."""
    lines = [line for step in reversed(steps) for line in step.undo]
    undone = run(["ip", "-force", "-batch", "-"], stdin=_lines(lines), check=False) if lines else None
    if undone is not None and undone.rc != 0:
        raise ApplyError("taking back what was done failed too: %s" % undone.err.strip())


def differences(before: State, after: State) -> list[str]:
    """The changes of links and addresses, in words. Link-local addresses are left out: the kernel manages them."""
    said = []
    for name in sorted({*before.links, *after.links}):
        if name not in after.links or name not in before.links:
            said.append("the link %s is %s" % (name, "there now" if name in after.links else "gone"))
            continue
        old, new = _listed(before.links[name]), _listed(after.links[name])
        lost, more = [each for each in old if each not in new], [each for each in new if each not in old]
        said += ["%s has lost %s" % (name, ", ".join(lost))] if lost else []
        said += ["%s has %s besides" % (name, ", ".join(more))] if more else []
        if old != new and not lost and not more:
            said.append("%s has its addresses in another order: %s" % (name, ", ".join(new)))
    return said


def _listed(link: Link) -> list[str]:
    return [str(address) for address in link.addresses if not address.ip.is_link_local]


def _refusal(step: Step, said: str) -> str:
    if step.do.endswith(" type dummy") and re.search("Unknown device type|not supported", said):
        return "%s: %s" % (step.entry, _NO_DUMMY % {"release": os.uname().release})
    return "%sip %s: %s" % (step.entry and step.entry + ": ", step.do, said)


def load_dummy() -> None:
    """Load the module first. If the kernel loads it by itself, it creates an undeclared dummy0."""
    with contextlib.suppress(CommandError):
        run(["modprobe", "--quiet", "dummy", "numdummies=0"], check=False)


@contextlib.contextmanager
def _promoted(links: Sequence[str]) -> Iterator[None]:
    """Turn on promote_secondaries on the links while addresses are removed.

    Without it, removing a link's first IPv4 address of a network also removes its other addresses of that network. With
    it, they stay, and the next one becomes the first.
    """
    off = _sysctl("ipv4", "all", "promote_secondaries") == "0"
    changed: list[str] = []
    try:
        for link in [link for link in links if off and _sysctl("ipv4", link, "promote_secondaries") == "0"]:
            try:
                _set_sysctl("ipv4", link, "promote_secondaries", "1")
            except OSError as error:
                raise InputError(
                    "an address cannot be removed from %s without others of its network, which the kernel would remove "
                    "too: net.ipv4.conf.%s.promote_secondaries is 0 and cannot be set here (%s). Set it to 1 first"
                    % (link, link, error.strerror)
                ) from error
            changed.append(link)
        yield
    finally:
        for link in changed:
            # A dummy link is removed together with its last address.
            with contextlib.suppress(FileNotFoundError):
                _set_sysctl("ipv4", link, "promote_secondaries", "0")


def _sysctl(family: str, link: str, name: str) -> str:
    """A link's setting. Empty if the kernel does not have it (no IPv6, or a link without the setting)."""
    try:
        with open("/proc/sys/net/%s/conf/%s/%s" % (family, link, name), encoding="ascii") as setting:
            return setting.read().strip()
    except OSError:
        return ""


def _set_sysctl(family: str, link: str, name: str, value: str) -> None:
    with open("/proc/sys/net/%s/conf/%s/%s" % (family, link, name), "w", encoding="ascii") as setting:
        setting.write(value)


def _lines(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)
