# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work beside a test, in a copy of its process: in this kernel a new Python takes seconds to start."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
from typing import Any, Callable

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import module

FORK = multiprocessing.get_context("fork")


class Background:
    """A module that runs in the network namespace in which it was started."""

    def __init__(self, name: str, **options: Any) -> None:
        self._result, sender = FORK.Pipe(duplex=False)

        def body() -> None:
            # A connection that the test closes must not stay open here.
            os.closerange(3, sender.fileno())
            os.closerange(sender.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
            sender.send(module(name, **options))

        self._process = FORK.Process(target=body)
        self._process.start()
        sender.close()

    def runs(self) -> bool:
        return self._process.is_alive()

    def result(self) -> dict[str, Any]:
        """Wait for the end of the module and return its result."""
        result: dict[str, Any] = self._result.recv()
        self._process.join()
        return result

    def kill_at_any_moment(self, limit: float) -> None:
        """Kill the module at a random moment of its first `limit` seconds."""
        threading.Event().wait(random.uniform(0, limit))  # nothing is waited for: the moment is random
        self._process.kill()
        self._process.join()


def serve(prepare: Callable[[], Callable[[], None]]) -> multiprocessing.process.BaseProcess:
    """Run what `prepare` returns in another process; return when it is prepared."""
    ready, sender = FORK.Pipe(duplex=False)

    def body() -> None:
        run = prepare()
        sender.send("ready")
        run()

    process = FORK.Process(target=body, daemon=True)
    process.start()
    sender.close()
    ready.recv()
    return process
