# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of tests/integration for a kernel in which programs start slowly."""

from __future__ import annotations

import contextlib
import multiprocessing.process
import selectors
from typing import Callable

from ansible_collections.homelab.loadbalancer.tests.integration import traffic
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import PODS, PORTS, ServicesLab
from ansible_collections.homelab.loadbalancer.tests.kernel.background import serve


class KernelLab(ServicesLab):
    """One process, a copy of the test's, runs all servers."""

    def __init__(self, prefix: str = "svc-test") -> None:
        super().__init__(prefix)
        self._servers: list[multiprocessing.process.BaseProcess] = []

    def up(self) -> None:
        self.build("present")
        self._servers.append(serve(self._prepare_servers))

    def down(self) -> None:
        for process in self._servers:
            process.kill()
            process.join()
        super().down()

    def _prepare_servers(self) -> Callable[[], None]:
        ready = selectors.DefaultSelector()
        for name in ("client", "far", *PODS):
            with self.entered(name):
                ready.register(traffic.Server(name, list(PORTS)).ready, selectors.EVENT_READ)

        def run() -> None:
            while True:
                for host, dummy in ready.select():
                    for key, dummy in host.fileobj.select(0):  # type: ignore[union-attr]
                        with contextlib.suppress(OSError):  # a client that goes away is no news
                            key.data(key.fileobj)

        return run
