# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests need of the machine: root, the tools, network namespaces."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import command
from ansible_collections.homelab.loadbalancer.tests.integration.lab import Lab
from ansible_collections.homelab.loadbalancer.tests.integration.lan import Lan
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network, standing
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import BACKENDS, PLANES, ServicesLab

TOOLS = ("curl", "ip", "ip6tables", "ipset", "iptables", "iptables-legacy", "nft", "ping")


@functools.lru_cache(maxsize=None)
def missing_piece() -> str:
    """What this machine lacks to run the integration tests, and how to get it; empty when it lacks nothing."""
    if os.geteuid() != 0:
        return "not root: run `make integration`, or pytest by sudo"
    for tool in TOOLS:
        try:
            command.run([tool, "-V"], check=False)
        except command.CommandError:
            return "%s is not installed: `make setup` installs it" % tool
    # A namespace without a name: nothing of it is left, whatever happens.
    made = command.run(["unshare", "--net", "true"], check=False)
    if made.rc != 0:
        return "no network namespace can be made here: %s" % made.err.strip()
    return ""


@pytest.fixture(autouse=True, scope="session")
def _machine() -> None:
    if missing_piece():
        pytest.skip(missing_piece())


@pytest.fixture(autouse=True, scope="session")
def _path() -> None:
    """The virtual environment's programs first, for what is started by name (ansible-playbook)."""
    os.environ["PATH"] = "%s:%s" % (Path(sys.executable).parent, os.environ.get("PATH", ""))


@pytest.fixture
def fresh_node() -> Iterator[None]:
    """The test, and the programs it starts, in a network namespace of its own."""
    with fresh_network():
        yield


@pytest.fixture
def lan() -> Iterator[Lan]:
    """A node, another host and a client on one LAN."""
    with standing(Lan()) as made:
        yield made


@pytest.fixture(scope="module")
def net() -> Iterator[ServicesLab]:
    """A client, a router and pods that serve, for all tests of a file."""
    with standing(ServicesLab()) as made:
        yield made


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, net: ServicesLab) -> str:
    """Each test begins on a router without rules."""
    net.reset()
    return str(request.param)


@pytest.fixture(params=PLANES)
def plane(request: pytest.FixtureRequest, net: ServicesLab) -> str:
    """Each data plane that translates in turn, on a router without rules."""
    net.reset()
    return str(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the repetitions of tests for each layout of iptables on a data plane that has one layout."""
    first: dict[str, str] = {}
    kept = []
    for item in items:
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if given.get("plane") == "nftables" and "layout" in given:
            name = item.nodeid.replace(given["layout"], "")
            if first.setdefault(name, item.nodeid) != item.nodeid:
                continue
        kept.append(item)
    items[:] = kept


@pytest.fixture
def lab(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab with a name of its own, which the test builds; it is removed at the end."""
    monkeypatch.chdir(root)
    made = Lab()
    try:
        yield made
    finally:
        made.remove()
        assert made.traces() == []
