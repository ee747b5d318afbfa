# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients with session affinity whose endpoint is gone. Pure."""

from __future__ import annotations

from typing import Mapping

from .._services.model import Service

Clients = Mapping[str, str]


def forget(service: Service, maps: Mapping[str, Clients]) -> dict[str, list[str]]:
    """The elements to delete of each map: their former endpoint is not one of the service.

    maps -- the elements of the map of addresses, and of the map of ports
    """
    (addresses, by_address), (ports, by_port) = maps.items()
    declared = {(end.address, "%d" % end.port) for end in service.endpoints}
    gone = [
        client for client in {**by_address, **by_port} if (by_address.get(client), by_port.get(client)) not in declared
    ]
    held = {addresses: by_address, ports: by_port}
    return {
        name: ["%s : %s" % (client, elements[client]) for client in gone if client in elements]
        for name, elements in held.items()
    }
