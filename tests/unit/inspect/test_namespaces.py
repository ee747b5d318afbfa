# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces, their owners, and notes on failing tools."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._inspect.containers import Container
from ansible_collections.homelab.loadbalancer.plugins.module_utils._inspect.namespaces import (
    Process,
    Scan,
    find_owners,
    parse_mounts,
    parse_stat,
    report,
    scan,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._inspect.tools import Tools, loaded, utf8

HOST = 1
MOUNTINFO = r"""
22 28 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
225 230 0:4 net:[4026533012] /run/netns/874871f4-9c7b-4124-b716-f032f5e83e45 rw shared:12 - nsfs nsfs rw
226 230 0:4 net:[4026533012] /var/elsewhere/x rw shared:12 - nsfs nsfs rw
227 230 0:4 net:[4026533100] /run/docker/netns/default\040x rw - nsfs nsfs rw
228 230 0:4 mnt:[4026533200] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw
"""


def stat_line(pid: int, comm: str, parent: int, start: int) -> str:
    return "%d (%s) S %d 1 1 0 -1 4194560 %s 20 0 1 0 %d 2 3\n" % (pid, comm, parent, "0 " * 7 + "0", start)


@given(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=15))
def test_process_names_with_special_characters_are_parsed(comm: str) -> None:
    assert parse_stat(stat_line(12, comm, 7, 4711)) == Process(12, comm, 7, 4711)


def test_mounts() -> None:
    assert parse_mounts(MOUNTINFO) == {
        4026533012: ["/run/netns/874871f4-9c7b-4124-b716-f032f5e83e45", "/var/elsewhere/x"],
        4026533100: ["/run/docker/netns/default x"],
    }


def test_initial_namespace_is_found_without_access_to_process_1(monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def guarded(path: Any, **options: Any) -> os.stat_result:
        if path == "/proc/1/ns/net":
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", guarded)
    assert scan().host == stat("/proc/self/ns/net").st_ino


def owned(containers: list[Container], own: int = 0) -> dict[int, tuple[Any, ...]]:
    """Four namespaces beside the host's: 2 is a pod's, 3 a lone container's, 4 has processes, 5 has none."""
    processes = {
        2: [Process(20, "pause", 1, 100), Process(21, "speaker", 1, 200)],
        3: [Process(30, "nginx", 1, 100)],
        4: [
            Process(41, "late", 1, 300),
            Process(40, "dnsmasq", 1, 200),
            Process(42, "sh", 1, 100),
            Process(43, "py", 42, 400),
        ],
    }
    homes = {1: HOST, 10: HOST, **{each.pid: home for home, listed in processes.items() for each in listed}}
    seen = Scan(HOST, homes, processes, {5: ["/run/netns/empty"], 2: ["/run/netns/cni-1"]})
    owners = find_owners(seen, containers, own)
    return {home: tuple(owner.values()) for home, owner in owners.items()}


def test_owners() -> None:
    speaker = Container("s", "speaker", pod="speaker-x", namespace="metallb-system", pid=21)
    sandbox = Container("p", "", pod="speaker-x", namespace="metallb-system", pid=20, sandbox=True)
    lone = Container("abc123", "", pid=30)
    host_network = Container("h", "kube-proxy", pod="kube-proxy-1", namespace="kube-system", pid=10)
    ended = Container("e", "job", pod="job-1", namespace="default", pid=0)
    gone = Container("g", "job", pod="job-2", namespace="default", pid=999)
    expected = {
        HOST: ("host", "", "", 1),
        2: ("pod", "metallb-system", "speaker-x", 20),
        3: ("container", "", "abc123", 30),
        4: ("process", "", "sh", 42),
        5: ("none", "", "", 0),
    }
    assert owned([speaker, lone, host_network, ended, gone, sandbox]) == expected
    # Without the sandbox the container's process identifies the owner.
    assert owned([speaker, lone])[2] == ("pod", "metallb-system", "speaker-x", 21)
    assert owned([])[2] == ("process", "", "pause", 20)


def test_inspecting_process_owns_no_namespace() -> None:
    assert owned([], own=43)[4] == ("process", "", "dnsmasq", 40)
    assert owned([], own=30)[3] == ("none", "", "", 0)


def test_the_order_of_namespaces() -> None:
    seen = Scan(9, {}, {7: [], 6: []}, {3: ["/run/netns/b"], 4: ["/tmp/x", "/run/netns/a"]})
    owners: dict[int, dict[str, Any]] = {
        number: {"kind": "process", "namespace": "", "name": name, "pid": 1}
        for number, name in ((9, ""), (7, "a"), (6, "b"), (3, ""), (4, ""))
    }
    shown = [(each["id"], each["name"], each["host"]) for each in report(seen, owners, {})]
    assert shown == [(9, "", True), (4, "a", False), (3, "b", False), (7, "", False), (6, "", False)]


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("プロキシ", "プロキシ"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\ufffd"),
        (json.loads(r'"\ud800x"'), "\ufffdx"),
        ({"\udcff": ["\udcff", ("a", 1, None, True)]}, {"\ufffd": ["\ufffd", ["a", 1, None, True]]}),
    ],
)
def test_text_is_valid(value: Any, clean: Any) -> None:
    assert utf8(value) == clean
    assert json.dumps(utf8(value), ensure_ascii=False).encode()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    for name, script in (
        ("good", 'echo "[1]"'),
        ("bad", "echo no such socket >&2; exit 3"),
        ("odd", "echo ["),
        ("slow", "echo x >> %s/asked; exec sleep 600" % tmp_path),
    ):
        (tmp_path / name).write_text("#!/bin/sh\n" + script + "\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % tmp_path)
    return Tools(1)


def test_failing_tool_is_noted(tools: Tools) -> None:
    assert tools.read(["good"], json.loads, "x") == [1]
    assert tools.notes == []
    assert [tools.read([name, "-x"], json.loads, "rules are lost") for name in ("bad", "odd", "none", "none")] == [
        None
    ] * 4
    assert tools.notes[0] == "bad failed (no such socket; exit code 3): rules are lost"
    assert tools.notes[1].startswith("the output of odd was not understood (")
    assert tools.notes[2:] == ["none is not installed: rules are lost"]


def test_hanging_tool_is_not_run_again(tools: Tools, tmp_path: Path) -> None:
    assert tools.ask(["slow"], "a is lost") is None
    assert tools.ask(["slow"], "b is lost") is None
    assert tools.notes == ["slow did not answer within 1 s: a is lost", "slow did not answer within 1 s: b is lost"]
    assert (tmp_path / "asked").read_text() == "x\n"


def test_loaded_kernel_modules_are_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"/proc/modules": True, "/sys/module/there": True}
    monkeypatch.setattr(os.path, "exists", lambda path: paths.get(path, False))
    monkeypatch.setattr(os.path, "isdir", lambda path: paths.get(path, False))
    assert (loaded("there"), loaded("absent")) == (True, False)
    # A kernel without loadable modules loads none, whatever it is asked.
    paths.clear()
    assert loaded("absent")
