# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nftables_services when a change fails, is undone, or is killed: the node has the old table or the new one."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._balancer.model import DataPlane
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables import node
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services import memory
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.plane import Planner
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import nft
from ansible_collections.homelab.loadbalancer.tests.integration.nftables_services.declared import (
    FULL,
    ISOLATE,
    STICKY,
    WEB,
    add_clients,
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
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import (
    PODS,
    VIP,
    ServicesLab,
    endpoints,
    pod,
)
from ansible_collections.homelab.loadbalancer.tests.unit.boot.systemd import standing_in

STATES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "nothing": ([], {}),
    "one": ([WEB], {}),
    "another endpoint": ([{**WEB, "endpoints": endpoints(2)}], {}),
    "full": (FULL, {"isolate": ISOLATE, "pod_cidr": ["10.244.0.0/16"]}),
    "full, one endpoint less": ([{**FULL[0], "endpoints": endpoints(1, 2)}, *FULL[1:]], {"masquerade": False}),
    "every kind": (EVERY_KIND, {}),
}
KILLS = int(os.environ.get("KILLS", "40"))

Load = Callable[[str], Completed]


def plane(services: list[dict[str, Any]], options: dict[str, Any]) -> DataPlane:
    """The data plane of the module, without the rest of a node."""
    given = {"masquerade": True, "masquerade_mark": "0x1000", "pod_cidr": [], "isolate": [], **options}
    return Planner()(parse_services(services), {"prefix": "LB-", **given}, exact=False)


@pytest.mark.usefixtures("fresh_node")
def test_undo_restores_any_state() -> None:
    """Whether the former state comes from the memory or from the kernel."""
    make_links()
    load_foreign()
    theirs = foreign()
    pairs = [*itertools.permutations(STATES, 2), *[("one", "another endpoint")] * 2]
    for number, (before, after) in enumerate(pairs):
        declare(STATES[before][0], diff=bool(number % 2), **STATES[before][1])
        at = lines(listing())
        change = plane(*STATES[after])
        change.apply()
        assert not plane(*STATES[after]).changed
        change.undo()
        assert lines(listing()) == at, (before, after)
        assert not plane(*STATES[before]).changed
    assert foreign() == theirs


@pytest.mark.usefixtures("fresh_node")
def test_undo_keeps_clients_and_counters() -> None:
    declare([{**WEB, **STICKY}])
    add_clients("web", "192.0.2.1", to=pod(1))
    rule = next(line for line in nft("-a list chain inet LB endpoint-0").splitlines() if "counter" in line)
    handle, text = rule.split(" # handle ")[1], rule.split(" # handle ")[0].strip()
    counted = text.replace("packets 0 bytes 0", "packets 7 bytes 700")
    nft("-f -", "replace rule inet LB endpoint-0 handle %s %s\n" % (handle, counted))
    for after in ([], [WEB]):
        change = plane(after, {})
        change.apply()
        change.undo()
        assert elements("client-addresses-web") == ["192.0.2.1 : " + pod(1)]
        assert elements("client-ports-web") == ["192.0.2.1 : 8080"]
        assert "packets 7 bytes 700" in nft("list chain inet LB endpoint-0")


@pytest.mark.usefixtures("fresh_node")
def test_failure_of_another_part_undoes_the_table(tmp_path: Path) -> None:
    """The disk with the folder for the boot is full."""
    declare(FULL)
    at = lines(listing())
    with standing_in(tmp_path):
        (tmp_path / "full").mkdir()
        run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(tmp_path / "full")])
        try:
            said = try_services([WEB], boot_path=str(tmp_path / "full" / "ours"))
        finally:
            run(["umount", str(tmp_path / "full")])
    assert "No space left on device" in said["msg"]
    assert said["msg"].endswith("(nothing was changed)")
    assert lines(listing()) == at
    assert not declare(FULL)["changed"]


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """Let nft refuse the first transactions on the node. Returns all of them."""
    real, asked = node.load, []

    def load(text: str) -> Completed:
        if text.startswith("table "):  # a trial
            return real(text)
        asked.append(text)
        if len(asked) <= times:
            return Completed(("nft",), 1, "", "internal:0:0-0: Error: Could not process rule: No space left\n")
        return real(text)

    monkeypatch.setattr(node, "load", load)
    return asked


@pytest.mark.usefixtures("fresh_node")
@pytest.mark.parametrize("before", [[], FULL])
def test_refused_transaction_leaves_the_old_table(
    before: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(before, diff=False)
    at = listing("-a")
    with monkeypatch.context() as patch:
        refuse(patch, times=99)
        said = try_services([WEB])
    assert said["msg"].startswith("the table inet LB cannot be brought to its declared state: Could not process rule")
    assert "nothing was changed" in said["msg"]
    assert listing("-a") == at
    assert not Path(memory.path("LB")).exists()
    assert declare([WEB], diff=False)["changed"]


@pytest.mark.usefixtures("fresh_node")
def test_once_refused_transaction_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(FULL)
    asked = refuse(monkeypatch, times=1)
    result = declare([{**FULL[0], "endpoints": endpoints(1)}, *FULL[1:]])
    assert "warnings" not in result
    assert len(asked) == 2


@pytest.mark.usefixtures("fresh_node")
def test_replaced_table_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(FULL)
    refuse(monkeypatch, times=3)
    result = declare([WEB])
    assert "so the whole table LB was replaced" in result["warnings"][0]
    assert not declare([WEB])["changed"]


@pytest.mark.usefixtures("fresh_node")
def test_change_by_others_during_a_run_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table changes after the module has read it, whether the transaction then fails or not."""
    declare(FULL)
    want = lines(listing())
    for change in ("flush chain inet LB services", "delete table inet LB", "flush set inet LB allowed-ip"):
        declare([WEB, FULL[1]])
        real, turns = node.load, iter([change])

        def meanwhile(text: str, real: Load = real, turns: Any = turns) -> Completed:
            if not text.startswith("table "):
                for line in turns:
                    nft("-f -", line + "\n")
            return real(text)

        with monkeypatch.context() as patch:
            patch.setattr(node, "load", meanwhile)
            assert declare(FULL, verify=False, diff=False)["changed"]
        assert lines(listing()) == want, change
        assert not declare(FULL)["changed"]


# Killed runs


def killed_run(services: list[dict[str, Any]], seconds: float) -> bool:
    """Run the module in a process of its own, and kill it with its nft after some time. Tells whether it was killed."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
            try_services(services, diff=False)
        os._exit(0)
    with contextlib.suppress(PermissionError):
        os.setpgid(child, child)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def uncounted(text: str) -> str:
    return re.sub(r"packets \d+ bytes \d+|\[\d+:\d+\]", "", text)


def without_clients() -> list[list[str]]:
    """The lines of our table, without the clients that packets have added."""
    return lines(re.sub(r"(?s)(\tmap client-[^}]*?)\t\telements = \{.*?\}\n", r"\1", listing()))


def test_killed_runs_are_completed_and_no_packet_is_wrong(net: ServicesLab) -> None:
    """Between two states with other endpoints, clients and node ports; each run is killed at a random moment."""
    net.reset()
    chance = random.Random(int(os.environ.get("KILL_SEED", "1")))
    web = {**WEB, **STICKY, "node_port": 30080}
    states = [[{**web, "endpoints": endpoints(*numbers)}, *FULL[1:]] for numbers in ((1, 2), (3, 4, 5))]
    names = [set(PODS[:2]), set(PODS[2:])]
    with net.entered("router"):
        load_foreign()
        theirs, expected, took = uncounted(foreign()), [], []
        for state in states:
            started = time.monotonic()
            declare(state, diff=False)
            took.append(time.monotonic() - started)
            expected.append(without_clients())
    kills = 0
    for number in range(KILLS):
        with net.entered("router"):
            kills += killed_run(states[number % 2], chance.uniform(0, 1.2) * max(took))
            now = without_clients()
            assert now in expected
        answers = net.ask("client", VIP, 80) + net.ask("client", "192.168.10.1", 30080)
        assert {answer.server for answer in answers} <= names[0] | names[1]
        if number % 4 == 3:
            with net.entered("router"):
                declare(states[number % 2], diff=False)
                assert without_clients() == expected[number % 2]
                assert uncounted(foreign()) == theirs
            answers = net.ask("client", VIP, 80, count=2) + net.ask("client", "192.168.10.1", 30080)
            assert {answer.server for answer in answers} <= names[number % 2]
    assert kills > KILLS / 4
