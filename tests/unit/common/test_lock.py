# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node has one writer at a time."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import re
import signal
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Callable

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import lock
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import module as module_base
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import NodeError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.module import NodeModule

CONTEXT = multiprocessing.get_context("fork")
PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
# Modules for a host that change nothing, and labs, which make their own nodes.
UNLOCKED = {"netns_lab", "node_inspect", "probe_owners", "probe_ports", "vrrp_listen"}


def attempt(shared: bool = False) -> None:
    """Take the lock, or fail at once."""
    with lock.locked(shared, limit=0):
        pass


def hold(held: Event) -> None:
    """Hold the lock until this process is killed."""
    with lock.locked():
        held.set()
        signal.pause()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "FOLDER", str(tmp_path / "run"))


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_writer_excludes_readers_and_writers(first: bool, second: bool) -> None:
    said = r"at work on the node \(process %d\), and it did not end" % os.getpid()
    with lock.locked(shared=first), pytest.raises(NodeError, match=said):
        attempt(second)
    attempt(second)


def test_readers_share_the_lock() -> None:
    with lock.locked(shared=True):
        attempt(shared=True)


def test_a_host_without_network_namespaces_has_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "NAMESPACE", str(tmp_path / "proc" / "self" / "ns" / "net"))
    with lock.locked():
        attempt()
    assert not (tmp_path / "run").exists()


def test_killed_process_releases_the_lock() -> None:
    held = CONTEXT.Event()
    holder = CONTEXT.Process(target=hold, args=(held,))
    holder.start()
    assert held.wait(60)
    with pytest.raises(NodeError, match="process %s[)]" % holder.pid):
        attempt()
    holder.kill()
    holder.join()
    attempt()


def test_folder_of_locks_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with lock.locked():
        (file,) = folder.iterdir()
        assert [path.stat().st_mode & 0o777 for path in (folder, file)] == [0o700, 0o600]


def node_module() -> NodeModule:
    return NodeModule(argument_spec={"name": {"type": "str", "required": True}})


def test_wrong_arguments_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({}), pytest.raises(SystemExit):
        node_module()
    assert json.loads(capsys.readouterr().out)["msg"] == "missing required arguments: name"


@pytest.mark.parametrize("report", [NodeModule.exit_json, NodeModule.fail_json])
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_module_holds_the_lock_until_it_reports(
    monkeypatch: pytest.MonkeyPatch, report: Callable[..., None], check_mode: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with patch_module_args({"name": "x", "_ansible_check_mode": check_mode}):
        module = node_module()
        with pytest.raises(NodeError):
            attempt()
        with pytest.raises(SystemExit):
            report(module, msg="done")
    attempt()


def test_a_busy_node_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module_base, "locked", functools.partial(lock.locked, limit=0))
    with patch_module_args({"name": "x"}), lock.locked(), pytest.raises(SystemExit):
        node_module()
    assert "another run of this collection is at work on the node" in json.loads(capsys.readouterr().out)["msg"]


def test_every_module_that_changes_a_node_locks_it() -> None:
    groups = yaml.safe_load((PLUGINS.parent / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    modules = {name: (PLUGINS / "modules" / (name + ".py")).read_text(encoding="utf-8") for name in groups["node"]}
    assert {name for name, text in modules.items() if not re.search(r"\bNodeModule\(", text)} == UNLOCKED
