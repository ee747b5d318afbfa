# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the steps on a node, and what becomes of them when one fails. Every part is a stand-in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._balancer import change as balancer
from ansible_collections.homelab.loadbalancer.plugins.module_utils._balancer.model import Boot, DataPlane
from ansible_collections.homelab.loadbalancer.plugins.module_utils._balancer.run import (
    converge,
    forwarding,
    refuse_differences,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import (
    InputError,
    NodeError,
    NotInstalledError,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services

OPTIONS: dict[str, Any] = {
    "services": [],
    "services_file": None,
    "state": "present",
    "interface": "eth0",
    "addresses": "present",
    "metric": 1,
    "probe": True,
    "dummy": False,
    "forwarding": False,
    "sysctls": {},
    "kernel_modules": [],
    "boot_path": "/etc/ours",
    "boot": "present",
    "boot_name": "ours",
    "isolate": [{"from": "a", "to": "b"}],
    "verify": True,
}
PRESENT = [
    "load", "withdraw", "remove", "rules", "parameters", "protect", "add", "announce", "serve", "finish",
]  # fmt: skip


class Node:
    """Keeps the steps that were made, and their undoing. `fails` names one that fails."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.fails = ""
        self.error: Exception = OSError(28, "No space left on device")
        self.undo_fails = ""
        self.wrong = ""

    @property
    def changed(self) -> bool:
        return self.made != PRESENT or bool(self.wrong)

    def step(self, name: str) -> Callable[[], None]:
        def make() -> None:
            if name == self.fails:
                raise self.error
            self.made.append(name)

        return make

    def back(self, *names: str) -> Callable[[], None]:
        def undo() -> None:
            if self.undo_fails in names:
                raise NodeError("the undoing of %s failed" % self.undo_fails)
            for name in names:
                if name in self.made:
                    assert self.undo_fails or self.made[-1] == name
                    self.made.remove(name)

        return undo

    def part(self, **functions: Any) -> Any:
        diff = self.diff()
        return SimpleNamespace(changed=self.changed, diff=lambda: diff, warnings=[], **functions)

    def diff(self) -> dict[str, str]:
        before = self.wrong or "".join(name + "\n" for name in self.made)
        return {"before": before, "after": "declared\n"}


class Plane(DataPlane):
    def __init__(self, node: Node) -> None:
        self._node = node
        self.changed = node.changed
        self._diff = {"before_header": "rules", "after_header": "rules", **node.diff()}

    changed = False

    def diff(self) -> list[dict[str, str]]:
        return [self._diff] if self.changed else []

    def boot(self, folder: str) -> Boot:
        return Boot()

    def result(self) -> dict[str, Any]:
        return {}

    def apply(self) -> None:
        self._node.step("rules")()

    def undo(self) -> None:
        self._node.back("finish", "rules")()

    def finish(self) -> list[str]:
        self._node.step("finish")()
        return ["one connection was cut"]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node()

    def boot(*arguments: Any) -> Any:
        steps = {name: made.step(name) for name in ("withdraw", "protect", "serve")}

        # All parts of the boot are undone at once, so their places in the order do not matter here.
        def undo() -> None:
            made.made = [name for name in made.made if name not in steps]

        return SimpleNamespace(**steps, undo=undo, changed=made.changed, diff=list)

    stands_for: dict[str, Callable[..., Any]] = {
        "KernelModules": lambda names: made.part(load=made.step("load"), unload=made.back("load")),
        "AddressChange": lambda want, ask, tell: made.part(
            plan=SimpleNamespace(batch=()),
            remove=made.step("remove"),
            undo_remove=made.back("remove"),
            add=made.step("add"),
            undo_add=made.back("announce", "add"),
            announce=made.step("announce"),
        ),
        "SysctlChange": lambda values, some: made.part(
            text="", apply=made.step("parameters"), undo=made.back("parameters")
        ),
        "BootChange": boot,
    }
    for name, stand_in in stands_for.items():
        monkeypatch.setattr(balancer, name, stand_in)
    return made


def run(node: Node, **options: Any) -> dict[str, Any]:
    return converge({**OPTIONS, **options}, lambda services, given, exact: Plane(node), False, True)


def test_addresses_are_on_the_link_only_while_their_rules_are_loaded(node: Node) -> None:
    result = run(node)
    assert node.made == PRESENT
    assert result["changed"]
    assert result["warnings"] == ["one connection was cut"]
    assert not run(node)["changed"]
    assert node.made == PRESENT


@pytest.mark.parametrize("name", PRESENT)
def test_failed_step_undoes_those_before_it(node: Node, name: str) -> None:
    node.fails = name
    with pytest.raises(NodeError, match=r"No space left on device \(nothing was changed\)"):
        run(node)
    assert node.made == []


def test_failed_undoing_is_reported_with_what_is_left(node: Node) -> None:
    node.fails, node.undo_fails = "add", "rules"
    with pytest.raises(NodeError) as failed:
        run(node)
    said = str(failed.value)
    assert "not everything could be undone: the undoing of rules failed; " in said
    assert "rules: left over `rules`" in said
    assert "nothing was changed" not in said


@pytest.mark.parametrize(
    ("step", "said", "message"),
    [
        ("parameters", "values.a.b 1 is refused by the kernel", "sysctls.a.b 1 is refused by the kernel (nothing"),
        ("protect", "path /etc/ours is full", "boot_path /etc/ours is full (nothing was changed)"),
        ("rules", "refused, and nothing was changed: why", "refused, and nothing was changed: why"),
    ],
)
def test_errors_name_the_options_of_the_module(node: Node, step: str, said: str, message: str) -> None:
    node.fails, node.error = step, InputError(said)
    with pytest.raises(NodeError) as failed:
        run(node)
    assert str(failed.value).startswith(message)


def test_check_mode_changes_nothing(node: Node) -> None:
    predicted = converge(OPTIONS, lambda services, given, exact: Plane(node), True, True)
    assert node.made == []
    assert predicted == {**run(node), "warnings": []}


def test_node_that_differs_after_the_change_is_refused(node: Node) -> None:
    node.wrong = "another program's\n"
    message = (
        r"differs from its declaration after the change: .*rules: not declared `another program's`; rules: missing"
    )
    with pytest.raises(NodeError, match=message):
        run(node)
    assert run(node, verify=False)["changed"]


def test_units_that_are_not_enabled_are_a_difference(node: Node) -> None:
    change = balancer.Change(Plane(node), [], OPTIONS)
    change.diff = list  # type: ignore[method-assign]
    with pytest.raises(NodeError, match="systemd has not read its units"):
        refuse_differences(lambda: change)


def test_node_that_cannot_be_read_back_is_reported(node: Node) -> None:
    def broken() -> balancer.Change:
        raise OSError(12, "Cannot allocate memory")

    with pytest.raises(NodeError, match=r"the change was made, but cannot be verified: .*Cannot allocate memory"):
        refuse_differences(broken)


def test_missing_packages_are_reported_after_everything_else_is_checked(node: Node) -> None:
    def lacks(services: Any, given: Any, exact: bool) -> DataPlane:
        raise NotInstalledError("iptables is not installed", "iptables")

    predicted = converge(OPTIONS, lacks, True, True)
    assert predicted["changed"]
    assert predicted["missing"] == ["iptables"]
    assert predicted["warnings"] == ["iptables is not installed. The rules cannot be predicted"]
    with pytest.raises(InputError, match="metric 0 cannot mark an address"):
        converge({**OPTIONS, "metric": 0}, lacks, False, True)
    for state, check_mode in (("present", False), ("absent", False), ("absent", True)):
        with pytest.raises(NotInstalledError):
            converge({**OPTIONS, "state": state}, lacks, check_mode, True)
    assert node.made == []


def test_removal_ignores_the_services_and_the_isolation(node: Node) -> None:
    seen: list[Any] = []

    def plan(services: Any, given: Any, exact: bool) -> DataPlane:
        seen.append((services, given["isolate"]))
        return Plane(node)

    web = {"name": "web", "address": "192.0.2.1", "port": 80, "endpoints": []}
    converge({**OPTIONS, "services": [web], "state": "absent"}, plan, True, False)
    assert seen == [([], [])]


def test_packets_are_forwarded_for_the_families_of_the_services() -> None:
    four, six = {"address": "192.168.10.100"}, {"address": "fd00:10::100"}
    services = parse_services(
        [{"name": "s%d" % i, "port": 80, "endpoints": [], **one} for i, one in enumerate((four, six))]
    )
    asked = {"forwarding": True}
    assert forwarding(services, asked) == {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
    assert forwarding(services[1:], asked) == {"net.ipv6.conf.all.forwarding": 1}
    assert forwarding(services, {"forwarding": False}) == forwarding([], asked) == {}
