# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer at a time: a lock for each network namespace, by flock(2).

Each network namespace counts as a node; several may share the files of one machine. The kernel frees the lock when the
process that holds it ends, for whatever reason.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Iterator

from .errors import NodeError

FOLDER = "/run/homelab-loadbalancer"
NAMESPACE = "/proc/self/ns/net"
LIMIT = 60.0  # seconds to wait for the current holder
PAUSE = 0.05  # seconds between two attempts


@contextlib.contextmanager
def locked(shared: bool = False, limit: float = LIMIT) -> Iterator[None]:
    """Hold the lock of this node.

    shared -- for a reader: several may read at once, but not during a write

    A host without network namespaces (macOS, or a chroot without /proc) has no lock.
    Raises NodeError with the process that holds the lock when it is not free within `limit` seconds.
    """
    if not os.path.exists(NAMESPACE):
        yield
        return
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    path = os.path.join(FOLDER, "%d.lock" % os.stat(NAMESPACE).st_ino)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, limit)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int, limit: float) -> None:
    """Wait for the lock with a time limit, which flock(2) itself lacks."""
    end = time.monotonic() + limit
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise NodeError(
                    "another run of this collection is at work on the node (process %s), and it did not end within "
                    "%g s: run the play again when it has ended" % (_holder(descriptor), limit)
                ) from None
            time.sleep(PAUSE)


def _holder(descriptor: int) -> str:
    """The process that holds the lock, according to proc_locks(5)."""
    end = ":%d" % os.fstat(descriptor).st_ino
    with open("/proc/locks", encoding="ascii") as locks:
        words = [line.split() for line in locks]
    holders = [word[4] for word in words if word[1] == "FLOCK" and word[5].endswith(end)]
    return holders[0] if holders else "unknown"
