# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of the node's kernel, loaded with modprobe(8)."""

from __future__ import annotations

import re
from typing import Sequence

from .._common.command import CommandError, run
from .._common.errors import NodeError
from .._virtual_address.node import load_dummy

_INSERTED = re.compile(r"^insmod (?:\S*/)?([^/\s]+?)\.ko\S*", re.MULTILINE)


class KernelModules:
    """The modules to load, planned when it is constructed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        try:
            self.missing = missing(names)
        except CommandError as error:
            raise NodeError("kernel_modules: %s" % error) from error

    @property
    def changed(self) -> bool:
        return bool(self.missing)

    def diff(self) -> dict[str, str]:
        return {"before": "", "after": "".join(name + "\n" for name in self.missing)}

    def load(self) -> None:
        if "dummy" in self.missing:
            load_dummy()
        try:
            run(["modprobe", "--all", "--", *self._names])
        except CommandError:
            self.unload()
            raise

    def unload(self) -> None:
        """Remove the modules. One that is in use by now stays."""
        for name in reversed(self.missing):
            run(["modprobe", "--remove", "--quiet", name], check=False)


def missing(names: Sequence[str]) -> list[str]:
    """The modules that a load of the named ones would insert, with dependencies, in order.

    A module that is loaded or built into the kernel is not among them. Raises CommandError if there is no module of a
    name.
    """
    if not names:
        return []
    return inserted(run(["modprobe", "--dry-run", "--verbose", "--all", "--", *names]).out)


def inserted(listing: str) -> list[str]:
    """The modules in the output of `modprobe --verbose`, in the kernel's spelling."""
    return [name.replace("-", "_") for name in _INSERTED.findall(listing)]
