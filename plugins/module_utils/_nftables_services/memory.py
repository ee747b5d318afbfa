# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table as the last run left it, and the generation of the ruleset at that moment.

To read 10,000 services takes a fifth of a second by netlink, and five times as long by nft. While the generation has
not changed since our own transaction, nothing has changed the table, and it need not be read.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import NamedTuple

from .._common.lock import FOLDER
from .._nftables.generation import generation, namespace


class Remembered(NamedTuple):
    """A table's text, which was the kernel's state at a generation of the ruleset."""

    generation: int
    text: str


def path(name: str) -> str:
    """The file; empty if the kernel gives network namespaces no unique name."""
    own = namespace()
    return "%s/nftables-%s-%s" % (FOLDER, own, name) if own else ""


def current() -> int:
    """The generation of the ruleset; 0 if the kernel does not tell it."""
    try:
        return generation()
    except OSError:
        return 0


def recall(name: str) -> Remembered | None:
    """The table as it is now, if nothing has changed the ruleset since it was remembered."""
    file = path(name)
    with contextlib.suppress(OSError, ValueError):
        if file:
            with open(file, encoding="utf-8") as stored:
                at, check = map(int, stored.readline().split())
                if at == current():
                    text = stored.read()
                    if zlib.crc32(text.encode()) == check:
                        return Remembered(at, text)
    return None


def remember(name: str, at: int, text: str) -> None:
    """Remember the table at a generation. Without the memory, the next run only takes longer."""
    file = path(name)
    with contextlib.suppress(OSError):
        if file and at:
            os.makedirs(FOLDER, mode=0o700, exist_ok=True)
            # Written in place, so that a killed run leaves no draft. The checksum tells a file that ends too early.
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "w", encoding="utf-8") as stored:
                stored.write("%d %d\n%s" % (at, zlib.crc32(text.encode()), text))


def forget(name: str) -> None:
    file = path(name)
    with contextlib.suppress(OSError):
        if file:
            os.unlink(file)
