# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of the module ipvs: read, plan and apply."""

from __future__ import annotations

import functools
import os
from typing import Any, Mapping, Sequence

from .._common import files
from .._common.errors import InputError
from . import kernel as ipvs_kernel
from . import plan as ipvs
from .input import Scope, parse_scope, parse_virtual_servers
from .model import VirtualServer, render
from .netlink import Change

FILE = "ipvs.rules"


def converge(options: Mapping[str, Any], check_mode: bool, diff: bool) -> dict[str, Any]:
    """Bring the node to the declared state, or only report the changes; return the result with its warnings."""
    scope: Scope = parse_scope(options["scope"], options["scope_marks"])
    if options["drain"] < 0:
        raise InputError(
            "drain %d is not a number of seconds: write 0 to remove real servers at once" % options["drain"]
        )
    raw = files.read_list(options, "virtual_servers")
    declared = parse_virtual_servers(raw, scope)
    present = options["state"] == "present"
    if present:
        ipvs_kernel.require()
        refuse_unknown(declared)
    fronts = {virtual.front for virtual in declared}
    have = ipvs.read(lambda front: front in fronts or scope.holds(front))
    want = declared if present else []
    todo = ipvs.plan(have, want, options["drain"] > 0, options["preserve_weights"])
    path = os.path.join(options["save_to"], FILE) if options["save_to"] else ""
    # The declared weights: a boot must not restore weights that were set for a while.
    text = render(want) or None if path else None
    kept = [files.edit(path, text)] if path else []
    to_write = [file for file in kept if file.changed]
    warnings = []
    if not check_mode:
        if to_write and text:
            files.refuse_missing_folder("save_to", path)
        named = functools.partial(entry, declared, raw)
        ipvs.apply(todo, named)
        try:
            for file in to_write:
                file.write()
        except OSError:
            ipvs.undo(todo)
            raise
        warnings = ipvs.finish(todo, options["drain"], named)
    changed = todo.changed or bool(to_write)
    addresses = dict.fromkeys(virtual.front.address for virtual in want if virtual.front.address)
    result: dict[str, Any] = {"changed": changed, "addresses": list(addresses), "warnings": warnings}
    return {**result, "diff": files.with_files(todo.diff(), to_write)} if diff else result


def refuse_unknown(declared: Sequence[VirtualServer], where: str = "virtual_servers") -> None:
    """Raise InputError for a scheduler or persistence engine that the node's kernel lacks."""
    for option, kind, names in (
        ("scheduler", "ip_vs_", [virtual.scheduler for virtual in declared]),
        ("persistence_engine", "ip_vs_pe_", [virtual.engine for virtual in declared]),
    ):
        missing, known = ipvs_kernel.missing(kind, set(names) - {""})
        if missing:
            raise InputError(
                "%s[%d].%s %s is not one that this kernel has: those are %s"
                % (where, names.index(missing[0]), option, missing[0], ", ".join(known))
            )


def entry(declared: Sequence[VirtualServer], raw: Sequence[Any], change: Change) -> str:
    """The user's entry that a change belongs to."""
    said = "`%s`" % ipvs.describe(change)
    for i, virtual in enumerate(declared):
        if virtual.front != change.virtual.front:
            continue
        where = "virtual_servers[%d]" % i
        if change.real is None:
            return "%s %s" % (where, said)
        for j, real in enumerate(raw[i].get("real_servers") or []):
            # Parsing sorts the real servers, so find the entry by its parsed form.
            (alone,) = parse_virtual_servers([{**raw[i], "real_servers": [real]}], Scope())
            if alone.real_servers[0][:2] == change.real[:2]:
                return "%s.real_servers[%d] %s" % (where, j, said)
    return said
