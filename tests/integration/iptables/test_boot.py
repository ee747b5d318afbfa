# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iptables_chains keeps in a file for a boot, and what comes of it when it is loaded."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    Firewall,
    fresh_network,
    run_at_boot,
    try_chains,
)

pytestmark = pytest.mark.usefixtures("fresh_node")

TABLES: dict[str, Any] = {
    "nat": {
        "chains": {
            "LB-X": ["-p tcp --dport 80 -j LB-Y", '-p udp -m comment --comment "a -j b" -j RETURN'],
            "LB-Y": ["-m statistic --mode random --probability 0.5 -j RETURN", "-p tcp -j DNAT --to-destination :8080"],
        },
        "jumps": {
            "PREROUTING": [{"rule": "-j LB-X"}, {"rule": "-p udp --dport domain -j LB-X"}],
            "POSTROUTING": [{"rule": "-j LB-Z", "position": "last"}, {"rule": "-p tcp -j LB-Z"}],
        },
    },
    "filter": {"chains": {"LB-F": ["-j REJECT"]}, "jumps": {"FORWARD": [{"rule": "-j LB-F"}]}},
}
TABLES["nat"]["chains"]["LB-Z"] = []


def test_boot_restores_the_rules(firewall: Firewall, tmp_path: Path) -> None:
    path = tmp_path / "rules"
    result = try_chains(firewall, tables=TABLES, save_to=str(path))
    boot = result["boot"]
    declared = firewall.save()
    with fresh_network():  # as after a boot
        for dummy in range(2):  # the second time there are jumps to take out
            run_at_boot(boot)
            assert firewall.save() == declared
        assert not try_chains(firewall, tables=TABLES, save_to=str(path))["changed"]


def test_boot_restores_a_jump_before_the_foreign_chain_exists(firewall: Firewall, tmp_path: Path) -> None:
    firewall("-N DOCKER-USER")
    firewall("-A FORWARD -j DOCKER-USER")
    tables = {"filter": {"chains": {"LB-X": ["-j DROP"]}, "jumps": {"DOCKER-USER": [{"rule": "-j LB-X"}]}}}
    boot = try_chains(firewall, tables=tables, save_to=str(tmp_path / "rules"))["boot"]
    with fresh_network():
        for dummy in range(2):
            run_at_boot(boot)
            assert firewall.chains()["filter DOCKER-USER"] == ["-j LB-X"]


def test_the_file_is_written_when_it_differs(tmp_path: Path) -> None:
    firewall, path = Firewall("nft"), tmp_path / "rules"
    assert try_chains(firewall, check_mode=True, tables=TABLES, save_to=str(path))["changed"]
    assert not path.exists()
    assert firewall.save() == ""
    result = try_chains(firewall, tables=TABLES, save_to=str(path))
    assert result["boot"][-1] == "%s --noflush --wait 30 %s" % (result_command(firewall) + "-restore", path)
    assert path.stat().st_mode & 0o7777 == 0o600
    written, text = path.stat(), path.read_text()
    assert not try_chains(firewall, tables=TABLES, save_to=str(path))["changed"]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    for spoiled in (b"", b"*nat\nCOMMIT\n", b"\xff\xfe", None):
        if spoiled is None:
            path.unlink()
        else:
            path.write_bytes(spoiled)
        assert try_chains(firewall, check_mode=True, tables=TABLES, save_to=str(path))["changed"]
        assert (path.read_bytes() if path.exists() else None) == spoiled
        result = try_chains(firewall, tables=TABLES, save_to=str(path))
        assert result["changed"]
        (shown,) = result["diff"]
        assert (shown["before_header"], shown["after"]) == (str(path), text)
        assert path.read_text() == text
    assert os.listdir(tmp_path) == ["rules"]
    for state, tables in (("absent", TABLES), ("present", {})):
        assert try_chains(firewall, check_mode=True, tables=tables, state=state, save_to=str(path))["changed"]
        assert path.exists()
        result = try_chains(firewall, tables=tables, state=state, save_to=str(path))
        assert (result["changed"], result["boot"]) == (True, [])
        assert not path.exists()
        assert not try_chains(firewall, tables=tables, state=state, save_to=str(path))["changed"]
        try_chains(firewall, tables=TABLES, save_to=str(path))


# iptables 1.8.9 does not find these by the text that a user writes, and the last not before it has been looked up.
ODD = [
    "-p tcp --syn --dport 22 -m connlimit --connlimit-above 3 -j LB-X",
    "-m recent --name web --rcheck --seconds 60 --hitcount 5 -j LB-X",
    "-s localhost -m comment --comment '100% of $it, \"quoted\"' -j LB-X",
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", ODD)
def test_boot_restores_rules_as_iptables_wrote_them(backend: str, rule: str, tmp_path: Path) -> None:
    firewall, path = Firewall(backend), tmp_path / "with blanks" / "rules"
    path.parent.mkdir()
    options: dict[str, Any] = {
        "tables": {"filter": {"chains": {"LB-X": ["-j REJECT"]}, "jumps": {"INPUT": [{"rule": rule}]}}},
        "save_to": str(path),
    }
    boot = try_chains(firewall, **options)["boot"]
    declared = firewall.save()
    assert "localhost" not in path.read_text() and "localhost" not in "".join(boot)
    run_at_boot(boot)  # as a restart of the unit
    assert firewall.save() == declared
    with fresh_network():
        for dummy in range(2):
            run_at_boot(boot)
            assert firewall.save() == declared
        assert not try_chains(firewall, **options)["changed"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", ODD)
def test_jumps_loaded_in_a_users_spelling_are_moved_and_removed(backend: str, rule: str) -> None:
    """As earlier versions kept it: not all of it can be deleted by its text."""
    firewall = Firewall(backend)
    text = shlex.join(shlex.split(rule)).replace("'", '"') if "comment" not in rule else "-s localhost -j LB-X"
    firewall.load("*filter\n:LB-X - [0:0]\n-A LB-X -j REJECT\n-A INPUT %s\nCOMMIT\n" % text)
    firewall("-A INPUT -p udp -j ACCEPT")
    firewall("-I INPUT -p icmp -j ACCEPT")
    left = firewall.foreign("LB-")
    chains = {"LB-X": ["-j REJECT"]}
    moved = {"filter": {"chains": chains, "jumps": {"INPUT": [{"rule": text}, {"rule": text, "position": "last"}]}}}
    assert try_chains(firewall, tables=moved)["changed"]
    assert firewall.foreign("LB-") == left
    assert [rule.endswith("LB-X") for rule in firewall.chains()["filter INPUT"]] == [True, False, False, True]
    assert try_chains(firewall, tables=moved, state="absent")["changed"]
    assert firewall.foreign("LB-") == left
    assert len(firewall.chains()["filter INPUT"]) == 2


def test_missing_folder_is_refused_before_any_change(tmp_path: Path) -> None:
    firewall, path = Firewall("nft"), tmp_path / "nowhere" / "rules"
    result = try_chains(firewall, tables=TABLES, save_to=str(path))
    assert result["msg"] == "save_to: the folder %s does not exist on this node: create it first" % path.parent
    assert firewall.save() == ""
    # A task before this one may only have said that it would make it.
    assert try_chains(firewall, check_mode=True, tables=TABLES, save_to=str(path))["changed"]
    assert not try_chains(firewall, state="absent", save_to=str(path))["changed"]


def result_command(firewall: Firewall) -> str:
    """The node's own command where that has the backend, otherwise the backend's."""
    plain = run(["iptables", "--version"]).out
    return "iptables" if ("nf_tables" in plain) == (firewall.backend == "nft") else firewall.command
