# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A router of each release, as a container in a lab of network namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.compat.matrix import NODES
from ansible_collections.homelab.loadbalancer.tests.compat.results import Record
from ansible_collections.homelab.loadbalancer.tests.compat.router import Router


@pytest.fixture(autouse=True, scope="session")
def _machine(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: run `make compat`, or pytest by sudo")
    os.environ["PATH"] = "%s:%s:/usr/sbin:/sbin" % (Path(sys.executable).parent, os.environ.get("PATH", ""))
    os.environ["CONTAINERS_CONF"] = str(root / "roles/cluster_lab/files/containers.conf")


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """Notes what a test runs, for tools/compat.py. The last note counts."""

    def note(*row: str) -> None:
        record_property("row", json.dumps(row))

    return note


@pytest.fixture(params=NODES)
def release(request: pytest.FixtureRequest) -> str:
    """The name of a release of Debian."""
    return str(request.param)


@pytest.fixture
def router(root: Path, release: str, tmp_path: Path) -> Iterator[Router]:
    """The router of inventories/lab with that release, without systemd, between the client and the pod."""
    found = subprocess.run([str(root / "tools/compat-tree"), release], stdout=subprocess.PIPE, text=True, check=True)
    made = Router(root, found.stdout.strip(), tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()
