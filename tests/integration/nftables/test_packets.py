# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets between hosts meet the declared rules, even while the table changes."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lan import Lan
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import entered
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import converge, declare, listing, nft

CLIENT, OTHER = "192.168.10.3", "192.168.10.2"
CHANGES = 20
FLOODS = 6
CONTENT = """\
set blocked { type ipv4_addr; flags interval; %s }
set seen { type ipv4_addr; size 100; flags dynamic,timeout; timeout 1h; counter; }
chain input {
    type filter hook input priority filter; policy accept
    icmp type echo-request jump requests
}
chain requests {
    %s
    update @seen { ip saddr }
    ip saddr @blocked counter drop
}
"""


@pytest.fixture
def net(lan: Lan) -> Iterator[Lan]:
    """Run the test in the network namespace of the node of a LAN."""
    with entered(lan.prefix + "node"):
        yield lan


def reached(lan: Lan) -> dict[str, bool]:
    """Tells which hosts get an answer from the node."""
    ping = ["ping", "-c1", "-W1", "192.168.10.1"]
    return {host: lan.run(host, *ping, check=False).rc == 0 for host in ("client", "other")}


def test_packets_meet_the_declared_rules(net: Lan) -> None:
    assert reached(net) == {"client": True, "other": True}
    converge(CONTENT % ("elements = { %s }" % CLIENT, ""))
    assert reached(net) == {"client": False, "other": True}
    # Elements and counts that packets added stay when declared elements and rules change.
    converge(CONTENT % ("elements = { %s }" % OTHER, "ip saddr 203.0.113.0/24 drop"), static=False)
    now = nft("list table inet site")
    assert re.search(r"ip saddr @blocked counter packets 1 bytes 84 drop", now), now
    for host in (CLIENT, OTHER):
        assert re.search(re.escape(host) + r" counter packets \d+ bytes \d+ expires 59m", now), now
    assert reached(net) == {"client": True, "other": False}
    assert declare(state="absent")["changed"]
    assert (listing(), reached(net)) == ("", {"client": True, "other": True})


def test_no_packet_gets_through_while_the_table_changes(net: Lan) -> None:
    """Each declared state blocks the address that the flood comes from."""
    sets = ["elements = { %s }" % CLIENT, "size 99; elements = { 192.168.10.0/28 }"]
    rules = ["", "ip saddr 203.0.113.0/24 drop"]
    declare(CONTENT % (sets[0], rules[0]))
    argv = ["ip", "netns", "exec", net.prefix + "client", "ping", "-q", "-f", "192.168.10.1"]
    floods = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for dummy in range(FLOODS)]
    try:
        for number in range(1, CHANGES + 1):
            assert declare(CONTENT % (sets[number % 2], rules[number // 2 % 2]), diff=False)["changed"]
    finally:
        for flood in floods:
            flood.send_signal(signal.SIGINT)
    said = "".join(flood.communicate()[0] for flood in floods)
    sent, received = zip(*re.findall(r"(\d+) packets transmitted, (\d+) received", said))
    assert sum(map(int, received)) == 0, said
    assert sum(map(int, sent)) > 10 * CHANGES, "too few packets for a flood"
