# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces for this thread and the programs that it starts."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Iterator

from .errors import NodeError

CLONE_NEWNET = 0x40000000


def enter(descriptor: int, name: str) -> None:
    """Move this thread into an open network namespace by setns(2), which Python offers only from 3.12 on.

    Raises OSError with the given name if the kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, "cannot enter the network namespace: %s" % os.strerror(number), name)


@contextlib.contextmanager
def new_network() -> Iterator[None]:
    """An empty network namespace, in which rules and sets can be tried with the node's tools."""
    with open("/proc/self/ns/net", encoding="ascii") as home:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            raise NodeError(
                "rules are first tried in a new network namespace, but this process may not create one (%s): become "
                "root, and in a container grant CAP_SYS_ADMIN" % os.strerror(ctypes.get_errno())
            )
        try:
            yield
        finally:
            enter(home.fileno(), "the node's own")
