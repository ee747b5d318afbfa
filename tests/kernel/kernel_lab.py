# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of tests/integration in a kernel in which programs start slowly: its servers and clients are no programs."""

from __future__ import annotations

import contextlib
import multiprocessing.process
import selectors
from typing import Callable, Sequence

from ansible_collections.homelab.loadbalancer.tests.integration import traffic
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import PODS, PORTS, Answer, ServicesLab
from ansible_collections.homelab.loadbalancer.tests.kernel.background import serve


class KernelLab(ServicesLab):
    """All servers are one process; a client is this process in the namespace of its host."""

    def up(self) -> None:
        self.build("present")
        self._servers: multiprocessing.process.BaseProcess = serve(self._prepare_servers)

    def down(self) -> None:
        self._servers.kill()
        self._servers.join()
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

    def ask(
        self,
        host: str,
        address: str,
        port: int,
        protocol: str = "tcp",
        count: int = 1,
        sources: Sequence[str] = (),
        timeout: float = 20,
    ) -> list[Answer]:
        with self.entered(host):
            return [
                Answer(*traffic.ask(protocol, address, port, source, timeout))
                for dummy in range(count)
                for source in sources or [""]
            ]
