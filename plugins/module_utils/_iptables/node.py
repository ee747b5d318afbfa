# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's iptables: its backend, and its save and restore."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from typing import Collection, Iterator, Mapping

from .._common.command import CommandError, Completed, run
from .._common.errors import InputError, NodeError, NotInstalledError
from .._common.network import new_network
from .._common.set_list import set_facts, set_header
from .._nftables import table as nft_table
from .rules import TABLES, Ruleset, parse_save, unshown, with_other_hooks

_LOCK_HELD = 4  # iptables(8), exit code "resource problem"


class LockError(NodeError):
    """Another program holds the xtables lock."""


class Iptables:
    """One family's iptables on this node.

    family -- ipv4 | ipv6
    backend -- auto | nft | legacy; auto is the backend of the node's own command
    wait -- seconds to wait for the xtables lock, which only the legacy backend takes
    sets -- lines for `ipset restore` that make the planned sets, by their names

    After save(), `unshown` names the tables that it could not show, and `other_hooks` those shown only in part.
    """

    def __init__(
        self, family: str, backend: str = "auto", wait: int = 30, sets: Mapping[str, str] | None = None
    ) -> None:
        if wait < 1:  # iptables 1.8.9 waits for ever with 0, and without the option too
            raise InputError("wait %d is too short: write 1 second at least" % wait)
        self.family = family
        self.wait = wait
        self._sets = sets or {}
        self.unshown: list[str] = []
        self.other_hooks: list[str] = []
        self._family_command = "iptables" if family == "ipv4" else "ip6tables"
        plain, self.version = self._ask(self._family_command)
        if backend in ("auto", plain):
            if not plain:
                raise NotInstalledError(
                    "%s is not installed: install the package iptables" % self._family_command, "iptables"
                )
            self.backend, self.command = plain, self._family_command
        else:
            self.command = self.command_of(backend)
            self.backend, self.version = self._ask(self.command)
            if not plain and not self.backend:
                raise NotInstalledError("%s is not installed: install the package iptables" % self.command, "iptables")
            if self.backend != backend:
                raise NodeError(
                    "backend %s needs %s, which is not installed; the node's own backend is %s"
                    % (backend, self.command, plain or "none")
                )

    def _ask(self, command: str) -> tuple[str, str]:
        """The backend and version of a command, or empty strings if the command does not exist."""
        try:
            said = run([command, "--version"]).out
        except CommandError as error:
            if error.completed.rc == 127:
                return "", ""
            raise
        found = re.search(r"v(\S+)(?: \((\w+)\))?", said)
        if not found or found.group(2) not in (None, "legacy", "nf_tables"):
            raise NodeError(
                "%s says %r, which names no known backend: set the option backend to nft or legacy" % (command, said)
            )
        return ("nft" if found.group(2) == "nf_tables" else "legacy"), found.group(1)

    def command_of(self, backend: str) -> str:
        """The backend's command, by iptables' own name for it."""
        return "%s-%s" % (self._family_command, backend)

    @property
    def restore_command(self) -> list[str]:
        """The command that adds rules to the existing ones, and waits for the lock."""
        return [self.command + "-restore", "--noflush", "--wait", str(self.wait)]

    @property
    def name(self) -> str:
        """The command's own version line: `iptables v1.8.9 (nf_tables)`."""
        return "%s v%s (%s)" % (
            self._family_command,
            self.version,
            {"nft": "nf_tables"}.get(self.backend, self.backend),
        )

    def save(self, prefix: str = "", tables: Collection[str] = ()) -> Ruleset:
        """The rules of all tables in use.

        Raises NodeError if a table cannot be shown that is in `tables` or has chains that begin with the prefix.
        """
        text = run([self.command + "-save"]).out
        self.unshown, self.other_hooks = unshown(text), with_other_hooks(text)
        for table in self.unshown if prefix else ():
            if table in tables or any(name.startswith(prefix) for name in nft_table.chains(self.family, table)):
                raise NodeError(
                    "%s cannot show the table %s of this node, because it holds nftables rules that iptables does not "
                    "know: list them with `nft list table %s`, and move them into a table with another name, such as "
                    "`inet site`" % (self.name, table, self.nft_name(table))
                )
        return parse_save(text)

    def nft_name(self, table: str) -> str:
        """nft's name of a table."""
        return "%s %s" % ({"ipv4": "ip", "ipv6": "ip6"}[self.family], table)

    def restore(self, text: str, lock_file: str = "") -> Completed:
        """Load rules. The caller checks the exit code; a lock that is held too long raises LockError.

        Both backends commit table by table: when a table is refused, those before it have been changed.
        """
        done = run(self.restore_command, text, {"XTABLES_LOCKFILE": lock_file} if lock_file else {}, check=False)
        if done.rc == _LOCK_HELD and "xtables lock" in done.err:
            raise LockError(
                "another program has held the xtables lock for %d s, and nothing was changed: "
                "find it with `fuser /run/xtables.lock`, or increase the option wait" % self.wait
            )
        if done.rc == 0 and done.out:
            # At -h or -V in a rule iptables-restore exits successfully without loading the rest.
            return done._replace(rc=1, err="a rule asks it to print something: leave out -h, -V and -v")
        return done

    def rules_elsewhere(self) -> tuple[int, list[str]]:
        """The number of rules, and of policies other than ACCEPT, in the other backend: packets pass through both.

        Also returns the tables that the other backend cannot show.
        """
        other = {"nft": "legacy", "legacy": "nft"}[self.backend]
        if other == "legacy" and not self.legacy_tables():
            return 0, []  # asking would only load the kernel's modules
        try:
            text = run([self.command_of(other) + "-save"]).out
        except CommandError:
            return 0, []
        ruleset = parse_save(text)
        rules = sum(len(chain) for table in ruleset.values() for chain in table.chains.values())
        policies = sum(policy != "ACCEPT" for table in ruleset.values() for policy in table.policies.values())
        return rules + policies, unshown(text)

    def finds(self, table: str, chain: str, rule: list[str]) -> bool:
        """Whether iptables finds a rule by its text. It does not find every rule that it prints itself (connlimit)."""
        argv = [self.command, "--wait", str(self.wait), "-t", table, "-C", chain, *rule]
        return run(argv, check=False).rc == 0

    def legacy_tables(self) -> str:
        """The legacy backend's tables as the kernel lists them, one a line; empty without any."""
        path = "/proc/self/net/%s_names" % {"ipv4": "ip_tables", "ipv6": "ip6_tables"}[self.family]
        try:
            with open(path, encoding="ascii") as names:
                return names.read().strip()
        except OSError:
            return ""

    @contextlib.contextmanager
    def scratch(self, sets: str) -> Iterator[str]:
        """Enter a temporary empty network namespace, to try rules without touching the node.

        sets -- the ipsets that must exist there, as describe_set returns them

        Yields the lock file to use, so that a trial does not wait for the node's lock.
        """
        with tempfile.TemporaryDirectory(prefix="xtables-") as folder, new_network():
            if sets:
                run(["ipset", "restore"], sets)
            yield os.path.join(folder, "lock")

    def describe_set(self, name: str) -> str:
        """The line for `ipset restore` that makes an empty set with the options of the node's set."""
        if name in self._sets:
            return self._sets[name]
        try:
            # Not by `ipset save`, which reads all entries even to leave them out.
            facts = set_facts(run(["ipset", "list", "-terse", name]).out)[name]
        except CommandError as error:
            raise InputError("the ipset %s is not on the node: %s" % (name, error)) from error
        return "create %s %s\n" % (name, set_header(facts))


class NoIptables(Iptables):
    """A node without iptables and without chains of ours in the kernel: there is nothing to remove.

    Raises NotInstalledError if the kernel has, or may have, chains of ours.
    """

    def __init__(self, family: str, prefix: str) -> None:
        self.family, self.backend, self.version, self.command = family, "", "", ""
        self.unshown, self.other_hooks = [], []
        tables = [name for name in TABLES if self._holds(name, prefix)] + self.legacy_tables().split()
        if tables:
            raise NotInstalledError(
                "iptables is not installed, but the kernel's %s tables %s may hold chains of this module: "
                "install the package iptables, which removes them" % (family, ", ".join(tables))
            )

    def _holds(self, table: str, prefix: str) -> bool:
        try:
            return any(name.startswith(prefix) for name in nft_table.chains(self.family, table))
        except OSError:  # this kernel has no nftables
            return False

    @property
    def name(self) -> str:
        return ""

    def save(self, prefix: str = "", tables: Collection[str] = ()) -> Ruleset:
        return {}

    def rules_elsewhere(self) -> tuple[int, list[str]]:
        return 0, []


def find_iptables(family: str, backend: str, wait: int, prefix: str, present: bool) -> Iptables:
    """The node's iptables; or NoIptables if it is not installed and nothing of ours is declared or left."""
    try:
        return Iptables(family, backend, wait)
    except NotInstalledError:
        if present:
            raise
        return NoIptables(family, prefix)


def empty(ruleset: Ruleset, table: str) -> bool:
    """Whether a table holds nothing but its built-in chains, all of them empty and accepting."""
    present = ruleset.get(table)
    return present is not None and all(
        name in TABLES[table] and not rules and present.policies.get(name) == "ACCEPT"
        for name, rules in present.chains.items()
    )
