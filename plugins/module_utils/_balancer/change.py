# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The change of a whole node: services, their addresses, kernel parameters, and what a boot restores."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from .._boot.run import Change as BootChange
from .._boot.units import Restored
from .._common.differences import UNDONE, differences
from .._common.errors import InputError, NodeError, named
from .._services.model import Service
from .._sysctls.run import Change as SysctlChange
from .._virtual_address.input import parse_addresses, parse_metric
from .._virtual_address.node import Change as AddressChange
from .._virtual_address.plan import Want
from .kernel import KernelModules
from .model import Boot, DataPlane

# The options of the modules that change the same parts alone, and ours.
_SYSCTLS = {"values": "sysctls"}
_BOOT = {"path": "boot_path", "name": "boot_name", "state": "boot"}


class Step(NamedTuple):
    """A step of the change. It is made as a whole, or raises an error.

    names -- the names of options in its errors, and ours
    """

    do: Callable[[], list[str] | None]
    undo: Callable[[], None]
    names: Mapping[str, str] = {}


class Change:
    """The change of a node to its declaration, planned when it is constructed.

    services -- also those that state=absent removes
    """

    def __init__(self, plane: DataPlane, services: Sequence[Service], options: dict[str, Any]) -> None:
        self.plane = plane
        present = options["state"] == "present"
        self._modules = KernelModules(options["kernel_modules"] if present else [])
        self._addresses = _plan_addresses(services, options) if options["interface"] else None
        with _renamed(_SYSCTLS):
            self._sysctls = SysctlChange(options["sysctls"] if present else {}, some=self._modules.changed)
        with _renamed(_BOOT):
            self._boot = self._plan_boot(options, present) if options["boot_path"] else None

    def _plan_boot(self, options: dict[str, Any], present: bool) -> BootChange:
        keep = present and options["boot"] == "present"
        rules = self.plane.boot(options["boot_path"]) if keep else Boot()
        addresses = self._addresses.plan.batch if self._addresses else ()
        want = Restored(
            options["boot_name"],
            options["boot_path"],
            options["kernel_modules"],
            rules.commands,
            addresses,
            self._sysctls.text,
            rules.files,
        )
        return BootChange(want, keep)

    @property
    def changed(self) -> bool:
        needed = [self._modules.changed, self.plane.changed, self._sysctls.changed]
        return any(needed) or any(part.changed for part in (self._addresses, self._boot) if part)

    def diff(self) -> list[dict[str, str]]:
        parts = [_titled(self._modules.diff(), "lsmod")] if self._modules.changed else []
        parts += self.plane.diff()
        parts += [_titled(self._sysctls.diff(), "sysctl")] if self._sysctls.changed else []
        if self._addresses and self._addresses.changed:
            parts.append(_titled(self._addresses.diff(), "ip address"))
        return parts + (self._boot.diff() if self._boot else [])

    @property
    def warnings(self) -> list[str]:
        return [*self.plane.warnings, *(self._addresses.warnings if self._addresses else [])]

    def apply(self, again: Callable[[], Change]) -> list[str]:
        """Make all changes, or none. Returns warnings.

        again -- plans the change afresh, to find out what is left of a change that failed
        """
        back: list[Callable[[], None]] = []
        warnings: list[str] = []
        for step in self._steps():
            try:
                warnings += step.do() or []
            except Exception as error:
                failed = _undo(back)
                left = [*failed, *self._left(again)]
                rest = "not everything could be undone: %s" % "; ".join(left) if left else "nothing was changed"
                said = named(error, step.names)
                raise NodeError(said if rest in said else "%s (%s)" % (said, rest)) from error
            back.append(step.undo)
        return warnings

    def _steps(self) -> Iterator[Step]:
        """An address is on its link only while its rules are loaded.

        So clients never reach the node's own servers at it. The same holds for a boot after an interrupted run.
        """
        addresses, boot, plane = self._addresses, self._boot, self.plane
        if self._modules.changed:
            yield Step(self._modules.load, self._modules.unload)
        if boot and boot.changed:
            yield Step(boot.withdraw, boot.undo, _BOOT)
        if addresses and addresses.changed:
            yield Step(addresses.remove, addresses.undo_remove)
        if plane.changed:
            yield Step(plane.apply, plane.undo)
        if self._sysctls.changed:
            yield Step(self._sysctls.apply, self._sysctls.undo, _SYSCTLS)
        if boot and boot.changed:
            yield Step(boot.protect, boot.undo, _BOOT)
        if addresses and addresses.changed:
            yield Step(addresses.add, addresses.undo_add)
            yield Step(addresses.announce, lambda: None)
        if boot and boot.changed:
            yield Step(boot.serve, boot.undo, _BOOT)
        if plane.changed:
            yield Step(plane.finish, lambda: None)

    def _left(self, again: Callable[[], Change]) -> list[str]:
        """The differences between the node before the change and now."""
        try:
            now = {part["before_header"]: part for part in again().diff()}
        except Exception as error:
            return ["the node cannot be read any more: %s" % error]
        old = {part["before_header"]: part for part in self.diff()}
        parts = []
        for header in {**old, **now}:
            # A part that a diff leaves out is as declared.
            before = old[header]["before"] if header in old else now[header]["after"]
            after = now[header]["before"] if header in now else old[header]["after"]
            parts.append({"after_header": header, "before": before, "after": after})
        return differences(parts, UNDONE)


def _plan_addresses(services: Sequence[Service], options: dict[str, Any]) -> AddressChange:
    present = options["state"] == "present"
    listed = [service.address for service in services] if options["addresses"] == "present" else []
    want = Want(
        interface=options["interface"],
        addresses=parse_addresses(listed, "lb_services[*].address"),
        present=present and options["addresses"] == "present",
        dummy=options["dummy"],
        purge="node",
        metric=parse_metric(options["metric"]),
    )
    return AddressChange(want, ask=options["probe"], tell=True)


@contextlib.contextmanager
def _renamed(names: dict[str, str]) -> Iterator[None]:
    """Replace the names of options in errors."""
    try:
        yield
    except InputError as error:
        raise InputError(named(error, names)) from error
    except NodeError as error:
        raise NodeError(named(error, names)) from error


def _titled(diff: dict[str, str], header: str) -> dict[str, str]:
    return {"before_header": header, "after_header": header, **diff}


def _undo(back: Sequence[Callable[[], None]]) -> list[str]:
    """Undo steps. Returns the errors."""
    failed = []
    for undo in reversed(back):
        try:
            undo()
        except Exception as error:
            failed.append(str(error))
    return failed
