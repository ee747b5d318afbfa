# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""boot_units with real files and a stand-in for systemctl."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterator, Mapping

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._boot import run, units
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import files
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError, NodeError
from ansible_collections.homelab.loadbalancer.tests.unit.boot.systemd import Systemctl, standing_in


class Node:
    """Runs the module on files of a temporary folder."""

    def __init__(self, path: Path, systemctl: Systemctl) -> None:
        self.path, self.systemctl = path, systemctl

    def __call__(self, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        common = {"state": "present", "name": "test", "path": str(self.path / "ours"), "sysctls": {}}
        lists: dict[str, Any] = {"kernel_modules": [], "commands": [], "addresses": []}
        return run.converge({**common, **lists, **options}, check_mode)

    def change(self, present: bool = True, rules: Mapping[str, str] | None = None, **what: Any) -> run.Change:
        """As the modules for services use it: with the files of the rules."""
        what["rules"] = {str(self.path / "ours" / name): text for name, text in (rules or {}).items()}
        return run.Change(units.Restored("test", str(self.path / "ours"), **what), present)

    def fill(self, name: str, *names: str) -> None:
        (self.path / name).mkdir(exist_ok=True)
        for one in names:
            (self.path / name / one).write_text("*nat\nCOMMIT\n", encoding="ascii")

    def contents(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.path.rglob("*") if path.is_file()}

    def files(self, name: str = ".") -> list[str]:
        found = (path for path in (self.path / name).rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.path / name)) for path in found)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with standing_in(tmp_path) as systemctl:
        yield Node(tmp_path, systemctl)


RULES = {"rules.v4": "*nat\nCOMMIT\n", "ipset.rules": "create LB-X hash:ip\n"}
DECLARED: dict[str, Any] = {"commands": ["iptables-restore x"], "kernel_modules": ["ip_vs"]}


def test_units_are_enabled_once(node: Node) -> None:
    predicted = node(check_mode=True, **DECLARED)
    assert node.files() == []
    assert node(**DECLARED) == predicted
    assert predicted["changed"]
    assert node.systemctl.said == ["enable", "daemon-reload"] * 2
    assert node.systemctl.enabled == {"test-rules.service", "test-addresses.service"}
    assert node(**DECLARED) == {**predicted, "changed": False, "diff": []}
    assert node.systemctl.said == ["enable", "daemon-reload"] * 2


def test_changed_units_are_loaded(node: Node) -> None:
    node(**DECLARED)
    assert node(commands=["iptables-restore y"])["changed"]
    assert node.systemctl.said == [*["enable", "daemon-reload"] * 2, "daemon-reload"]
    assert node.files("modules") == []


def test_run_killed_before_the_reload_is_completed(node: Node) -> None:
    node(**DECLARED)
    node.systemctl.stale = True
    assert node(**DECLARED)["changed"]
    assert node.systemctl.said[-1] == "daemon-reload"


def test_absent_removes_all_files_of_the_module(node: Node) -> None:
    node(**DECLARED)
    node.fill("ours", "rules.v4", "sysctl.conf")
    assert node(check_mode=True, state="absent")["changed"]
    assert node(state="absent")["changed"]
    assert not (node.path / "ours").exists()
    assert node.files() == []
    assert node.systemctl.enabled == set()
    said = list(node.systemctl.said)
    assert not node(state="absent")["changed"]
    assert node.systemctl.said == said


def test_foreign_files_are_kept(node: Node) -> None:
    node(**DECLARED)
    node.fill("ours", "rules.v4", "notes.txt")
    node(state="absent")
    assert node.files("ours") == ["notes.txt"]


def test_foreign_folder_is_refused_and_kept(node: Node) -> None:
    """For instance that of netfilter-persistent, which has files of the same names."""
    node.fill("theirs", "rules.v4", "rules.v6")
    path = str(node.path / "theirs")
    with pytest.raises(InputError, match=r"path .*/theirs exists and does not belong to this role: it holds"):
        node(path=path)
    node(state="absent", path=path)
    assert node.files("theirs") == ["rules.v4", "rules.v6"]


def test_folder_of_another_declaration_is_refused(node: Node) -> None:
    node(name="one")
    with pytest.raises(InputError, match=r"does not belong to this role: it holds `addresses.batch`, `owner`"):
        node(name="two")


def test_file_in_place_of_the_folder_is_refused(node: Node) -> None:
    (node.path / "ours").write_text("", encoding="ascii")
    with pytest.raises(InputError, match=r"path .*/ours is a file"):
        node()


def test_network_namespace_is_refused(node: Node) -> None:
    (node.path / "netns").mkdir()
    os.symlink("/proc/self/ns/net", node.path / "netns" / "lab-a")
    with pytest.raises(InputError, match="state: this host is the network namespace lab-a"):
        node(**DECLARED)
    (node.path / "units" / "test-rules.service").write_text("the machine's", encoding="ascii")
    assert not node(state="absent")["changed"]


def test_node_without_systemd_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BOOTED", str(node.path / "no-such-folder"))
    with pytest.raises(NodeError, match="systemd does not run on this node"):
        node()


def test_units_stay_enabled_if_a_file_cannot_be_removed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node(**DECLARED)
    before = node.contents()
    write = files.write

    def busy(path: str, text: str | bytes | None, mode: int) -> None:
        if path.endswith("test.conf") and text is None:
            raise OSError(16, "Device or resource busy", path)
        write(path, text, mode)

    monkeypatch.setattr(files, "write", busy)
    with pytest.raises(OSError, match="busy"):
        node(state="absent")
    assert node.contents() == before
    assert node.systemctl.enabled == {"test-rules.service", "test-addresses.service"}


CHANGED: dict[str, Any] = {
    "commands": ["y"],
    "kernel_modules": ["dummy"],
    "addresses": ["link add name lb0 type dummy"],
    "sysctls": {"net.ipv4.ip_forward": 1},
}


@pytest.mark.parametrize(
    "name", ["addresses.batch", "sysctl.conf", "test.conf", "test-rules.service", "test-addresses.service"]
)
def test_failed_write_rolls_back_the_other_files(node: Node, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    node(addresses=["address replace 192.0.2.1/32 dev lb0"], **DECLARED)
    before = node.contents()
    fill_the_disk(monkeypatch, name)
    with pytest.raises(OSError, match="No space left"):
        node(**CHANGED)
    assert node.contents() == before


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write = files.write

    def full(path: str, text: str | bytes | None, mode: int) -> None:
        if path.endswith(name):
            raise OSError(28, "No space left on device", path)
        write(path, text, mode)

    monkeypatch.setattr(files, "write", full)


@pytest.mark.parametrize("name", ["owner", "test.conf", "test-addresses.service"])
def test_failed_first_write_leaves_no_trace(node: Node, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fill_the_disk(monkeypatch, name)
    with pytest.raises(OSError, match="No space left"):
        node(**DECLARED)
    assert node.files() == []
    assert not (node.path / "ours").exists()
    assert node.systemctl.enabled == set()


def test_rules_of_another_data_plane_are_removed_and_undo_restores_them(node: Node) -> None:
    first = node.change(rules=RULES)
    first.protect()
    first.serve()
    before = node.contents()
    second = node.change(rules={"rules.v6": "*nat\nCOMMIT\n"})
    second.withdraw()
    second.protect()
    assert node.files("ours") == ["addresses.batch", "ipset.rules", "owner", "rules.v4", "rules.v6"]
    second.serve()
    assert node.files("ours") == ["addresses.batch", "owner", "rules.v6"]
    assert not node.change(rules={"rules.v6": "*nat\nCOMMIT\n"}).changed
    second.undo()
    assert node.contents() == before
    gone = node.change(present=False)
    gone.serve()
    assert node.files() == []
    gone.undo()
    assert node.contents() == before
    assert node.systemctl.enabled == {"test-rules.service", "test-addresses.service"}


def test_boot_after_an_interrupted_run_adds_no_undeclared_address(node: Node) -> None:
    """Before the rules change, the file keeps only the addresses that are declared before and after."""
    batch = node.path / "ours" / "addresses.batch"
    node(addresses=["one", "two"], **DECLARED)
    change = node.change(addresses=["two", "three"], rules={})
    change.withdraw()
    assert batch.read_text(encoding="ascii") == "two\n"
    change.protect()
    assert batch.read_text(encoding="ascii") == "two\n"
    change.serve()
    assert batch.read_text(encoding="ascii") == "two\nthree\n"
    change.undo()
    assert batch.read_text(encoding="ascii") == "one\ntwo\n"
