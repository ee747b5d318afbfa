# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""probe_owners and probe_ports, from a client on a LAN: who has an address, what answers on a port, who says no."""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Sequence

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lan import MACS, V4, V6, Lan
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    entered,
    finish_module,
    module,
    start_module,
    wait_for,
)

NODE4, NODE6 = "192.168.10.1", "fd00:10::1"
# A server of a page, of an error, of another protocol, of silence; and a datagram socket that never answers.
SERVER = """
import socket, sys, threading
def serve(port, said):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        peer = listener.accept()[0]
        peer.recv(4096)
        peer.sendall(said)
        if said:
            peer.close()
answers = {80: b"HTTP/1.1 200 OK\\r\\n\\r\\n", 81: b"HTTP/1.1 503 No\\r\\n\\r\\n", 22: b"SSH-2.0-x\\r\\n", 90: b""}
for port, said in answers.items():
    threading.Thread(target=serve, args=(port, said)).start()
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", 7946))
print("ready", flush=True)
threading.Event().wait()
"""


def inside(lan: Lan, host: str = "client") -> list[str]:
    return ["ip", "netns", "exec", lan.prefix + host]


def probe(lan: Lan, name: str, host: str, before: Sequence[str], **options: Any) -> dict[str, Any]:
    """Run a module in check mode: in this process on a host, or in a process that the command `before` starts."""
    if before:
        result = finish_module(start_module(name, True, inside=before, **options))
    else:
        with entered(lan.prefix + host):
            result = module(name, True, **options)
    assert result["changed"] is False, result
    return result


def owners(lan: Lan, *addresses: str, host: str = "client", before: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What probe_owners returns of the addresses."""
    result = probe(lan, "probe_owners", host, before, addresses=list(addresses), seconds=0.4)
    found: list[dict[str, Any]] = result["owners"]
    return found


def names(lan: Lan, hosts: Path) -> list[str]:
    """The client with /etc/hosts of its own: each `ip netns exec` has its own mounts."""
    return [*inside(lan), "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]


def ports(lan: Lan, *targets: dict[str, Any], before: Sequence[str] = (), **options: Any) -> list[dict[str, Any]]:
    """What probe_ports returns of the targets; a target without an address has the node's IPv4 address."""
    wanted = [{"address": NODE4, **target} for target in targets]
    result = probe(lan, "probe_ports", "client", before, **{"targets": wanted, "timeout": 1, **options})
    found: list[dict[str, Any]] = result["answers"]
    return found


def states(lan: Lan, port: int) -> list[str]:
    """The states of a port by tcp and udp, IPv4 and IPv6."""
    targets = [{"address": a, "port": port, "protocol": p} for a in (NODE4, NODE6) for p in ("tcp", "udp")]
    return [answer["state"] for answer in ports(lan, *targets)]


@contextlib.contextmanager
def server(lan: Lan, host: str = "node") -> Iterator[None]:
    with subprocess.Popen([*inside(lan, host), sys.executable, "-c", SERVER], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


@pytest.fixture
def served(lan: Lan) -> Iterator[Lan]:
    with server(lan):
        yield lan


def test_one_run_probes_ports_and_owners(served: Lan) -> None:
    target = {"address": NODE4, "port": 80, "protocol": "http"}
    both = finish_module(start_module("probe_ports", inside=inside(served), targets=[target], owners=[NODE4]))
    alone = finish_module(start_module("probe_owners", inside=inside(served), addresses=[NODE4]))
    assert [answer["state"] for answer in both["answers"]] == ["open"]
    assert {key: both[key] for key in ("owners", "links", "networks")} == {
        key: alone[key] for key in ("owners", "links", "networks")
    }


def test_all_owners_of_an_address_are_found(lan: Lan) -> None:
    assert [found["macs"] for found in owners(lan, V4, V6)] == [[], []]
    lan.batch("node", "address add %s/32 dev eth0" % V4, "address add %s/128 dev eth0 nodad" % V6)
    assert [found["macs"] for found in owners(lan, V4, V6, NODE4)] == [[MACS["node"]]] * 3
    lan.batch("other", "address add %s/32 dev eth0" % V4, "address add %s/128 dev eth0 nodad" % V6)
    both = sorted([MACS["node"], MACS["other"]])
    four, six = owners(lan, V4, V6)
    assert four == {
        "address": V4,
        "interface": "eth0",
        "source": "192.168.10.3",
        "gateway": "",
        "macs": both,
        "reason": "",
    }
    assert (six["macs"], six["source"]) == (both, "fd00:10::3")


def test_reason_is_given_where_owners_cannot_be_probed(lan: Lan) -> None:
    lan.batch("client", "route add 172.16.0.0/24 via %s" % NODE4, "link add t0 type veth peer name t1")
    lan.batch("client", "link set t0 up arp off", "link set t1 up", "route add 172.17.0.0/24 dev t0")
    own, routed, mute, lost = owners(lan, "192.168.10.3", "172.16.0.100", "172.17.0.1", "203.0.113.1")
    assert own["reason"] == "this host has the address itself"
    assert (routed["reason"], routed["gateway"]) == ("it is behind the router %s" % NODE4, NODE4)
    assert mute["reason"] == "t0 has no ARP"
    assert "no route to it (" in lost["reason"] and "unreachable" in lost["reason"]
    assert {found["macs"] for found in (own, routed, mute, lost)} == {None}


def test_missing_capability_is_named(lan: Lan) -> None:
    drop = [*inside(lan), "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    (found,) = owners(lan, V4, before=drop)
    assert (found["macs"], found["reason"]) == (None, "asking by ARP needs root (become: true)")


def test_answers_are_told_apart(served: Lan) -> None:
    answers = ports(
        served,
        {"port": 80},
        {"port": 80, "protocol": "http"},
        {"port": 80, "protocol": "http", "address": NODE6, "path": "/x?y=1", "host": "a.k8s.local"},
        {"port": 81, "protocol": "http"},
        {"port": 22, "protocol": "http"},
        {"port": 90, "protocol": "http"},
        {"port": 7946, "protocol": "udp"},
    )
    assert [(answer["state"], answer["status"]) for answer in answers] == [
        ("open", None),
        ("open", 200),
        ("open", 200),
        ("open", 503),
        ("open", None),
        ("open", None),
        ("silent", None),
    ]
    assert answers[4]["detail"] == "connects, but does not speak HTTP"
    assert answers[5]["detail"] == "connects, but does not answer HTTP in time"
    assert {answer["source"] for answer in answers} == {"192.168.10.3", "fd00:10::3"}


def test_refusals_are_told_apart(served: Lan) -> None:
    """A port that nobody listens on, a firewall that says no as firewalld does, one that drops, and no way at all."""
    assert states(served, 7945) == ["refused"] * 4
    (at_once,) = ports(served, {"port": 7945}, timeout=60)
    assert at_once["milliseconds"] < 60000  # does not wait for what has come
    assert at_once["sender"] == ""  # a reset of TCP
    rules = "table inet t { chain i { type filter hook input priority 0; meta l4proto {tcp, udp} th dport 7946 %s; }; }"
    served.run("node", "nft", "-f", "-", stdin=rules % "reject with icmpx admin-prohibited")
    refused = ports(served, {"port": 7946}, {"port": 7946, "protocol": "udp"})
    assert states(served, 7946) == ["prohibited"] * 4
    assert refused[0]["detail"] == ("a firewall says no (ICMP, administratively prohibited, from %s)" % NODE4)
    assert [answer["sender"] for answer in refused] == [NODE4] * 2
    served.run("node", "nft", "flush ruleset; " + rules % "drop")
    assert states(served, 7946) == ["silent"] * 4
    answers = ports(served, {"port": 80, "address": "203.0.113.1"}, {"port": 80, "address": "192.168.10.99"}, timeout=5)
    assert [answer["state"] for answer in answers] == ["unreachable"] * 2
    assert answers[0]["detail"] == "network is unreachable"


def test_broadcast_address_is_not_reported_as_a_firewall(served: Lan) -> None:
    """The kernel refuses both by the same number."""
    broadcast = str(ipaddress.ip_interface(NODE4 + "/24").network.broadcast_address)
    for protocol in ("tcp", "udp"):
        (answer,) = ports(served, {"address": broadcast, "port": 53, "protocol": protocol})
        assert answer["state"] == "unreachable"
        assert answer["detail"] == "it is the broadcast address of a network: ask the address of a host"


def test_failed_probe_is_retried(lan: Lan) -> None:
    process = start_module(
        "probe_ports", inside=inside(lan), targets=[{"address": NODE4, "port": 80, "protocol": "http"}], wait=60
    )
    # Its question is on the wire: the port was asked before anybody listened.
    wait_for(lambda: lan.neighbor(NODE4), "the first question")
    with server(lan):
        assert finish_module(process)["answers"][0]["status"] == 200


def test_host_names_are_resolved(served: Lan, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    # The resolver puts IPv4 first, where nobody listens.
    hosts.write_text("%s web.test\n192.168.10.2 both.test\n%s both.test\n" % (NODE4, NODE6))
    web, tcp, both, closed, lost = ports(
        served,
        {"address": "", "host": "web.test", "port": 80, "protocol": "http"},
        {"address": "", "host": "web.test", "port": 80},
        {"address": "", "host": "both.test", "port": 80, "protocol": "http"},
        {"address": "", "host": "web.test", "port": 7945},
        {"address": "", "host": "nobody.invalid", "port": 80, "protocol": "http"},
        before=names(served, hosts),
    )
    assert (web["address"], web["host"], web["status"]) == (NODE4, "web.test", 200)
    assert (tcp["address"], tcp["state"]) == (NODE4, "open")
    assert (both["address"], both["status"]) == (NODE6, 200)
    assert (closed["address"], closed["state"]) == (NODE4, "refused")
    assert (lost["address"], lost["host"], lost["state"]) == ("", "nobody.invalid", "unresolved")
    assert lost["detail"].startswith("the name is not found (")


def test_localhost_is_resolved(lan: Lan) -> None:
    with server(lan, "client"):
        (found,) = ports(lan, {"address": "", "host": "localhost", "port": 80, "protocol": "http"})
    assert found["status"] == 200
    assert found["address"] in ("127.0.0.1", "::1")


def test_unresolved_name_is_retried(served: Lan, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    wanted = [{"host": "web.test", "port": 80, "protocol": "http"}, {"address": NODE4, "port": 80}]
    process = start_module("probe_ports", inside=names(served, hosts), targets=wanted, wait=60)
    # The other target is asked in the same round.
    wait_for(lambda: served.neighbor(NODE4), "the first round")
    hosts.write_text("%s web.test\n" % NODE4)
    assert finish_module(process)["answers"][0]["status"] == 200


@pytest.mark.usefixtures("fresh_node")
@pytest.mark.parametrize(
    ("name", "option"),
    [("probe_ports", "timeout"), ("probe_ports", "wait"), ("probe_owners", "seconds"), ("vrrp_listen", "limit")],
)
def test_numbers_out_of_range_are_refused(name: str, option: str) -> None:
    needed = {"probe_ports": {"targets": []}, "vrrp_listen": {"interface": "eth0"}}.get(name, {})
    result = module(name, **needed, **{option: -1})
    assert result["failed"]
    assert result["msg"].startswith("%s -1 is not a number from 0" % option)


@pytest.mark.usefixtures("fresh_node")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"address": ""}, "targets[0] has neither an address nor a host: give one of them"),
        ({"address": "10.0.0.300"}, "targets[0].address 10.0.0.300 is not an IP address"),
        ({"address": "224.0.0.1"}, "targets[0].address 224.0.0.1 is not the address of one host"),
        ({"address": "0.0.0.0"}, "targets[0].address 0.0.0.0 is not the address of one host"),
        ({"port": 0}, "targets[0].port 0 is not a port from 1 to 65535"),
        ({"path": "/ HTTP/1.1\r\nX: y"}, "targets[0].path '/ HTTP/1.1\\r\\nX: y' is not a path"),
        ({"host": "a\r\nX: y"}, "targets[0].host 'a\\r\\nX: y' is not a host name"),
    ],
)
def test_bad_targets_are_refused(target: dict[str, Any], message: str) -> None:
    wanted = {"address": NODE4, "port": 80, **target}
    result = module("probe_ports", targets=[wanted])
    assert result["failed"]
    assert message in result["msg"]
