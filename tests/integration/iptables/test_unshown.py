# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iptables cannot show, and nodes without iptables: nothing is taken for absent that was not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._boot import folder
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import command
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._inspect.links import Network
from ansible_collections.homelab.loadbalancer.plugins.module_utils._inspect.node import read_firewall
from ansible_collections.homelab.loadbalancer.plugins.module_utils._inspect.tools import Tools
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    Firewall,
    module,
    try_chains,
)
from ansible_collections.homelab.loadbalancer.tests.unit.boot.systemd import standing_in

pytestmark = pytest.mark.usefixtures("fresh_node")

NATIVE = """
add table %(family)s filter
add chain %(family)s filter FORWARD { type filter hook forward priority 0; }
add rule %(family)s filter FORWARD ct state established,related accept
"""
OURS: dict[str, Any] = {
    "filter": {"chains": {"LB-X": ["-j DROP"]}, "jumps": {"FORWARD": [{"rule": "-j LB-X"}]}},
}
NAT: dict[str, Any] = {"nat": {"chains": {"LB-X": ["-j RETURN"]}}}
SERVICE = {"name": "web", "address": "192.168.10.100", "port": 80, "endpoints": [{"address": "192.168.20.20"}]}


def nft(text: str) -> None:
    run(["nft", "-f", "-"], text)


def ruleset() -> str:
    return run(["nft", "list", "ruleset"]).out


def refusal(firewall: Firewall, **options: Any) -> str:
    """What the module says, in check mode as in a real run; nothing has changed."""
    before = ruleset()
    said = {try_chains(firewall, check_mode, **options)["msg"] for check_mode in (True, False)}
    assert ruleset() == before
    (message,) = said
    return str(message)


@pytest.mark.parametrize(("family", "spoken"), [("ipv4", "ip"), ("ipv6", "ip6")])
def test_unreadable_table_is_refused(family: str, spoken: str) -> None:
    firewall = Firewall("nft", family)
    try_chains(firewall, tables=OURS)
    nft(NATIVE % {"family": spoken})
    each: list[dict[str, Any]] = [{"tables": OURS}, {"tables": NAT}, {"tables": {}}, {"state": "absent"}]
    for options in each:
        message = refusal(firewall, **options)
        assert "cannot show the table filter of this node" in message
        assert "`nft list table %s filter`" % spoken in message


def test_unreadable_table_without_our_chains_is_no_obstacle() -> None:
    firewall = Firewall("nft")
    nft(NATIVE % {"family": "ip"})
    before = ruleset()
    assert "cannot show the table filter" in refusal(firewall, tables=OURS)
    assert try_chains(firewall, tables=NAT)["changed"]
    hosts: dict[str, Any] = {"filter": {"jumps": {"DOCKER-USER": []}}}
    assert try_chains(firewall, tables=hosts, state="absent")["changed"]
    assert ruleset() == before
    assert not try_chains(firewall, tables=hosts, state="absent")["changed"]


def test_services_are_refused_before_the_first_family_is_changed() -> None:
    nft(NATIVE % {"family": "ip6"})
    before = ruleset()
    result = module("iptables_services", backend="nft", services=[SERVICE], isolate=[{"from": "lo", "to": "lo"}])
    assert "`nft list table ip6 filter`" in result["msg"]
    assert ruleset() == before


def test_a_jump_into_a_chain_of_another_priority_is_refused() -> None:
    firewall = Firewall("nft")
    nft("add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 10; }")
    message = refusal(firewall, tables=OURS)
    assert message.startswith(
        "tables.filter.jumps.FORWARD: the chain FORWARD of this node is one of nftables with priority 10, and "
        "iptables' own one has 0, so that no rule can be put there: see `nft list table ip filter`"
    )
    inputs = {"filter": {**OURS["filter"], "jumps": {"INPUT": [{"rule": "-j LB-X"}]}}}
    assert try_chains(firewall, tables=inputs)["changed"]
    assert not try_chains(firewall, tables=inputs)["changed"]
    assert try_chains(firewall, state="absent")["changed"]


def test_a_jump_into_a_base_chain_of_another_name_is_refused() -> None:
    firewall = Firewall("nft")
    nft("add table ip filter; add chain ip filter MINE { type filter hook forward priority -5; }")
    tables = {"filter": {**OURS["filter"], "jumps": {"MINE": [{"rule": "-j LB-X"}]}}}
    assert "MINE of this node is one of nftables with priority -5" in refusal(firewall, tables=tables)
    assert try_chains(firewall, tables=OURS)["changed"]


def test_inspection_names_the_unreadable_table() -> None:
    nft(NATIVE % {"family": "ip"})
    tools = Tools(10)
    report = read_firewall(Network((), ()), tools)
    assert "filter" not in [table["table"] for table in report["iptables"]]
    assert [note for note in tools.notes if "`nft list table ip filter`" in note]


def test_unreadable_table_of_the_other_backend_gives_a_warning() -> None:
    nft(NATIVE % {"family": "ip"})
    (warning,) = try_chains(Firewall("legacy"), tables=NAT)["warnings"]
    assert "`nft list table ip filter`" in warning


@pytest.fixture
def without_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_what_is_there(argv: list[str], *arguments: Any, **options: Any) -> command.Completed:
        if "tables" in argv[0]:
            raise command.CommandError(command.Completed(tuple(argv), 127, "", "not installed on this node"))
        return run(argv, *arguments, **options)

    name = "ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.node.run"
    monkeypatch.setattr(name, run_what_is_there)


MODULES: dict[str, dict[str, Any]] = {"iptables_chains": {"prefix": "LB-"}, "iptables_services": {}}


@pytest.mark.usefixtures("without_iptables")
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("backend", ["auto", "nft"])
def test_absent_without_iptables_has_nothing_to_do(name: str, backend: str) -> None:
    for check_mode in (True, False):
        result = module(name, check_mode, state="absent", backend=backend, **MODULES[name])
        assert (result.get("failed"), result["changed"], result["iptables"]) == (None, False, [])


@pytest.mark.usefixtures("without_iptables")
def test_absent_without_iptables_removes_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rules.v4"
    file.write_text("*nat\nCOMMIT\n")
    for check_mode in (True, False):
        assert module("iptables_chains", check_mode, state="absent", save_to=str(file), prefix="LB-")["changed"]
    assert not file.exists()


@pytest.mark.usefixtures("without_iptables")
def test_absent_without_iptables_removes_the_boot_files(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    with standing_in(tmp_path):
        ours.mkdir()
        folder.look(str(ours), "homelab-loadbalancer").owner_file.write()
        (ours / "rules.v4").write_text("")
        for check_mode in (True, False):
            assert module("iptables_services", check_mode, state="absent", boot_path=str(ours))["changed"]
    assert not ours.exists()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_absent_without_iptables_is_refused_when_rules_may_be_left(
    name: str, backend: str, request: pytest.FixtureRequest
) -> None:
    try_chains(Firewall(backend), tables=NAT)
    request.getfixturevalue("without_iptables")
    for check_mode in (True, False):
        said = module(name, check_mode, state="absent", **MODULES[name])["msg"]
        assert "ipv4 tables nat may hold chains of this module: install the package iptables" in said


@pytest.mark.usefixtures("without_iptables")
@pytest.mark.parametrize("name", MODULES)
def test_present_without_iptables_waits_for_the_package(name: str) -> None:
    options = {**MODULES[name], "backend": "nft"}
    assert module(name, check_mode=True, **options)["changed"]
    assert "is not installed" in module(name, **options)["msg"]
