# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ipvs on a real kernel: ipvsadm lists the declared virtual servers, and foreign ones stay."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import boot as ipvs_boot
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import netlink as ipvs_netlink
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    COLLECTIONS,
    finish_module,
    fresh_network,
    module,
    start_module,
)
from ansible_collections.homelab.loadbalancer.tests.kernel.background import Background
from ansible_collections.homelab.loadbalancer.tests.kernel.virtual_servers import (
    converge,
    exact,
    ipvs,
    load,
    refusal,
    saved,
)

FOREIGN = """\
-A -t 10.9.0.1:80 -s wlc -p 360
-a -t 10.9.0.1:80 -r 10.0.0.2:80 -g -w 0
-A -u [fd00:9::1]:53 -s rr -o
-A -f 9 -s sh -b sh-port
-a -f 9 -r 10.0.0.2:0 -m -w 7
"""
EVERYTHING: list[dict[str, Any]] = [
    {"address": "10.1.0.1", "port": 80, "real_servers": [
        {"address": "10.0.0.2", "port": 8080, "weight": 3, "upper_threshold": 9, "lower_threshold": 3},
        {"address": "10.0.0.3", "port": 8080, "weight": 0},
        {"address": "10.0.0.4", "port": 8081}]},
    {"address": "10.1.0.1", "port": 0, "scheduler": "mh", "flags": ["mh-port", "mh-fallback"],
     "persistence_timeout": 300, "persistence_netmask": "255.255.255.0"},
    {"address": "10.1.0.1", "port": 53, "protocol": "udp", "scheduler": "sh", "flags": ["sh-port"], "one_packet": True,
     "real_servers": [{"address": "10.0.0.2"}]},
    {"address": "10.1.0.1", "port": 5060, "protocol": "udp", "persistence_timeout": 60, "persistence_engine": "sip"},
    {"address": "10.1.0.1", "port": 81, "protocol": "sctp", "scheduler": "wrr", "flags": ["flag-3"]},
    {"address": "fd00:1::1", "port": 80, "scheduler": "lc", "persistence_timeout": 60, "persistence_netmask": 64,
     "real_servers": [{"address": "fd00::2", "port": 8080}, {"address": "fd00::3", "forward": "direct"},
                      {"address": "10.0.0.9", "forward": "tunnel"}]},
    {"mark": 7, "scheduler": "ovf", "real_servers": [{"address": "10.0.0.2"}, {"address": "10.0.0.3", "port": 99}]},
    {"mark": 7, "family": "ipv6", "scheduler": "fo", "real_servers": [{"address": "fd00::2", "forward": "direct"}]},
]  # fmt: skip
SCOPE: dict[str, Any] = {"scope": ["10.1.0.0/16", "fd00:1::/64"], "scope_marks": ["1-8"]}
WEB: dict[str, Any] = {"address": "10.1.0.1", "port": 80, "scheduler": "rr"}
ONE, TWO, THREE = ({"address": "10.0.0.%d" % number, "port": 8080} for number in (2, 3, 4))
MANY = 1500


@pytest.fixture(autouse=True)
def _node() -> Iterator[None]:
    """A fresh network namespace for each test, with foreign virtual servers, which must stay."""
    with fresh_network():
        run(["ip", "link", "set", "lo", "up"])
        load(FOREIGN)
        yield
        assert [line for line in saved() if line in FOREIGN.splitlines()] == sorted(FOREIGN.splitlines())


def test_everything_that_can_be_declared() -> None:
    assert converge(virtual_servers=EVERYTHING, **SCOPE)["changed"]
    result = converge(virtual_servers=EVERYTHING[:1], **SCOPE)
    assert len(result["diff"]["before"].splitlines()) == 14
    assert result["diff"]["after"] == ""
    assert converge(state="absent", **SCOPE)["changed"]
    assert saved() == sorted(FOREIGN.splitlines())


def test_without_a_scope_only_named_servers_are_removed() -> None:
    ipvs(virtual_servers=EVERYTHING)
    assert not converge(virtual_servers=EVERYTHING[:1])["changed"]
    assert not converge(virtual_servers=[])["changed"]
    assert converge(virtual_servers=EVERYTHING, state="absent")["changed"]
    assert saved() == sorted(FOREIGN.splitlines())


@pytest.mark.parametrize(
    ("edit", "restored"),
    [
        ("-E -t 10.1.0.1:80 -s lc", True),
        ("-E -t 10.1.0.1:80 -s rr -p 60", True),
        ("-e -t 10.1.0.1:80 -r 10.0.0.2:8080 -m -w 5", True),
        ("-e -t 10.1.0.1:80 -r 10.0.0.2:8080 -m -w 1 -x 10 -y 5", True),
        ("-d -t 10.1.0.1:80 -r 10.0.0.2:8080", True),
        ("-a -t 10.1.0.1:80 -r 10.0.0.9:8080 -m", True),
        ("-D -t 10.1.0.1:80", True),
        ("-A -t 10.1.0.9:80 -s rr", True),
        ("-A -t 10.2.0.9:80 -s rr", False),
    ],
)
def test_foreign_edits_in_the_scope_are_reverted(edit: str, restored: bool) -> None:
    options = {"virtual_servers": [{**WEB, "real_servers": [ONE, TWO]}], **SCOPE}
    ipvs(**options)
    before = exact()
    run(["ipvsadm", *edit.split()])
    assert exact() != before
    result = converge(**options)
    assert result["changed"] == restored
    if restored:
        assert exact() == before


def test_changes_are_made_in_place() -> None:
    """So the kernel keeps the counters."""
    ipvs(virtual_servers=[{**WEB, "real_servers": [ONE, TWO]}])
    sent: list[int] = []
    send = ipvs_netlink.Ipvs.send

    def listen(kernel: Any, changes: Any) -> Any:
        sent.extend(change.command for change in changes)
        return send(kernel, changes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipvs_netlink.Ipvs, "send", listen)
        ipvs(virtual_servers=[{**WEB, "scheduler": "wlc", "real_servers": [{**ONE, "weight": 4}, THREE]}])
    assert sent == [
        ipvs_netlink.NEW_DEST, ipvs_netlink.SET_SERVICE, ipvs_netlink.SET_DEST, ipvs_netlink.DEL_DEST,
    ]  # fmt: skip


def test_preserve_weights_keeps_runtime_weights() -> None:
    declared = {"virtual_servers": [{**WEB, "real_servers": [{**ONE, "weight": 4}, TWO]}]}
    ipvs(**declared)
    run(["ipvsadm", "-e", "-t", "10.1.0.1:80", "-r", "10.0.0.2:8080", "-m", "-w", "0"])
    assert not converge(preserve_weights=True, **declared)["changed"]
    declared["virtual_servers"][0]["real_servers"].append({**THREE, "weight": 2})
    assert converge(preserve_weights=True, **declared)["diff"]["after"] == (
        "-A -t 10.1.0.1:80 -s rr\n"
        "-a -t 10.1.0.1:80 -r 10.0.0.2:8080 -m -w 0\n"
        "-a -t 10.1.0.1:80 -r 10.0.0.3:8080 -m -w 1\n"
        "-a -t 10.1.0.1:80 -r 10.0.0.4:8080 -m -w 2\n"
    )
    assert converge(**declared)["changed"]
    assert "-a -t 10.1.0.1:80 -r 10.0.0.2:8080 -m -w 4" in saved()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        (
            "scheduler",
            "twos",
            "virtual_servers[1].scheduler twos is not one that this kernel has: those are dh, fo, lblc,",
        ),
        (
            "persistence_engine",
            "ftp",
            "virtual_servers[1].persistence_engine ftp is not one that this kernel has: those a",
        ),
        ("address", "10.9.0.300", "virtual_servers[1].address 10.9.0.300 is not an IP address"),
    ],
)
def test_bad_input_changes_nothing(option: str, value: str, said: str) -> None:
    bad = {**WEB, "protocol": "udp", "persistence_timeout": 60, option: value}
    assert refusal(virtual_servers=[WEB, bad]).startswith(said)


@pytest.mark.parametrize("declared", [False, True])
def test_kernel_refusal_is_named_and_rolled_back(declared: bool) -> None:
    """The refused entry is in a later batch of messages, and not its last one."""
    run(["ip", "address", "add", "10.8.0.1/24", "dev", "lo"])
    many = [{**WEB, "port": port, "real_servers": [ONE, TWO]} for port in range(1, 301)]
    if declared:
        ipvs(virtual_servers=[{**server, "scheduler": "lc", "real_servers": [TWO, THREE]} for server in many])
    before = exact()
    many[270] = {**many[270], "real_servers": [TWO, {"address": "10.8.0.255", "port": 1}, THREE]}
    result = module("ipvs", virtual_servers=many, **SCOPE)
    assert result["msg"] == (
        "virtual_servers[270].real_servers[1] `-a -t 10.1.0.1:271 -r 10.8.0.255:1 -m -w 1` is refused by the kernel: "
        "on this node it is the address of a network or of no host, and nothing was changed"
    )
    assert exact() == before


def test_boot_file_restores_all(tmp_path: Path) -> None:
    options = {"virtual_servers": EVERYTHING, "save_to": str(tmp_path)}
    assert converge(**options)["changed"]
    file, state = tmp_path / "ipvs.rules", exact()
    assert sorted((file.read_text() + FOREIGN).splitlines()) == sorted(state.splitlines())
    # After a boot, on a converged node, and on two nodes with a part of the servers.
    for spoil in (["-C"], [], ["-D", "-f", "7"], ["-E", "-t", "10.1.0.1:80", "-s", "rr"]):
        if spoil:
            run(["ipvsadm", *spoil])
        if spoil == ["-C"]:
            load(FOREIGN)
        run([sys.executable, "-m", ipvs_boot.__name__, str(file)], env=COLLECTIONS)
        assert exact() == state
    assert not ipvs(**options)["changed"]
    assert converge(state="absent", **options)["changed"]
    assert not file.exists()


def test_damaged_boot_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ipvs.rules"
    file.write_text("-A -t 10.1.0.1:80\n")
    monkeypatch.setattr(sys, "argv", ["boot", str(file)])
    with pytest.raises(SystemExit, match=r"ipvs\.rules: line 1 `-A -t 10.1.0.1:80` is not one of ipvsadm -Sn"):
        ipvs_boot.main()


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    options: dict[str, Any] = {"virtual_servers": [WEB], "save_to": str(folder)}
    before = exact()
    assert ipvs(check_mode=True, **options)["changed"]
    assert module("ipvs", **options)["msg"].startswith("save_to: the folder %s does not exist" % folder)
    assert exact() == before


def test_servers_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    file.write_text(json.dumps(EVERYTHING[1:]))
    assert converge(virtual_servers=EVERYTHING[:1], virtual_servers_file=str(file), **SCOPE)["changed"]
    assert not converge(virtual_servers=EVERYTHING, **SCOPE)["changed"]
    file.write_text("{}")
    assert refusal(virtual_servers_file=str(file)).startswith("virtual_servers_file %s is not a JSON list" % file)


def test_killed_at_any_moment_and_run_again(tmp_path: Path) -> None:
    """Alternate between two states; most runs are killed on the way."""
    file = tmp_path / "servers.json"
    options = {"virtual_servers_file": str(file), **SCOPE}
    limit = 1.0
    for attempt in range(12):
        reals = [ONE, TWO] if attempt % 2 else [TWO, THREE]
        servers = [{**WEB, "port": port, "real_servers": reals} for port in range(1 + attempt, MANY + attempt)]
        file.write_text(json.dumps(servers))
        Background("ipvs", **options).kill_at_any_moment(limit)
        start = time.monotonic()
        ipvs(**options)
        limit = time.monotonic() - start
        assert len(exact().splitlines()) == 3 * len(servers) + len(FOREIGN.splitlines())
    assert not ipvs(**options)["changed"]
    assert len(saved()) == 3 * len(servers) + len(FOREIGN.splitlines())


def test_missing_privileges_are_named() -> None:
    process = start_module("ipvs", inside=["setpriv", "--bounding-set=-net_admin"], virtual_servers=[WEB])
    assert finish_module(process)["msg"].startswith("IPVS needs root on the node (become: true)")
