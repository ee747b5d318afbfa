# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""firewalld's zones: reading, planning, refusals, and the order of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import CommandError, Completed
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._firewalld import node
from ansible_collections.homelab.loadbalancer.plugins.module_utils._firewalld import plan as model

LISTING = """\
internal
  target: default
  icmp-block-inversion: no
  interfaces: 
  sources: 
  services: dhcpv6-client ssh
  ports: 
  protocols: 
  forward: yes
  source-ports: 7946/tcp
  rich rules: 

public (default, active)
  target: default
  ingress-priority: 0
  interfaces: eth0
  sources: 10.9.0.0/16 00:11:22:33:44:AA
  services: ssh
  ports: 8000-8010/tcp 53/udp
  forward-ports: 
	port=80:proto=tcp:toport=8080:toaddr=
  rich rules: 
	rule family="ipv4" source address="10.0.0.0/8" accept
	rule service name="http" log prefix="a: b" accept
"""  # noqa: W291, the space behind a label is firewall-cmd's own
EMPTY: dict[str, list[str]] = {kind: [] for kind in model.KINDS}


def item(kind: str, value: str, zone: str = "public") -> model.Item:
    return model.Item(zone, kind, value)


def test_zones_are_read() -> None:
    assert model.read_zones(LISTING) == {
        "internal": {**EMPTY, "services": ["dhcpv6-client", "ssh"]},
        "public": {
            "sources": ["10.9.0.0/16", "00:11:22:33:44:AA"],
            "services": ["ssh"],
            "ports": ["8000-8010/tcp", "53/udp"],
            "rich_rules": [
                'rule family="ipv4" source address="10.0.0.0/8" accept',
                'rule service name="http" log prefix="a: b" accept',
            ],
        },
    }


@pytest.mark.parametrize(
    ("kind", "value", "added", "removed"),
    [
        ("ports", "7946/tcp", ["7946/tcp"], []),
        ("ports", "53/udp", [], ["53/udp"]),
        ("ports", "53/tcp", ["53/tcp"], []),
        # The port is part of a foreign open range, so it is and stays open.
        ("ports", "8005/tcp", [], []),
        ("ports", "8000-8010/tcp", [], ["8000-8010/tcp"]),
        ("ports", "8001-8010/tcp", [], []),
        ("ports", "8000-8011/tcp", ["8000-8011/tcp"], []),
        ("ports", "8005/udp", ["8005/udp"], []),
        ("services", "ssh", [], ["ssh"]),
        ("services", "http", ["http"], []),
        ("sources", "10.9.0.0/16", [], ["10.9.0.0/16"]),
        ("sources", "10.9.0.0/24", ["10.9.0.0/24"], []),
        ("sources", "00:11:22:33:44:aa", [], ["00:11:22:33:44:AA"]),
        ("sources", "ipset:A", ["ipset:A"], []),
        ("rich_rules", 'rule family="ipv4" source address="10.0.0.0/8" accept', [], ["the same"]),
    ],
)
def test_plan(kind: str, value: str, added: list[str], removed: list[str]) -> None:
    have = model.read_zones(LISTING)
    removed = [value if text == "the same" else text for text in removed]
    want = [item(kind, value)] * 2
    assert model.plan(have, want, present=True) == [model.Change("add", item(kind, text)) for text in added]
    assert model.plan(have, want, present=False) == [model.Change("remove", item(kind, text)) for text in removed]


def test_a_source_comes_last_and_goes_first() -> None:
    want = [item("sources", "10.1.0.0/16"), item("ports", "1/tcp", "internal"), item("services", "http")]
    have = dict.fromkeys(("public", "internal"), EMPTY)
    added = model.plan(have, want, present=True)
    assert [change.item.kind for change in added] == ["services", "ports", "sources"]
    after = model.planned(have, added)
    assert after["public"]["sources"] == ["10.1.0.0/16"]
    removed = model.plan(after, want, present=False)
    assert [change.item.kind for change in removed] == ["sources", "ports", "services"]
    assert model.planned(after, removed) == have


def test_listing_equals_that_of_firewall_cmd() -> None:
    assert (
        model.show(model.read_zones(LISTING), ["public"])
        == """\
public
  sources: 10.9.0.0/16 00:11:22:33:44:AA
  services: ssh
  ports: 8000-8010/tcp 53/udp
  rich rules:
\trule family="ipv4" source address="10.0.0.0/8" accept
\trule service name="http" log prefix="a: b" accept
"""
    )


@pytest.mark.parametrize(
    ("kind", "value", "names"),
    [
        ("ports", "http/tcp", []),
        ("services", "http", [("service", "http")]),
        ("sources", "ipset:friends", [("ipset", "friends")]),
        ("sources", "10.0.0.0/8", []),
        ("rich_rules", "rule service name=http accept", [("service", "http")]),
        ("rich_rules", "rule service name='http' accept", [("service", "http")]),
        (
            "rich_rules",
            'rule source not ipset="friends" icmp-block name="echo-request"',
            [("ipset", "friends"), ("icmptype", "echo-request")],
        ),
    ],
)
def test_names_that_are_looked_up(kind: str, value: str, names: list[tuple[str, str]]) -> None:
    assert list(model.names_used(item(kind, value))) == names


class Firewalld:
    """Stands in for firewall-cmd and firewall-offline-cmd, and keeps their command lines.

    Its permanent and its running zones are those of LISTING. Every value is good but those with `bad` in them.
    """

    def __init__(self, state: int = node.RUNNING, failing: str = "nothing") -> None:
        self.state = state
        self.failing = failing
        self.commands: list[str] = []

    def run(self, argv: Sequence[str], check: bool = True) -> Completed:
        trial = "--system-config=" in " ".join(argv)
        words = ["trial" if word.startswith("--system-config=") else word for word in argv]
        self.commands.append(" ".join(words))
        rc, out, err = 0, "", ""
        if argv[0] == "firewall-cmd" and self.state != node.RUNNING:
            rc, err = self.state, "FirewallD is not running"
        elif "bad" in argv[-1]:
            rc, err = 102, "Error: INVALID_PORT: bad"
        elif argv[-1] == self.failing and not trial:
            rc, err = 1, "Error: no reason"
        elif argv[-1] == "--get-services":
            out = "dhcpv6-client http ssh"
        elif trial and argv[-1] == "--list-all-zones":
            out = "public\n  ports: 80/tcp\ninternal\n"
        elif argv[-1] == "--list-all-zones":
            out = LISTING
        completed = Completed(tuple(argv), rc, out, err)
        if check and rc:
            raise CommandError(completed)
        return completed


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Install a stand-in, for instance by patched(state=node.STOPPED)."""
    monkeypatch.setattr(node, "CONFIG", str(tmp_path))

    def patch(**options: Any) -> Firewalld:
        firewalld = Firewalld(**options)
        monkeypatch.setattr(node, "run", firewalld.run)
        return firewalld

    return patch


HTTP = [{"zone": "public", "ports": ["http/tcp"], "services": None}]
READ = ["firewall-cmd --list-all-zones", "firewall-cmd --permanent --list-all-zones"]
TRIED = ["firewall-offline-cmd trial --zone=public --add-port=http/tcp", "firewall-offline-cmd trial --list-all-zones"]


def test_commands_with_firewalld_running(patched: Any) -> None:
    firewalld = patched()
    result = node.converge(HTTP, present=True, check_mode=False)
    assert (result["changed"], result["firewalld"]) == (True, "running")
    assert firewalld.commands == [
        *READ,
        *TRIED,
        "firewall-cmd --permanent --zone=public --add-port=80/tcp",
        "firewall-cmd --zone=public --add-port=80/tcp",
    ]


def test_check_mode_predicts_it(patched: Any) -> None:
    patched()
    result = node.converge(HTTP, present=True, check_mode=False)
    firewalld = patched()
    assert node.converge(HTTP, present=True, check_mode=True) == result
    assert firewalld.commands == [*READ, *TRIED]
    assert [part["before_header"] for part in result["diff"]] == ["firewalld, permanent", "firewalld, running"]
    assert "  ports: 8000-8010/tcp 53/udp 80/tcp\n" in result["diff"][0]["after"]


def test_listed_elements_are_not_checked_again(patched: Any) -> None:
    firewalld = patched()
    zones = [{"zone": "public", "ports": ["53/udp"], "services": ["ssh"]}]
    assert node.converge(zones, present=True, check_mode=False)["changed"] is False
    assert firewalld.commands == READ


@pytest.mark.parametrize("state", [node.STOPPED, node.NO_BUS])
@pytest.mark.parametrize("present", [True, False])
def test_commands_with_firewalld_stopped(patched: Any, present: bool, state: int) -> None:
    firewalld = patched(state=state)
    zones = [{"zone": "public", "ports": ["http/tcp"] if present else ["53/udp"], "services": ["ssh"]}]
    result = node.converge(zones, present=present, check_mode=False)
    assert (result["changed"], result["firewalld"]) == (True, "stopped")
    changes = ["--add-port=80/tcp"] if present else ["--remove-port=53/udp", "--remove-service-from-zone=ssh"]
    assert firewalld.commands == [
        READ[0],
        "firewall-offline-cmd --list-all-zones",
        *(TRIED if present else []),
        *("firewall-offline-cmd --zone=public " + change for change in changes),
    ]


def test_node_without_firewalld_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "run", lambda argv, check: _missing(argv))
    result = node.converge(HTTP, present=True, check_mode=False)
    assert result == {"changed": False, "firewalld": "missing", "diff": []}


def _missing(argv: Sequence[str]) -> Completed:
    raise CommandError(Completed(tuple(argv), 127, "", "not installed on this node"))


def test_failed_change_rolls_back_earlier_ones(patched: Any) -> None:
    firewalld = patched(failing="--remove-service=ssh")
    zones = [{"zone": "public", "ports": ["53/udp"], "services": ["ssh"]}]
    with pytest.raises(CommandError, match="no reason"):
        node.converge(zones, present=False, check_mode=False)
    assert firewalld.commands[2:] == [
        "firewall-cmd --permanent --zone=public --remove-port=53/udp",
        "firewall-cmd --permanent --zone=public --remove-service=ssh",
        "firewall-cmd --permanent --zone=public --add-port=53/udp",
    ]


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        ({"zone": "dmz"}, "zones[1].zone dmz is not a zone of firewalld, which has internal, public."),
        (
            {"zone": "internal", "ports": ["1/tcp", "bad/tcp"]},
            "zones[1].ports[1] bad/tcp was rejected by firewalld: INVALID_PORT: bad",
        ),
        (
            {"zone": "public", "services": ["nosuch"]},
            "zones[1].services[0] nosuch: nosuch is not a service of firewalld",
        ),
        (
            {"zone": "public", "rich_rules": ["rule service name=nosuch drop"]},
            "zones[1].rich_rules[0] rule service name=nosuch drop: nosuch is not a service of firewalld",
        ),
        (
            {"zone": "internal", "sources": ["10.9.0.0/16"]},
            "zones[1].sources[0] 10.9.0.0/16 is in zone public already, and a source is in one zone only",
        ),
    ],
)
@pytest.mark.parametrize("state", [node.RUNNING, node.STOPPED])
def test_bad_input_is_refused_before_anything_changes(
    patched: Any, state: int, zone: dict[str, Any], message: str
) -> None:
    firewalld = patched(state=state)
    with pytest.raises(InputError) as refused:
        node.converge([*HTTP, zone], present=True, check_mode=False, where="firewalld_ports_zones")
    assert str(refused.value).startswith("firewalld_ports_" + message)
    changes = [line for line in firewalld.commands if "trial" not in line and ("--add" in line or "--remove" in line)]
    assert changes == []


def test_failed_firewalld_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "run", lambda argv, check: Completed(tuple(argv), 251, "", "failed"))
    with pytest.raises(CommandError, match="exit code 251"):
        node.converge(HTTP, present=True, check_mode=False)
