# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On macOS the labs and the modules for nodes say that they need Linux, and a client checks what it can."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import system
from ansible_collections.homelab.loadbalancer.plugins.module_utils._probe import owners, ports

ROOT = Path(__file__).resolve().parents[3]
MODULES = "ansible_collections.homelab.loadbalancer.plugins.modules."
# Imports all our Python for nodes and control nodes without the names that only Linux has.
IMPORTS = """
import importlib, os, pathlib, select, signal, socket, ssl, sys
import ansible.module_utils.basic, ansible.plugins.action, ansible.plugins.connection.local
import kubernetes.client
LINUX = ("AF_ALG", "AF_NETLINK", "AF_PACKET", "ETH_", "MSG_ERRQUEUE", "NETLINK_", "PACKET_", "SO_BINDTODEVICE",
         "SO_MARK", "SOCK_CLOEXEC", "SOCK_NONBLOCK")
for module, names in (
    (socket, [name for name in dir(socket) if name.startswith(LINUX)]),
    (select, ("epoll",)),
    (os, ("O_TMPFILE", "O_PATH", "sched_getaffinity", "memfd_create", "eventfd", "pipe2", "setns", "unshare",
          "pidfd_open")),
    (signal, ("pidfd_send_signal",)),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
root = pathlib.Path(sys.argv[1])
collection = root / ".collections/ansible_collections/homelab/loadbalancer/plugins"
sys.path.insert(0, str(root / ".collections"))
count = 0
for path in sorted(collection.glob("**/*.py")):
    if "doc_fragments" not in path.parts:
        importlib.import_module(".".join(path.relative_to(root / ".collections").with_suffix("").parts))
        count += 1
print(count)
"""


@pytest.fixture(autouse=True)
def _macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "name", lambda: "Darwin")


def run_module(module: str, **options: Any) -> dict[str, Any]:
    """The result of a module."""
    output = io.StringIO()
    with patch_module_args(options), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        importlib.import_module(MODULES + module).main()
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


@pytest.mark.parametrize("name", ["netns_lab", "uml_lab"])
def test_a_lab_needs_linux(name: str) -> None:
    options = {"folder": "/lab"} if name == "uml_lab" else {}
    result = run_module(name, name="lab", **options)
    assert result["msg"] == (
        "the lab needs Linux, and this host runs Darwin: use a Linux machine, for instance a virtual machine"
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("iptables_services", {"services": []}),
        ("ipset", {"sets": []}),
        ("nftables_table", {"name": "site", "content": ""}),
        ("virtual_address", {"interface": "en0", "addresses": []}),
        ("probe_owners", {"addresses": []}),
        ("node_inspect", {}),
    ],
)
def test_a_module_for_nodes_needs_linux(name: str, options: dict[str, Any]) -> None:
    result = run_module(name, **options)
    assert result["failed"] is True
    assert result["msg"].startswith("this module needs Linux, and this host runs Darwin: ")


def test_a_client_leaves_out_the_owners_of_addresses() -> None:
    found = owners.look(["192.168.10.100"], 1, "owners")
    assert found["owners"][0]["macs"] is None
    assert found["owners"][0]["reason"] == "asking by ARP and NDP needs Linux, and this host runs Darwin"
    assert (found["links"], found["networks"]) == ({}, [])


def test_a_client_probes_ports_without_the_error_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket(socket.socket):
        def setsockopt(self, *arguments: Any) -> None:
            assert arguments[:2] not in ports._ERROR_QUEUE.values(), "macOS has other options with these numbers"
            super().setsockopt(*arguments)

    monkeypatch.setattr(socket, "socket", Socket)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        waiting = threading.Thread(target=listener.accept)
        waiting.start()
        assert ports.ask(ports.Target("127.0.0.1", port, "tcp"), 5).state == "open"
        waiting.join()
    closed = ports.ask(ports.Target("127.0.0.1", port, "tcp"), 5)
    assert (closed.state, closed.detail) == ("refused", "refused")


def test_all_plugins_can_be_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(ROOT)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


@pytest.mark.parametrize("profile", ["", "nodes", "cluster", "test"])
def test_setup_of_the_labs_says_that_they_need_linux(tmp_path: Path, profile: str) -> None:
    (tmp_path / "uname").write_text("#!/bin/sh\necho Darwin\n")
    (tmp_path / "uname").chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "tools/setup"), *filter(None, [profile])],
        env={**os.environ, "PATH": "%s:%s" % (tmp_path, os.environ["PATH"])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("setup: the labs and the tests need Linux, and this is Darwin: use a Linux machine")
