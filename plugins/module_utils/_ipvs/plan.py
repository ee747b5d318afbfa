# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the virtual servers of a node to a declared state, changing only our own.

IPVS has no transactions. The changes are therefore ordered so that no connection is refused meanwhile: real servers are
added before others are removed, and settings that can be changed in place are changed in place. When the kernel refuses
a change, the changes before it are undone.
"""

from __future__ import annotations

import errno
import os
from typing import Callable, Iterable, Mapping, NamedTuple

from .._common.errors import NodeError
from . import drain as ipvs_drain
from . import kernel as ipvs_kernel
from .model import Front, RealServer, VirtualServer, render, spell_real, spell_virtual
from .netlink import DEL_DEST, DEL_SERVICE, GONE, NEW_DEST, NEW_SERVICE, SET_DEST, SET_SERVICE, Change, Ipvs, Refusal


class ChangeError(NodeError):
    """The kernel refused a change. The changes before it have been undone."""


class Plan(NamedTuple):
    """Our virtual servers as read, the changes that lead to the declared state, and that state.

    draining -- real servers to remove when their connections have ended; `changes` gives them weight 0
    last -- virtual servers to remove after the last of their real servers
    """

    have: Mapping[Front, VirtualServer]
    then: Mapping[Front, VirtualServer]
    changes: tuple[Change, ...] = ()
    draining: tuple[Change, ...] = ()
    last: tuple[Change, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.changes or self.draining or self.last)

    def diff(self) -> dict[str, str]:
        """Every changed virtual server before and after, in the syntax of `ipvsadm -Sn`."""
        fronts = {change.virtual.front for change in (*self.changes, *self.draining, *self.last)}
        before, after = (
            render(servers[front] for front in fronts if front in servers) for servers in (self.have, self.then)
        )
        return {"before": before, "after": after, "before_header": "ipvsadm -Sn", "after_header": "ipvsadm -Sn"}


def plan(
    have: Mapping[Front, VirtualServer],
    want: Iterable[VirtualServer],
    drain: bool = False,
    preserve_weights: bool = False,
) -> Plan:
    """Plan the changes from our current virtual servers to the declared ones. Undeclared ones of ours are removed.

    drain -- let the connections of removed real servers end first
    preserve_weights -- keep the weights of existing real servers
    """
    then = {virtual.front: virtual for virtual in want}
    grow: list[Change] = []
    shrink: list[Change] = []
    draining: list[Change] = []
    last: list[Change] = []
    for front, virtual in then.items():
        old = have.get(front)
        if old == virtual:
            continue
        if old is None:
            grow.append(Change(NEW_SERVICE, virtual))
            grow += [Change(NEW_DEST, virtual, real) for real in virtual.real_servers]
            continue
        if preserve_weights:
            then[front] = virtual = _keep_weights(old, virtual)
        grow += _edits(old, virtual)
        _remove(virtual, _missing(old, virtual), drain, (shrink, draining))
    for front, old in have.items():
        if front not in then:
            before = len(draining)
            # Without draining the kernel removes the real servers together with their virtual server.
            _remove(old, old.real_servers if drain else (), drain, (shrink, draining))
            (last if len(draining) > before else shrink).append(Change(DEL_SERVICE, old))
    return Plan(have, then, (*grow, *shrink), tuple(draining), tuple(last))


def _keep_weights(old: VirtualServer, virtual: VirtualServer) -> VirtualServer:
    weights = {real[:2]: real.weight for real in old.real_servers}
    reals = (real._replace(weight=weights.get(real[:2], real.weight)) for real in virtual.real_servers)
    return virtual._replace(real_servers=tuple(reals))


def _edits(old: VirtualServer, virtual: VirtualServer) -> list[Change]:
    """The changed settings and the new or changed real servers of a virtual server that stays."""
    known = {real[:2]: real for real in old.real_servers}
    changes = [Change(NEW_DEST, virtual, real) for real in virtual.real_servers if real[:2] not in known]
    if old._replace(real_servers=()) != virtual._replace(real_servers=()):
        changes.append(Change(SET_SERVICE, virtual))
    changes += [Change(SET_DEST, virtual, real) for real in virtual.real_servers if known.get(real[:2], real) != real]
    return changes


def _missing(old: VirtualServer, virtual: VirtualServer) -> list[RealServer]:
    kept = {real[:2] for real in virtual.real_servers}
    return [real for real in old.real_servers if real[:2] not in kept]


def _remove(
    virtual: VirtualServer, reals: Iterable[RealServer], drain: bool, into: tuple[list[Change], list[Change]]
) -> None:
    now, later = into
    for real in reals:
        # UDP connections have no end to wait for.
        if drain and virtual.front.protocol != "udp":
            if real.weight:
                now.append(Change(SET_DEST, virtual, real._replace(weight=0)))
            later.append(Change(DEL_DEST, virtual, real))
        else:
            now.append(Change(DEL_DEST, virtual, real))


def describe(change: Change) -> str:
    """The object of a change in the syntax of ipvsadm."""
    if change.real is not None:
        return spell_real(change.virtual.front, change.real)
    return spell_virtual(change.virtual)


def read(ours: Callable[[Front], bool]) -> dict[Front, VirtualServer]:
    """Our virtual servers on this node. If the kernel has not loaded IPVS there are none, and IPVS stays unloaded."""
    if not ipvs_kernel.is_loaded():
        return {}
    with Ipvs() as kernel:
        return kernel.read(ours)


def apply(todo: Plan, entry: Callable[[Change], str] = describe) -> None:
    """Apply a plan, except for what waits for connections to end.

    Raises ChangeError if the kernel refuses a change, after undoing the changes before it.

    entry -- returns the name of a change for messages
    """
    if not todo.changed:
        return
    ipvs_kernel.load()
    with Ipvs() as kernel:
        refused = kernel.send(todo.changes)
        if refused:
            _take_back(kernel, todo)
            raise ChangeError("%s, and nothing was changed" % _reason(refused[0], entry))


def finish(todo: Plan, limit: float = 0, entry: Callable[[Change], str] = describe) -> list[str]:
    """Wait for the connections of draining real servers to end, and remove those servers.

    limit -- seconds that connections have to end

    Returns a message about each real server that was removed while it had connections.
    """
    if not todo.draining and not todo.last:
        return []
    with Ipvs() as kernel:

        def remove(change: Change) -> None:
            # Another program may have removed it meanwhile.
            for refusal in kernel.send([change]):
                if refusal.code not in GONE:
                    raise ChangeError(_reason(refusal, entry))

        cut = ipvs_drain.drain(kernel, list(todo.draining), limit, remove)
        for change in todo.last:
            remove(change)
    return cut


def undo(todo: Plan) -> None:
    """Restore our virtual servers as they were when the plan was made."""
    if todo.changed:
        with Ipvs() as kernel:
            _take_back(kernel, todo)


def _take_back(kernel: Ipvs, todo: Plan) -> None:
    touched = {change.virtual.front for change in (*todo.changes, *todo.draining, *todo.last)}
    back = plan(kernel.read(touched.__contains__), [todo.have[front] for front in touched if front in todo.have])
    refused = kernel.send(back.changes)
    if refused:
        raise ChangeError(
            "the change failed, and undoing it failed too: %s. To undo it, run `ipvsadm -R` with this input:\n%s"
            % (_reason(refused[0], describe), render(back.then.values()))
        )


def _reason(refusal: Refusal, entry: Callable[[Change], str]) -> str:
    command, code = refusal.change.command, refusal.code
    said = os.strerror(code)
    if command == NEW_SERVICE and code == errno.ENOENT:
        said = "it has no such scheduler or persistence engine"
    elif command in (NEW_SERVICE, NEW_DEST) and code == errno.EEXIST:
        said = "another program added it meanwhile"
    elif command in (NEW_DEST, SET_DEST) and code == errno.EINVAL:
        said = "on this node it is the address of a network or of no host"
    elif code in GONE:
        said = "another program removed it meanwhile"
    return "%s is refused by the kernel: %s" % (entry(refusal.change), said)
