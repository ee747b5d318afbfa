# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring kernel parameters to declared values."""

from __future__ import annotations

from typing import Any, Mapping

from . import node as sysctls


class Change:
    """The change of kernel parameters, planned when it is constructed.

    some -- the kernel may lack parameters now, because their kernel modules are loaded before apply()
    """

    def __init__(self, values: Mapping[str, Any], some: bool = False) -> None:
        self._want = {str(name): sysctls.normal(value) for name, value in values.items()}
        self.have = sysctls.read(self._want, some)
        self._after = sysctls.predicted(self.have, self._want)
        self._before: dict[str, str] = {}

    @property
    def changed(self) -> bool:
        return self.have != self._after

    @property
    def text(self) -> str:
        """The declared values, for a file that a boot loads."""
        return sysctls.show(sysctls.ordered(self._want))

    def diff(self) -> dict[str, str]:
        return {"before": sysctls.show(self.have), "after": sysctls.show(self._after)}

    def apply(self) -> None:
        """Set all values, or none."""
        have = sysctls.read(self._want)
        self._before = sysctls.reached(have, self._want)
        self._after = sysctls.write(have, self._want)

    def undo(self) -> None:
        """Restore the values, and those of other parameters that changed with them."""
        sysctls.put_back(self._before)
