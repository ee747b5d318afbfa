# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Split DNS: the files for each resolver, and refusals."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import CommandError, Completed
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._split_dns import node
from ansible_collections.homelab.loadbalancer.plugins.module_utils._split_dns.plan import (
    RESOLVERS,
    Plan,
    not_found,
    parse_client,
    plan,
)

MARK = "# Managed by homelab.loadbalancer, role split_dns\n"
RESOLVED_FILE = "/etc/systemd/resolved.conf.d/homelab-loadbalancer-k8s.local.conf"
DELEGATE_FILE = "/etc/systemd/dns-delegate.d/homelab-loadbalancer-k8s.local.dns-delegate"
DNSMASQ_FILE = "/etc/dnsmasq.d/homelab-loadbalancer-k8s.local.conf"
MANAGER_FILES = (
    "/etc/NetworkManager/conf.d/homelab-loadbalancer-k8s.local.conf",
    "/etc/NetworkManager/dnsmasq.d/homelab-loadbalancer-k8s.local.conf",
)
NODE_PORT = {"address": "172.16.0.11", "port": 30053}
SIX = {"address": "fd00:16::11", "port": 30053}
# Sections of a client that lacks nothing, by its resolver.
CLIENTS: dict[str, dict[str, str]] = {
    "systemd-resolved": {
        "system": "Linux",
        "systemd": "252",
        "active": "systemd-resolved",
        "servers": "Global:\nLink 2 (eth0): 192.168.1.1",
        "domains": "Global:\nLink 2 (eth0): ~.",
        "hosts": "files resolve [!UNAVAIL=return] dns",
        "nameservers": "127.0.0.53",
    },
    "dnsmasq": {"system": "Linux", "active": "dnsmasq", "hosts": "files dns", "nameservers": "127.0.0.1"},
    "NetworkManager": {
        "system": "Linux",
        "active": "NetworkManager",
        "programs": "/usr/sbin/dnsmasq",
        "hosts": "files dns",
        "nameservers": "192.168.1.1",
    },
    "macos": {"system": "Darwin"},
}


def client(resolver: str, **sections: str) -> dict[str, str]:
    """The output of programs, and the contents of files, on a client."""
    return {**CLIENTS[resolver], **{name.replace("_", "-"): text for name, text in sections.items()}}


def split_dns_plan(declared: dict[str, Any], sections: dict[str, str]) -> dict[str, Any]:
    return plan({"prefix": "split_dns_", **declared}, parse_client(sections))._asdict()


def planned(resolver: str, *servers: dict[str, Any], **sections: str) -> dict[str, Any]:
    """The plan for k8s.local on a client."""
    declared = {"zone": "k8s.local", "servers": servers or [NODE_PORT], "resolver": "auto", "state": "present"}
    return split_dns_plan(declared, client(resolver, **sections))


def refusal(name: str, sections: dict[str, str] | None = None, /, **declared: Any) -> str:
    """Why something is refused; empty when it is not."""
    usual = {"zone": "k8s.local", "servers": [NODE_PORT], "resolver": "auto", "state": "present"}
    try:
        split_dns_plan({**usual, **declared}, client(name, **(sections or {})))
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_resolver_is_detected(resolver: str) -> None:
    plan = planned(resolver)
    assert plan["resolver"] == resolver
    assert plan["notes"] == []
    assert plan["remove"] == []
    assert set(plan["restart"].values()) == ({resolver} if resolver != "macos" else set())


@pytest.mark.parametrize(
    ("active", "dns", "resolver"),
    [
        ("systemd-resolved\ndnsmasq\nNetworkManager", "", "systemd-resolved"),
        ("systemd-resolved\nNetworkManager", "default", "systemd-resolved"),
        ("systemd-resolved\nNetworkManager", "dnsmasq", "NetworkManager"),
        ("dnsmasq\nNetworkManager", "", "dnsmasq"),
        ("systemd-resolved", "dnsmasq", "systemd-resolved"),  # NetworkManager is installed, and does not run
    ],
)
def test_resolver_is_chosen_in_a_fixed_order(active: str, dns: str, resolver: str) -> None:
    sections = {"active": active, "network_manager": dns, "programs": "/usr/sbin/dnsmasq"}
    assert planned("systemd-resolved", **sections)["resolver"] == resolver


@pytest.mark.parametrize(
    ("resolver", "servers", "files"),
    [
        (
            "systemd-resolved",
            [NODE_PORT, SIX],
            {RESOLVED_FILE: "[Resolve]\nDNS=172.16.0.11:30053 [fd00:16::11]:30053\nDomains=~k8s.local\n"},
        ),
        # resolvectl shows the usual port in no server, and what is shown is compared.
        (
            "systemd-resolved",
            [{"address": "172.16.0.110"}, {"address": "fd00:16::11", "port": 53}],
            {RESOLVED_FILE: "[Resolve]\nDNS=172.16.0.110 fd00:16::11\nDomains=~k8s.local\n"},
        ),
        (
            "dnsmasq",
            [NODE_PORT, SIX],
            {
                DNSMASQ_FILE: "server=/k8s.local/172.16.0.11#30053\nserver=/k8s.local/fd00:16::11#30053\n"
                "rebind-domain-ok=/k8s.local/\n"
            },
        ),
        (
            "NetworkManager",
            [NODE_PORT],
            {
                MANAGER_FILES[0]: "[main]\ndns=dnsmasq\n",
                MANAGER_FILES[1]: "server=/k8s.local/172.16.0.11#30053\nrebind-domain-ok=/k8s.local/\n",
            },
        ),
        (
            "macos",
            [NODE_PORT, SIX],
            {"/etc/resolver/k8s.local": "nameserver 172.16.0.11\nnameserver fd00:16::11\nport 30053\n"},
        ),
    ],
)
def test_files(resolver: str, servers: list[dict[str, Any]], files: dict[str, str]) -> None:
    assert planned(resolver, *servers)["write"] == {path: MARK + text for path, text in files.items()}


def test_systemd_with_delegates_gets_a_delegate() -> None:
    plan = planned("systemd-resolved", systemd="258", domains="Global:", servers="Global: 192.168.1.1")
    assert plan["write"] == {DELEGATE_FILE: MARK + "[Delegate]\nDNS=172.16.0.11:30053\nDomains=~k8s.local\n"}
    assert plan["notes"] == []


def test_files_for_other_resolvers_are_removed() -> None:
    other = "/etc/dnsmasq.d/homelab-loadbalancer-lab.example.conf"
    plan = planned("systemd-resolved", ours="\n".join([DNSMASQ_FILE, RESOLVED_FILE, other]))
    assert plan["remove"] == [DNSMASQ_FILE]
    # Only running services are restarted.
    assert plan["restart"] == {RESOLVED_FILE: "systemd-resolved"}


def test_absent_removes_the_files_of_this_zone() -> None:
    declared = {"zone": "k8s.local", "servers": [], "resolver": "macos", "state": "absent"}
    ours = [RESOLVED_FILE, *MANAGER_FILES, "/etc/dnsmasq.d/homelab-loadbalancer-lab.example.conf"]
    files = [*ours, "/etc/resolver/k8s.local"]
    plan = split_dns_plan(declared, client("systemd-resolved", files="\n".join(files), ours="\n".join(ours)))
    assert plan["write"] == {}
    assert plan["remove"] == [RESOLVED_FILE, *MANAGER_FILES]
    assert plan["restart"] == {RESOLVED_FILE: "systemd-resolved"}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"zone": "k8s local"}, "split_dns_zone k8s local is not a domain"),
        ({"zone": "~k8s.local"}, "split_dns_zone ~k8s.local is not a domain"),
        ({"zone": ""}, "split_dns_zone  is not a domain"),
        ({"zone": "../etc"}, "split_dns_zone ../etc is not a domain"),
        ({"zone": "a" * 64 + ".local"}, "is not a domain"),
        ({"zone": "Local."}, "split_dns_zone local belongs to multicast DNS"),
        ({"servers": []}, "split_dns_servers is empty"),
        ({"servers": [NODE_PORT, {"port": 53}]}, "split_dns_servers[1].address is missing"),
        ({"servers": [{"address": "dns.example"}]}, "split_dns_servers[0].address dns.example is not an IP address"),
        ({"servers": [{"address": "172.16.0.11", "port": 0}]}, "split_dns_servers[0].port 0 is not a port"),
        ({"servers": [{"address": "172.16.0.11:53"}]}, "split_dns_servers[0].address 172.16.0.11:53 is not"),
        ({"servers": [{**NODE_PORT, "name": "a"}]}, "split_dns_servers[0].name is not a known key"),
        ({"resolver": "dnsmasq"}, "split_dns_resolver dnsmasq: it does not run here; what runs is systemd-resolved"),
    ],
)
def test_input_refused_for_all_resolvers(declared: dict[str, Any], message: str) -> None:
    assert message in refusal("systemd-resolved", **declared)


@pytest.mark.parametrize(
    ("resolver", "sections", "servers", "message"),
    [
        ("dnsmasq", {"active": ""}, [NODE_PORT], "no resolver runs here"),
        ("systemd-resolved", {"systemd": "245"}, [NODE_PORT], "takes a port since 246, and this is 245"),
        ("systemd-resolved", {"systemd": "245"}, [{"address": "172.16.0.11"}], ""),
        ("systemd-resolved", {"servers": "Global: 9.9.9.9"}, [NODE_PORT], "has 9.9.9.9 as global servers"),
        ("systemd-resolved", {"servers": "Global: 172.16.0.11:30053"}, [NODE_PORT], ""),
        # A server that was declared before and is not any more.
        (
            "systemd-resolved",
            {"servers": "Global: 172.16.0.12", "drop_ins": RESOLVED_FILE + ":DNS=172.16.0.12"},
            [NODE_PORT],
            "",
        ),
        # That of another zone.
        (
            "systemd-resolved",
            {"servers": "Global: 172.16.0.12", "drop_ins": RESOLVED_FILE.replace("k8s", "lab") + ":DNS=172.16.0.12"},
            [NODE_PORT],
            "has 172.16.0.12 as global servers",
        ),
        ("NetworkManager", {"programs": ""}, [NODE_PORT], "by dnsmasq, which is missing"),
        ("macos", {}, [NODE_PORT, {"address": "172.16.0.12"}], "have several ports"),
        ("macos", {}, [NODE_PORT] * 4, "macOS takes three at most"),
        ("macos", {"files": "/etc/resolver/k8s.local"}, [NODE_PORT], "/etc/resolver/k8s.local is there and is not of"),
    ],
)
def test_input_refused_for_some_resolvers(
    resolver: str, sections: dict[str, str], servers: list[dict[str, Any]], message: str
) -> None:
    said = refusal(resolver, sections, servers=servers)
    assert message in said
    assert bool(message) == bool(said)


@pytest.mark.parametrize(
    ("resolver", "sections", "message"),
    [
        ("systemd-resolved", {"domains": "Global:\nLink 2 (eth0):"}, "will see other names as well"),
        ("systemd-resolved", {"hosts": "files mdns4_minimal [NOTFOUND=return] resolve"}, "has mdns4_minimal before"),
        ("dnsmasq", {"hosts": "files mdns4_minimal [NOTFOUND=return] dns"}, "has mdns4_minimal before dns"),
        ("dnsmasq", {"nameservers": "192.168.1.1\n127.0.0.1"}, "/etc/resolv.conf does not name dnsmasq first"),
        # Behind, it is asked for nothing of the zone.
        ("systemd-resolved", {"hosts": "files resolve mdns4"}, ""),
        ("systemd-resolved", {"hosts": "files dns"}, ""),
        ("systemd-resolved", {"hosts": "files resolve", "nameservers": "192.168.1.1"}, ""),
    ],
)
def test_notes_explain_limits_of_the_resolver(resolver: str, sections: dict[str, str], message: str) -> None:
    notes = planned(resolver, **sections)["notes"]
    assert len(notes) == (1 if message else 0)
    assert message in "".join(notes)


@given(st.lists(st.tuples(st.ip_addresses(), st.integers(1, 65535)), min_size=1, max_size=3))
def test_each_server_is_named_once_in_order(given_servers: list[tuple[Any, int]]) -> None:
    """The resolver reads the declared servers. Impossible addresses are refused."""
    servers = [{"address": str(address), "port": port} for address, port in given_servers]
    if refusal("dnsmasq", servers=servers):
        return
    lines = planned("dnsmasq", *servers)["write"][DNSMASQ_FILE]
    read = re.findall(r"^server=/k8s\.local/(\S+)#(\d+)$", lines, re.MULTILINE)
    assert [(ipaddress.ip_address(address), int(port)) for address, port in read] == given_servers


def test_state_of_the_machine_is_read() -> None:
    """It changes nothing, so it may run on any machine; this one is asked."""
    found = node.read_client()
    assert found.system in ("Linux", "Darwin")
    assert set(found.active) < set(RESOLVERS)
    assert set(found.ours) <= set(found.files)


def test_unresolved_name_is_reported_with_the_servers() -> None:
    made = plan(
        {"zone": "k8s.local", "servers": [NODE_PORT], "resolver": "auto", "state": "present", "prefix": ""},
        parse_client(client("dnsmasq")),
    )
    assert not_found("web.k8s.local", made, [NODE_PORT]) == (
        "getent does not find web.k8s.local by dnsmasq: see that 172.16.0.11 can be reached from here and know the "
        "name."
    )


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that are run, which all succeed."""
    ran: list[str] = []

    def run(argv: list[str], check: bool = True) -> Completed:
        ran.append(" ".join(argv))
        return Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(node, "run", run)
    return ran


def made_plan(path: Path, **rest: Any) -> Plan:
    return Plan("dnsmasq", {}, [], {str(path): "dnsmasq"}, [])._replace(**rest)


def test_a_file_is_written_and_read_once(tmp_path: Path, commands: list[str]) -> None:
    path = tmp_path / "dnsmasq.d/zone.conf"
    made = made_plan(path, write={str(path): "one\n"})
    node.apply(node.edits_of(made), made.restart)
    assert path.read_text() == "one\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert commands == ["systemctl restart dnsmasq.service"]
    assert node.edits_of(made) == []


def test_file_mode_is_repaired(tmp_path: Path, commands: list[str]) -> None:
    path = tmp_path / "zone.conf"
    path.write_text("one\n")
    path.chmod(0o600)
    made = made_plan(path, write={str(path): "one\n"})
    node.apply(node.edits_of(made), made.restart)
    assert path.stat().st_mode & 0o777 == 0o644


def test_files_are_removed_and_network_manager_keeps_its_links(tmp_path: Path, commands: list[str]) -> None:
    paths = [tmp_path / "a.conf", tmp_path / "b.conf"]
    for path in paths:
        path.write_text("one\n")
    made = Plan("", {}, list(map(str, paths)), dict.fromkeys(map(str, paths), "NetworkManager"), [])
    node.apply(node.edits_of(made), made.restart)
    assert not any(path.exists() for path in paths)
    assert commands == ["nmcli general reload conf", "nmcli general reload dns-full"]


def test_files_are_restored_when_the_resolver_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, bool]] = []

    def run(argv: list[str], check: bool = True) -> Completed:
        ran.append((" ".join(argv), check))
        done = Completed(tuple(argv), 1, "", "failed")
        if check:
            raise CommandError(done)
        return done

    monkeypatch.setattr(node, "run", run)
    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    old.write_text("one\n")
    old.chmod(0o644)
    made = Plan("dnsmasq", {str(new): "two\n"}, [str(old)], {str(old): "dnsmasq", str(new): "dnsmasq"}, [])
    with pytest.raises(CommandError):
        node.apply(node.edits_of(made), made.restart)
    assert old.read_text() == "one\n"
    assert not new.exists()
    assert ran == [("systemctl restart dnsmasq.service", True), ("systemctl restart dnsmasq.service", False)]


def test_name_is_resolved_again_until_found(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Completed((), 2, "", ""), Completed((), 0, "172.16.0.100 STREAM web\n", "")]
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(node, "run", lambda argv, check: answers.pop(0))
    assert node.look_up("dnsmasq", "web.k8s.local") == ["172.16.0.100 STREAM web"]
    monkeypatch.setattr(node, "run", lambda argv, check: Completed((), 2, "", ""))
    assert node.look_up("macos", "web.k8s.local") == []
