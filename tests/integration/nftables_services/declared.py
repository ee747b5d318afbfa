# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services declared by nftables_services on the node that a test runs in, and tables of other programs beside them."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import Firewall, module
from ansible_collections.homelab.loadbalancer.tests.integration.nftables import tables
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import blocks, load, nft, still
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import VIP, VIP2, VIP6, endpoints

OURS = "inet LB"
ISOLATE = [{"from": "eth0", "to": "eth1"}]
WEB: dict[str, Any] = {"name": "web", "address": VIP, "port": 80, "endpoints": endpoints(1)}
WEB6: dict[str, Any] = {**WEB, "name": "web6", "address": VIP6, "endpoints": endpoints(1, 2, family="ipv6")}
STICKY = {"session_affinity": {"timeout": 600}}
FULL: list[dict[str, Any]] = [
    {**WEB, "endpoints": endpoints(1, 2, 3), "node_port": 30080, **STICKY},
    {**WEB, "name": "few", "port": 81, "source_ranges": ["192.168.10.0/28", "10.0.0.1/32"], "node_port": 30081},
    {**WEB, "name": "none", "address": VIP2, "endpoints": [], "protocol": "udp", "node_port": 30082},
    {**WEB6, "source_ranges": ["fd00:10::/64"], "node_port": 30080, "session_affinity": {"timeout": None}},
    {**WEB6, "name": "none6", "port": 81, "endpoints": [], "protocol": "sctp"},
]
# As other programs and administrators have them. One table has the name of ours in another family.
FOREIGN = """\
table ip LB {
    set services-ip { type ipv4_addr; flags timeout; elements = { 192.0.2.1 } }
    chain services { type filter hook input priority 0; ip saddr @services-ip counter packets 3 bytes 4 drop; }
}
table inet firewalld {
    counter web { packets 5 bytes 6 }
    chain filter_FORWARD { type filter hook forward priority 10; counter name web; }
}
"""
FOREIGN_IPTABLES = """*nat
:DOCKER -
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
"""


def load_foreign() -> None:
    """Load the tables of other programs."""
    load(FOREIGN)
    for backend in ("nft", "legacy"):
        Firewall(backend).load(FOREIGN_IPTABLES)


def foreign() -> str:
    """Everything that is not ours, with counters and handles."""
    return tables.others(OURS) + Firewall("legacy").save(counters=True)


def make_links() -> None:
    """The links eth0 and eth1."""
    run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"])


def listing(options: str = "-s", table: str = OURS) -> str:
    return tables.listing(table, options)


def elements(name: str) -> list[str]:
    """The elements of one of our sets or maps, without remaining times."""
    found = [block for block in blocks(listing()) if block.startswith(("\tmap %s {" % name, "\tset %s {" % name))]
    text = "".join(found).partition("elements = { ")[2].partition(" }")[0]
    return text.split(", ") if text else []


def try_services(services: list[dict[str, Any]], check_mode: bool = False, **options: Any) -> dict[str, Any]:
    return module("nftables_services", check_mode, services=services, **options)


def declare(services: list[dict[str, Any]], check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module, which must succeed."""
    result = try_services(services, check_mode, **options)
    assert not result.get("failed"), result["msg"]
    return result


def converge(services: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Run the module in check mode, for real, and again.

    Check mode changes nothing and predicts the run. The second run changes nothing. Foreign tables stay as they are.
    The diff shows the blocks that nft itself lists.
    """
    theirs, before, shown_before = foreign(), listing("-a"), listing()
    predicted = declare(services, check_mode=True, **options)
    assert still(listing("-a")) == still(before)
    result = declare(services, **options)
    assert result == predicted
    after = listing("-a")
    assert declare(services, **options) == {**result, "changed": False, "diff": []}
    assert declare(services, diff=False, **options)["changed"] is False
    assert still(listing("-a")) == still(after)
    assert foreign() == theirs
    had, has = lines(shown_before), lines(listing())
    for side, one, other in (("before", had, has), ("after", has, had)):
        shown = [block for each in result["diff"] for block in lines(each[side])]
        assert shown == [block for block in one if block not in other], side
    return result


def lines(text: str) -> list[list[str]]:
    """The lines of each block of a listing, one for each element. Their order is nft's own affair."""
    return [
        sorted(block.replace("elements = { ", "elements = {\n").replace(" }\n", "\n").replace(", ", "\n").split("\n"))
        for block in blocks(text)
    ]


def add_clients(service: str, *clients: str, to: str, port: int = 8080) -> None:
    """Let a service remember clients."""
    for name, value in (("client-addresses-", to), ("client-ports-", str(port))):
        each = ", ".join("%s : %s" % (client, value) for client in clients)
        nft("-f -", "add element %s %s%s { %s }\n" % (OURS, name, service, each))
