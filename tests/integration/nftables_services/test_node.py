# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nftables_services leaves on a node, promises in check mode, and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.lock import FOLDER
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables import node
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services import memory
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.canonical import declared
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.layout import Options
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import run_at_boot
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import load, nft
from ansible_collections.homelab.loadbalancer.tests.integration.nftables_services.declared import (
    FULL,
    ISOLATE,
    STICKY,
    WEB,
    WEB6,
    add_clients,
    converge,
    declare,
    elements,
    foreign,
    lines,
    listing,
    load_foreign,
    make_links,
    try_services,
)
from ansible_collections.homelab.loadbalancer.tests.integration.services.kinds import EVERY_KIND
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import endpoints, pod
from ansible_collections.homelab.loadbalancer.tests.unit.boot.systemd import standing_in

pytestmark = pytest.mark.usefixtures("fresh_node")

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"masquerade": False},
    {"pod_cidr": ["10.244.0.0/16", "fd00:244::/56"]},
    {"masquerade_mark": "0x80000000", "pod_cidr": ["10.244.0.0/16"]},
    {"masquerade_mark": "1", "masquerade": False, "isolate": ISOLATE},
)


@pytest.mark.parametrize("surroundings", [True, False])
def test_services_lifecycle(surroundings: bool) -> None:
    """From nothing to all services, fewer, one, and to nothing again."""
    make_links()
    if surroundings:
        load_foreign()
    before = nft("-a list ruleset")
    states: list[dict[str, Any]] = [
        {"services": FULL, "isolate": ISOLATE},
        {"services": FULL[1:], "isolate": ISOLATE, "masquerade": False},
        {"services": [FULL[1]], "pod_cidr": ["192.168.30.0/24"]},
        {"services": [], "isolate": ISOLATE},
        {"services": FULL, "state": "absent"},
    ]
    for options in states:
        assert converge(**options)["changed"]
    assert nft("-a list ruleset") == before
    assert not Path(memory.path("LB")).exists()
    assert not list(Path(FOLDER).glob(".nftables-*"))


@pytest.mark.parametrize("options", OPTIONS)
def test_rules_and_elements_come_back_as_they_are_written(options: dict[str, Any]) -> None:
    make_links()
    assert converge(EVERY_KIND, **options)["changed"]


def test_kernel_lists_the_table_as_it_is_declared() -> None:
    """The elements are never tried, so nft must list them as they were written."""
    declare(EVERY_KIND)
    want, have = declared("LB", parse_services(EVERY_KIND), Options()).table, node.read("inet", "LB")
    assert want is not None
    assert have is not None
    assert want.blocks.keys() == have.blocks.keys()
    assert [key for key, block in want.blocks.items() if not block.same(have.blocks[key])] == []


def test_one_changed_endpoint_changes_two_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(FULL)
    asked: list[str] = []
    real = node.load
    monkeypatch.setattr(node, "load", lambda text: asked.append(text) or real(text))  # type: ignore[func-returns-value]
    declare([{**FULL[0], "endpoints": endpoints(1, 2, 4)}, *FULL[1:]])
    commands = [line for text in asked if not text.startswith("table ") for line in text.splitlines()]
    assert len(commands) <= 8
    assert {line.split(" ")[0:2][1] for line in commands} == {"element"}


def test_boot_restores_the_services(tmp_path: Path) -> None:
    make_links()
    boot = str(tmp_path / "ours")
    with standing_in(tmp_path) as systemd:
        declare(EVERY_KIND, boot_path=boot, isolate=ISOLATE)
        at = listing()
        for dummy in range(2):
            run_at_boot(systemd.starts())
            assert listing() == at
            nft("flush ruleset")
        run_at_boot(systemd.starts())
        assert listing() == at
        assert not declare(EVERY_KIND, boot_path=boot, isolate=ISOLATE)["changed"]
        declare([], boot_path=boot, state="absent")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_two_declarations_side_by_side() -> None:
    load_foreign()
    theirs = nft("-a list ruleset")
    declare(FULL)
    ours = lines(listing())
    other = [{**WEB, "name": "other", "address": "192.0.2.1"}]
    assert declare(other, prefix="site-")["changed"]
    at = listing(table="inet site")
    for diff in (True, False):
        assert not declare(FULL, diff=diff)["changed"]
        assert not declare(other, diff=diff, prefix="site-")["changed"]
    assert declare(FULL[:2])["changed"]
    assert listing(table="inet site") == at
    assert declare(FULL)["changed"]
    assert declare([], prefix="site-", state="absent")["changed"]
    assert lines(listing()) == ours
    assert declare([], state="absent")["changed"]
    assert nft("-a list ruleset") == theirs


@pytest.mark.parametrize(
    "content", ["chain c { }", "set s { type mark; }", "chain services { type nat hook output priority 0; }"]
)
def test_foreign_table_with_our_name_is_refused(content: str) -> None:
    load("table inet LB {\n%s\n}\n" % content)
    before = nft("-a list ruleset")
    for options in ({"services": FULL}, {"services": [], "state": "absent"}):
        for check_mode in (True, False):
            said = try_services(check_mode=check_mode, **options)
            assert said["msg"] == (
                "prefix LB- names the table inet LB, which exists and belongs to another program: choose another prefix"
            )
            assert nft("-a list ruleset") == before


@pytest.mark.parametrize("services", [FULL, []])
def test_prefix_that_is_a_word_of_nft_is_refused(services: list[dict[str, Any]]) -> None:
    said = try_services(services, prefix="ip-")
    assert said["msg"].startswith("prefix ip ")
    assert nft("list ruleset") == ""


BAD: list[tuple[dict[str, Any], str]] = [
    ({"services": [WEB, WEB6, {**WEB, "name": "x", "address": "10.0.0.300"}]}, "lb_services[2].address 10.0.0.300 is"),
    ({"services": [WEB], "isolate": [*ISOLATE, {"from": "eth0", "to": "eth7"}]}, "isolate[1].to eth7 is not an"),
    ({"services": [WEB], "prefix": "L.B-"}, "prefix 'L.B-' cannot name a table"),
    ({"services": [WEB], "masquerade_mark": "3"}, "masquerade_mark 3 is not a single bit"),
    ({"services": [], "services_file": "/nonexistent"}, "/nonexistent"),
]


def test_bad_input_is_refused_before_the_node_is_touched() -> None:
    make_links()
    for options, message in BAD:
        for check_mode in (True, False):
            said = try_services(check_mode=check_mode, **options)
            assert said["failed"]
            assert message in said["msg"]
    assert nft("list ruleset") == ""


def test_clients_of_removed_endpoints_are_forgotten() -> None:
    both = [{**WEB, "endpoints": endpoints(1, 2), **STICKY}, {**WEB6, **STICKY}]
    declare(both)
    add_clients("web", "192.0.2.1", "192.0.2.2", to=pod(1))
    add_clients("web", "192.0.2.3", to=pod(2))
    add_clients("web6", "2001:db8::1", to=pod(1, "ipv6"))
    assert not declare(both)["changed"]
    assert sorted(elements("client-addresses-web")) == sorted(
        ["192.0.2.1 : " + pod(1), "192.0.2.2 : " + pod(1), "192.0.2.3 : " + pod(2)]
    )
    assert declare([{**both[0], "endpoints": endpoints(2)}, both[1]])["changed"]
    assert elements("client-addresses-web") == ["192.0.2.3 : " + pod(2)]
    assert elements("client-ports-web") == ["192.0.2.3 : 8080"]
    assert elements("client-addresses-web6") == ["2001:db8::1 : " + pod(1, "ipv6")]


def test_client_that_expires_meanwhile_does_not_save_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    declare([{**WEB, "endpoints": endpoints(1, 2), **STICKY}])
    add_clients("web", "192.0.2.1", "192.0.2.2", to=pod(1))
    real, turns = node.load, iter(["delete element inet LB client-addresses-web { 192.0.2.1 }\n"])

    def expire(text: str) -> Any:
        if text.startswith("delete element inet LB client-"):
            for line in turns:
                nft("-f -", line)
        return real(text)

    monkeypatch.setattr(node, "load", expire)
    assert declare([{**WEB, "endpoints": endpoints(2), **STICKY}])["changed"]
    assert elements("client-addresses-web") == elements("client-ports-web") == []


def test_timeout_of_affinity_changes_and_clients_stay() -> None:
    declare([{**WEB, **STICKY}])
    add_clients("web", "192.0.2.1", to=pod(1))
    assert declare([{**WEB, "session_affinity": {"timeout": 5}}])["changed"]
    assert declare([{**WEB, "session_affinity": {"timeout": 900}}])["changed"]
    assert "timeout 15m" in listing()
    assert elements("client-addresses-web") == ["192.0.2.1 : " + pod(1)]
    assert foreign() == ""
