# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client and nodes report to the verification, and what it makes of that, for its tests."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.filter.external_access_checks import external_access_checks
from ansible_collections.homelab.loadbalancer.tests.unit.cluster_objects import (
    MACS,
    NODES,
    VIP,
    cluster,
    external_access_view,
)

URL = "http://web.k8s.local/"
SILENT: dict[str, Any] = {"state": "silent", "status": None, "detail": "no answer within 3 s"}


def answer(address: str, port: int = 80, protocol: str = "http", **rest: Any) -> dict[str, Any]:
    good = {"http": ("HTTP 200", 200), "tcp": ("open", None), "udp": ("no refusal and no answer", None)}[protocol]
    return {
        "address": address,
        "port": port,
        "protocol": protocol,
        "state": "silent" if protocol == "udp" else "open",
        "detail": good[0],
        "status": good[1],
        "source": "172.16.0.21",
        "milliseconds": 1.5,
        "host": "",
        **rest,
    }


def owner(address: str, *macs: str, **rest: Any) -> dict[str, Any]:
    return {"address": address, "macs": list(macs), "source": "172.16.0.21", "gateway": "", "reason": "", **rest}


def node(name: str, **bad: dict[str, Any]) -> dict[str, Any]:
    """What a node saw; the protocols in `bad` with those values at worker2."""
    answers = [
        answer(address, 7946, protocol, source=NODES[name], **(bad.get(protocol, {}) if at == "worker2" else {}))
        for at, address in NODES.items()
        for protocol in ("tcp", "udp")
    ]
    # A node reaches itself, whatever its firewall says.
    answers = [{**one, "state": "open"} if one["address"] == one["source"] else one for one in answers]
    return {"host": name, "place": "node", "answers": answers, "links": {"eth0": MACS[name]}}


def client(*macs: str, **rest: Any) -> dict[str, Any]:
    owners = [owner(VIP, *(macs or [MACS["worker1"]])), *(owner(NODES[name], mac) for name, mac in MACS.items())]
    return {"host": "client", "place": "client", "answers": [answer(VIP)], "owners": owners, **rest}


def checks(*reports: dict[str, Any], **kinds: Any) -> list[dict[str, str]]:
    return external_access_checks(external_access_view(cluster(**kinds)), list(reports))


def lines(found: list[dict[str, str]]) -> list[tuple[str, ...]]:
    return [(one["place"], one["subject"], one["result"], one["found"]) for one in found]


def faults(found: list[dict[str, str]]) -> list[str]:
    assert [one for one in found if one["cause"] and one["result"] != "fault"] == []
    return [one["sentence"] for one in found if one["cause"]]
