# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load sets in an empty network namespace, to learn the kernel's spelling and which entry is refused."""

from __future__ import annotations

from typing import Sequence

from .._common.errors import InputError, NodeError
from . import node as tool
from .model import Entries, Set, Sets, Wanted, parse_save, same_options


class Trial:
    """The declared sets in the kernel's spelling.

    wanted -- the declared sets
    have, others -- the node's sets that are ours, and the rest
    headers -- the text after each set's name in `create`
    same -- sets that keep their options: a shared set keeps those of its creator
    """

    def __init__(self, wanted: Sequence[Wanted], have: Sets, others: Sets) -> None:
        self._wanted, self._have, self._others = wanted, have, others
        self.headers = self._try_options()
        self.same = [want.name for want in wanted if self._keeps_options(want)]
        self.headers.update((name, have[name].header) for name in self.same)

    def _try_options(self) -> dict[str, str]:
        if not self._wanted:
            return {}
        lines = ["create %s %s" % (want.name, want.create) for want in self._wanted]
        done = tool.restore_aside([*lines, "save"])
        if done.rc == 0:
            return {name: made.header for name, made in parse_save(done.out).items()}
        want = self._wanted[tool.first_refused(lines, done.err)]
        raise refusal(want.where, want, done.err)

    def _keeps_options(self, want: Wanted) -> bool:
        old, header = self._have.get(want.name), self.headers[want.name]
        if not old:
            return False
        if want.mode == "whole":
            return same_options(old.header, header, want.create)
        if old.kind != Set(header, {}).kind:
            raise InputError(
                "%s: the set %s is there already, as %s: declare this type and family, or another name"
                % (want.where, want.name, " ".join(old.header.split(" ")[:3]))
            )
        return True

    def entries(self, exact: bool) -> dict[str, Entries]:
        """Each set's declared entries in the kernel's spelling.

        exact -- also for sets that do not exist yet; otherwise filling them will be the trial
        """
        asked = {want.name: self._unknown(want, exact) for want in self._wanted}
        asked = {name: entries for name, entries in asked.items() if entries}
        made = self._try_entries(asked) if asked else {}
        result: dict[str, Entries] = {}
        for want in self._wanted:
            known = {} if len(asked.get(want.name, ())) == len(want.entries) else dict.fromkeys(want.entries, "")
            for entry in asked.get(want.name, ()):
                known.pop(entry, None)
            result[want.name] = {**known, **(made[want.name].entries if want.name in made else {})}
        return result

    def _unknown(self, want: Wanted, exact: bool) -> list[str]:
        """The entries whose spelling is not known yet."""
        name, declared = want.name, list(want.entries)
        if name not in self._have:
            return declared if exact or Set(self.headers[name], {}).is_list else []
        standing = self._have[name].entries
        if name not in self.same:
            return declared
        if self._have[name].is_list:
            return [] if list(standing) == declared else declared
        new = [entry for entry in declared if entry not in standing]
        # When two entries set different options for one address, the later one wins: such entries are tried together.
        return declared if new and any(" " in entry for entry in declared) else new

    def _try_entries(self, asked: dict[str, list[str]]) -> Sets:
        """Load entries into temporary sets and return these as they are saved."""
        made, others = {name: self.headers[name] for name in asked}, {}
        if any(Set(header, {}).is_list for header in made.values()):
            # The members of a list must exist; their content does not matter here.
            made, others = self.headers, {name: live.header for name, live in self._others.items()}
        lines = ["create %s %s" % each for each in [*made.items(), *others.items()]]
        start = len(lines)
        source = [(name, entry) for name, entries in asked.items() for entry in entries]
        lines += ["add %s %s" % each for each in source]
        done = tool.restore_aside([*lines, *("save " + name for name in asked)])
        if done.rc == 0:
            return parse_save(done.out)
        number = tool.first_refused(lines, done.err) - start
        if number < 0:
            raise NodeError("ipset rejected a copy of the node's own sets: %s" % tool.reason(done.err))
        name, entry = source[number]
        want = next(want for want in self._wanted if want.name == name)
        raise refusal(want.line_of(want.entries.index(entry)), want, done.err)


def refusal(where: str, want: Wanted, said: str) -> Exception:
    """The error for the entry that ipset refused, named as the user declared it."""
    why = tool.reason(said)
    if "set type not supported" in why:
        return NodeError(
            "%s: this node's kernel has no %s sets, or not with these options (module %s): install the package that "
            "holds its extra modules (kernel-modules-extra on Fedora and RHEL), or boot a kernel that has it"
            % (where, want.create.split(" ", 1)[0], tool.kernel_module(want.create))
        )
    return InputError("%s is refused by ipset: %s" % (where, why))
