# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that a run remembers: it saves reading the table, and never hides a change by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import NodeError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables import node
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services import memory
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.plane import Nftables
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import Firewall
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import nft
from ansible_collections.homelab.loadbalancer.tests.integration.nftables_services.declared import (
    FULL,
    STICKY,
    WEB,
    add_clients,
    declare,
    elements,
    lines,
    listing,
)
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import VIP, VIP2, endpoints, pod

pytestmark = pytest.mark.usefixtures("fresh_node")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often the node's table was read since the last call, besides the trial in an empty network namespace."""
    asked: list[str] = []
    real, real_rules, tried = node.read, node.read_rules, node.try_out

    def read(family: str, name: str) -> Any:
        asked.append(name)
        return real(family, name)

    def read_rules(family: str, name: str) -> Any:
        asked.append(name)
        return real_rules(family, name)

    def try_out(*arguments: Any) -> Any:
        made = tried(*arguments)
        asked.pop()
        return made

    def count() -> int:
        found = len(asked)
        asked.clear()
        return found

    monkeypatch.setattr(node, "read", read)
    monkeypatch.setattr(node, "read_rules", read_rules)
    monkeypatch.setattr(node, "try_out", try_out)
    return count


def quick(services: list[dict[str, Any]] | None = None, **options: Any) -> dict[str, Any]:
    """A run as a role makes it when nobody asks for a diff."""
    return declare(FULL if services is None else services, diff=False, **options)


def test_second_run_does_not_read_the_table(reads: Callable[[], int]) -> None:
    assert quick()["changed"]
    assert reads() > 0
    for options in ({}, {}, {"check_mode": True}):
        assert not quick(**options)["changed"]
        assert reads() == 0


def test_changed_endpoint_is_planned_without_reading_the_table(reads: Callable[[], int]) -> None:
    quick(verify=False)
    reads()
    fewer = [{**FULL[0], "endpoints": endpoints(1, 2, 5)}, *FULL[1:]]
    assert quick(fewer, verify=False)["changed"]
    assert reads() == 0
    assert not quick(fewer)["changed"]
    assert reads() == 0
    assert not declare(fewer)["changed"]
    at = lines(listing())
    nft("delete table inet LB")
    quick(fewer)
    assert lines(listing()) == at


FOREIGN_CHANGES = [
    "delete element inet LB services-ip { %s . tcp . 80 }" % VIP,
    "delete element inet LB addresses-ip-0 { %s . tcp . 80 }" % VIP,
    "add element inet LB no-endpoints-ip { %s . tcp . 99 }" % VIP,
    "delete element inet LB no-endpoints-ip { %s . udp . 80 }" % VIP2,
    "flush set inet LB allowed-ip",
    "flush chain inet LB services",
    "flush chain inet LB endpoint-0",
    "add rule inet LB services drop",
    "insert rule inet LB filter-input accept",
    "add chain inet LB filter-input { policy drop; }",
    "add chain inet LB more",
    "add set inet LB more { type mark; }",
    "delete table inet LB",
    "flush ruleset",
]


def test_changes_by_others_are_noticed_and_repaired(reads: Callable[[], int]) -> None:
    quick()
    at = lines(listing())
    for change in FOREIGN_CHANGES:
        nft("-f -", change + "\n")
        assert lines(listing()) != at
        assert quick(check_mode=True)["changed"], change
        assert quick()["changed"], change
        assert lines(listing()) == at, change
        reads()
        assert not quick()["changed"]
        assert reads() == 0


def test_change_of_another_table_is_looked_at_once(reads: Callable[[], int]) -> None:
    quick()
    reads()
    for change in (lambda: nft("add table ip other"), lambda: Firewall("nft")("-A INPUT -s 192.0.2.1 -j DROP")):
        change()
        assert not quick()["changed"]
        assert reads() == 1
        assert not quick()["changed"]
        assert reads() == 0


def test_clients_do_not_end_the_memory(reads: Callable[[], int]) -> None:
    """Elements that packets add are no change. Here a program adds them, so a run reads the table once."""
    services = [{**WEB, "endpoints": endpoints(1, 2), **STICKY}]
    quick(services)
    add_clients("web", "192.0.2.1", "192.0.2.2", to=pod(1))
    assert not quick(services)["changed"]
    reads()
    assert quick([{**services[0], "endpoints": endpoints(2)}], verify=False)["changed"]
    assert elements("client-addresses-web") == elements("client-ports-web") == []


@pytest.mark.parametrize("damage", [b"", b"7 7\n", b"\xff", b"1 2 3\ntable inet LB {\n}\n"])
def test_damaged_memory_is_replaced(damage: bytes, reads: Callable[[], int]) -> None:
    quick()
    file = Path(memory.path("LB"))
    content = file.read_bytes()
    for damaged in (damage, content[: len(content) // 2], content.replace(b"8080", b"8081")):
        file.write_bytes(damaged)
        reads()
        assert not quick()["changed"]
        assert reads() == 1
        assert file.read_bytes() == content


def test_each_table_has_its_memory(reads: Callable[[], int]) -> None:
    other = [{**WEB, "name": "other", "address": "192.0.2.1"}]
    quick()
    quick(other, prefix="site-")
    assert not quick()["changed"]
    assert reads() > 0
    for dummy in range(2):
        assert not quick()["changed"]
        assert not quick(other, prefix="site-")["changed"]
    assert quick([], prefix="site-", state="absent")["changed"]
    assert not Path(memory.path("site")).exists()
    assert quick([], state="absent")["changed"]
    assert not Path(memory.path("LB")).exists()


def test_table_deleted_by_others_leaves_no_memory() -> None:
    quick()
    nft("delete table inet LB")
    assert not quick([], state="absent")["changed"]
    assert not Path(memory.path("LB")).exists()


def test_run_killed_before_it_forgets_clients_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run finds the table as declared, and clients with an endpoint that is gone."""
    services = [{**WEB, "endpoints": endpoints(1, 2), **STICKY}]
    quick(services)
    quick(services)
    add_clients("web", "192.0.2.1", to=pod(1))
    add_clients("web", "192.0.2.2", to=pod(2))
    quick(services)

    def killed(*arguments: Any) -> None:
        raise NodeError("killed")

    fewer = [{**services[0], "endpoints": endpoints(2)}]
    with monkeypatch.context() as patch:
        patch.setattr(Nftables, "forget_stale", killed)
        with pytest.raises(AssertionError, match="killed"):
            quick(fewer)
    assert len(elements("client-addresses-web")) == 2
    assert not quick(fewer)["changed"]
    assert elements("client-addresses-web") == ["192.0.2.2 : " + pod(2)]
    assert elements("client-ports-web") == ["192.0.2.2 : 8080"]


def test_full_disk_costs_only_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(tmp_path)])
    try:
        monkeypatch.setattr(memory, "FOLDER", str(tmp_path))
        for dummy in range(2):
            quick()
            assert memory.recall("LB") is None
        assert not quick()["changed"]
    finally:
        run(["umount", str(tmp_path)])
