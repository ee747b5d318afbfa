# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace of our own, in which the node's tools try rules and sets out."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Iterator

from .errors import NodeError

_CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def new_network() -> Iterator[None]:
    """An empty network namespace of our own, for this process and the programs it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net", encoding="ascii") as home:
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise NodeError(
                "rules are tried in a network namespace of their own first, and this process may not make one (%s): "
                "become root, and in a container grant CAP_SYS_ADMIN" % os.strerror(ctypes.get_errno())
            )
        try:
            yield
        finally:
            if libc.setns(home.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot return to the node's network namespace")
