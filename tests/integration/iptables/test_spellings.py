# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for iptables_chains in the spellings of users, which are not the kernel's."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    Firewall,
    chains,
    converge,
)

pytestmark = pytest.mark.usefixtures("fresh_node")

THEIRS = """\
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
[7:420] -A FORWARD -j DOCKER-USER
[8:480] -A FORWARD -o docker0 -j DOCKER
[8:480] -A FORWARD -o docker0 -j DOCKER
[9:540] -A FORWARD -m comment --comment "-j LB-X" -j RETURN
COMMIT
"""


# Rules as users write them, with one field of them all: -p tcp --dport and -m tcp, names for numbers, any order.
SPELLINGS = {
    "ipv4": [
        "-s 192.168.10.7 -j ACCEPT",
        "-s 192.168.10.77/255.255.255.0 -j ACCEPT",
        "-s 10.1.0.0/16,10.2.0.0/16 -p tcp --dport 22 -j ACCEPT",
        "-d 10.0.0.1,10.0.0.2 -s 10.1.0.1,10.1.0.2 -j ACCEPT",
        "-p icmp --icmp-type echo-request -j ACCEPT",
        "-p icmp --icmp-type any -j ACCEPT",
        "-m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP",
        "-f -j DROP",
        "-j REJECT",
        "-p tcp -j REJECT --reject-with tcp-reset",
    ],
    "ipv6": [
        "-s fd00:10:0:0::7 -j ACCEPT",
        "-s FD00:10::/64,fd00:11::1 -p tcp --dport 22 -j ACCEPT",
        "-p icmpv6 --icmpv6-type echo-request -j ACCEPT",
        "-p ipv6-icmp --icmpv6-type 135 -j ACCEPT",
        "-m hl --hl-eq 255 -j ACCEPT",
        "-j REJECT",
        "-j REJECT --reject-with adm-prohibited",
    ],
    "both": [
        "",
        "-j ACCEPT",
        "--jump ACCEPT",
        "-p tcp --dport 80 -j ACCEPT",
        "-p TCP --dport http -j ACCEPT",
        "-p 6 --destination-port 80 -j ACCEPT",
        "  -p tcp   --dport 80    -j   ACCEPT  ",
        "-p tcp\t--dport 80\t-j ACCEPT",
        "-j ACCEPT -p tcp --dport 80",
        "--protocol tcp --dport 80 --jump ACCEPT",
        "! -p tcp -j DROP",
        "-p tcp ! --dport 80 -j DROP",
        "-p tcp --sport 1024: --dport :1023 -j ACCEPT",
        "-p udp --dport domain -j ACCEPT",
        "-p tcp --syn -j ACCEPT",
        "-p tcp --tcp-flags ALL NONE -j DROP",
        "-m tcp -p tcp --dport 80 -j ACCEPT",
        "-m state --state ESTABLISHED,RELATED -j ACCEPT",
        "-m conntrack --ctstate ESTABLISHED,NEW -j ACCEPT",
        "-m conntrack ! --ctstate DNAT -j DROP",
        "-p tcp -m multiport --dports 80,443,8000:8080 -j ACCEPT",
        "-p tcp -m multiport --dports ssh -j ACCEPT",
        "-p tcp -m multiport --sports 80,443 -j ACCEPT",
        "-m addrtype --dst-type LOCAL,MULTICAST -j ACCEPT",
        "-m limit --limit 5/minute --limit-burst 7 -j ACCEPT",
        "-m limit --limit 1/s -j LOG --log-prefix 'dropped:' --log-level warning",
        '-j LOG --log-prefix "two words: " --log-level 7',
        "-m statistic --mode random --probability 0.33333 -j ACCEPT",
        "-m statistic --mode nth --every 3 --packet 0 -j ACCEPT",
        "-m recent --name web --rcheck --seconds 60 --reap -j ACCEPT",
        "-m recent --set --name web --rsource -j ACCEPT",
        "-m comment --comment hello -j ACCEPT",
        "-m comment --comment 'it is \"two\" words' -j ACCEPT",
        "-i 'lo' -m comment --comment it\\'s\\ one -j ACCEPT",
        "-p tcp\n",
        '-m comment --comment "hello" -j ACCEPT',
        '-m comment --comment "go to -j LB-NOWHERE --match-set none src" -j ACCEPT',
        '-m comment --comment "say \\"hi\\", it\'s \\\\ here" -j ACCEPT',
        '-m comment --comment "grüße — 日本語" -j ACCEPT',
        "-m mark --mark 1 -j ACCEPT",
        "-m mark --mark 0x10/0xff -j ACCEPT",
        "-j MARK --set-mark 16",
        "-j MARK --or-mark 0x1000",
        "-j CONNMARK --restore-mark",
        "-i eth+ -j ACCEPT",
        "-i lo -o eth0 -j ACCEPT",
        "-m mac --mac-source 02:00:00:00:00:0a -j ACCEPT",
        "-m hashlimit --hashlimit-upto 10/sec --hashlimit-name web -j ACCEPT",
        "-m length --length 100:200 -j ACCEPT",
        "-j LB-OTHER",
        "--goto LB-OTHER",
        "-j THEIRS",
        "-m set --match-set web src -j ACCEPT",
        "-m set ! --match-set web dst,src -j ACCEPT",
        "-m set --match-set  list src -j ACCEPT",
        "-c 5 300 -j ACCEPT",
    ],
}


def test_a_rule_in_any_spelling_is_idempotent(firewall: Firewall) -> None:
    run(["ipset", "create", "web", "hash:ip,port", "family", {"ipv4": "inet", "ipv6": "inet6"}[firewall.family]])
    run(["ipset", "create", "list", "list:set"])
    run(["ipset", "add", "list", "web"])
    firewall("-N THEIRS", "mangle")
    spellings = SPELLINGS["both"] + SPELLINGS[firewall.family]
    rules = [rule for rule in spellings if "REJECT" not in rule]
    content = {"LB-%d" % i: [rule] for i, rule in enumerate(rules)}
    content.update({"LB-ALL": rules, "LB-OTHER": []})
    # Marks belong to one table, REJECT to another.
    rejects = {"LB-R": [rule for rule in spellings if "REJECT" in rule]}
    tables: dict[str, Any] = {"mangle": {"chains": content}, "filter": {"chains": rejects}}
    assert converge(firewall, tables=tables)["changed"]
    # What is read from the kernel is one of the spellings, too.
    read: dict[str, Any] = {}
    for name, kept in firewall.chains().items():
        table, chain = name.split()
        if chain.startswith("LB-"):
            read.setdefault(table, {"chains": {}})["chains"][chain] = kept
    assert not chains(firewall, tables=read)["changed"]
    content["LB-3"] = ["-j DROP"]
    assert chains(firewall, tables=tables, diff=False)["changed"]
    assert not chains(firewall, tables=tables, diff=False)["changed"]
    assert chains(firewall, state="absent", diff=False)["changed"]
    assert set(firewall.chains()) & {"mangle THEIRS"} == {"mangle THEIRS"}
    assert not [name for name in firewall.chains() if " LB-" in name]


JUMPS = [
    "-j LB-X",
    "-g LB-X",
    "  -p tcp --dport http   -j LB-X",
    "-s 10.0.0.5 -i eth0 -j LB-X",
    '-m comment --comment "to ours, -j DOCKER" -j LB-X',
    "-m comment --comment -j -j LB-X",
    "-p tcp -m multiport --dports 80,443 -j LB-X",
    "-m conntrack --ctstate NEW,RELATED -j LB-X",
    "-m addrtype --dst-type LOCAL -j LB-X",
    "-m limit --limit 5/minute -j LB-X",
    "-m statistic --mode random --probability 0.25 -j LB-X",
    "-m recent --name web --rcheck --seconds 60 -j LB-X",
    "-m set --match-set web src,dst -j LB-X",
    "-m mark ! --mark 0x1/0x1 -j LB-X",
    "-m hashlimit --hashlimit-upto 10/sec --hashlimit-name web -j LB-X",
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", JUMPS)
def test_a_jump_in_any_spelling_moves_and_goes(backend: str, rule: str) -> None:
    firewall = Firewall(backend)
    run(["ipset", "create", "web", "hash:ip,port"])
    firewall.load(THEIRS)
    before = firewall.save(counters=True)
    other = "-s 10.9.9.9 -j LB-X"
    for entries in (
        [{"rule": rule}],
        [{"rule": rule, "position": "last"}],
        [{"rule": rule}, {"rule": other}, {"rule": rule, "position": "last"}],
        [{"rule": other, "before": "DOCKER"}, {"rule": rule, "after": "LB-X"}, {"rule": rule, "position": "first"}],
    ):
        result = converge(firewall, tables={"filter": {"chains": {"LB-X": []}, "jumps": {"FORWARD": entries}}})
        assert result["changed"]
        assert firewall.foreign("LB-") == before
    chains(firewall, state="absent")
    assert firewall.save(counters=True) == before
