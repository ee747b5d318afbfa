# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules that must be loaded."""

from __future__ import annotations

import os
import re
from typing import Sequence

from .._common.command import CommandError, run
from .._common.errors import NodeError

MODULES = "/sys/module"
# With the option, the module dummy makes no undeclared link.
_OPTIONS = {"dummy": ["numdummies=0"]}


class KernelModules:
    """The modules to load, planned when it is constructed."""

    def __init__(self, names: Sequence[str]) -> None:
        built_in = _built_in() if names else ""
        self.missing = [name for name in dict.fromkeys(names) if not _is_there(name, built_in)]

    @property
    def changed(self) -> bool:
        return bool(self.missing)

    def diff(self) -> dict[str, str]:
        return {"before": "", "after": "".join(name + "\n" for name in self.missing)}

    def load(self) -> None:
        for i, name in enumerate(self.missing):
            try:
                run(["modprobe", name, *_OPTIONS.get(name, [])])
            except CommandError as error:
                self._unload(self.missing[:i])
                raise NodeError("kernel_modules: %s cannot be loaded: %s" % (name, error)) from error

    def unload(self) -> None:
        self._unload(self.missing)

    def _unload(self, names: Sequence[str]) -> None:
        """Remove modules. One that is in use by now stays."""
        for name in reversed(names):
            run(["modprobe", "--remove", "--quiet", name], check=False)


def _is_there(name: str, built_in: str) -> bool:
    plain = name.replace("-", "_")
    pattern = r"/%s\.ko$" % re.escape(plain).replace("_", "[-_]")
    return os.path.isdir("%s/%s" % (MODULES, plain)) or bool(re.search(pattern, built_in, re.MULTILINE))


def _built_in() -> str:
    try:
        with open("/lib/modules/%s/modules.builtin" % os.uname().release, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
