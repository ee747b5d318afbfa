# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node has one writer at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import lock
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import NodeError

CONTEXT = multiprocessing.get_context("fork")


def attempt(shared: bool = False) -> None:
    """Take the lock, or fail at once."""
    with lock.locked(shared, limit=0):
        pass


def hold(held: Event) -> None:
    """Hold the lock until this process is killed."""
    with lock.locked():
        held.set()
        signal.pause()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "FOLDER", str(tmp_path / "run"))


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_a_writer_excludes_all_others(first: bool, second: bool) -> None:
    said = r"at work on the node \(process %d\), and it did not end" % os.getpid()
    with lock.locked(shared=first), pytest.raises(NodeError, match=said):
        attempt(second)
    attempt(second)


def test_readers_share_the_lock() -> None:
    with lock.locked(shared=True):
        attempt(shared=True)


def test_a_killed_process_holds_no_lock() -> None:
    held = CONTEXT.Event()
    holder = CONTEXT.Process(target=hold, args=(held,))
    holder.start()
    assert held.wait(60)
    with pytest.raises(NodeError, match="process %s[)]" % holder.pid):
        attempt()
    holder.kill()
    holder.join()
    attempt()


def test_the_folder_of_locks_is_private(tmp_path: Path) -> None:
    with lock.locked():
        assert [path.stat().st_mode & 0o777 for path in (tmp_path / "run", *(tmp_path / "run").iterdir())] == [
            0o700,
            0o600,
        ]
