# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load modules of the node's kernel with modprobe(8)."""

from __future__ import annotations

import re
from typing import Sequence

from .._common.command import run

_INSERTED = re.compile(r"^insmod (?:\S*/)?([^/\s]+?)\.ko\S*", re.MULTILINE)


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


def load(names: Sequence[str]) -> None:
    """Load modules with their dependencies. Raises CommandError."""
    run(["modprobe", "--all", "--", *names])
