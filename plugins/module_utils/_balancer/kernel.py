# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules that must be loaded."""

from __future__ import annotations

from typing import Sequence

from .._common.command import CommandError, run
from .._common.errors import NodeError
from .._kernel_modules import node
from .._virtual_address.node import load_dummy


class KernelModules:
    """The modules to load, planned when it is constructed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        try:
            self._missing = node.missing(names)
        except CommandError as error:
            raise NodeError("kernel_modules: %s" % error) from error

    @property
    def changed(self) -> bool:
        return bool(self._missing)

    def diff(self) -> dict[str, str]:
        return {"before": "", "after": "".join(name + "\n" for name in self._missing)}

    def load(self) -> None:
        if "dummy" in self._missing:
            load_dummy()
        try:
            node.load(self._names)
        except CommandError:
            self.unload()
            raise

    def unload(self) -> None:
        """Remove the modules. One that is in use by now stays."""
        for name in reversed(self._missing):
            run(["modprobe", "--remove", "--quiet", name], check=False)
