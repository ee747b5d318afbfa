# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two directors run keepalived by systemd: one has the VIPs, and the other takes over when it is killed."""

from __future__ import annotations

import json
import time
from typing import Any, Callable

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node

VIPS = {"192.168.10.100", "fd00:10::100"}
URLS = ("http://192.168.10.100/", "http://[fd00:10::100]/")


@pytest.fixture(scope="module")
def directors() -> list[Any]:
    return [Node("director1"), Node("director2")]


def held(director: Any) -> set[str]:
    link = json.loads(director.output("ip -json address show dev eth0"))[0]
    return {entry["local"] for entry in link["addr_info"]} & VIPS


def wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def test_one_director_has_the_vips(client: Any, directors: list[Any]) -> None:
    wait(lambda: sorted(len(held(director)) for director in directors) == [0, 2], "one has them all")
    for url in URLS:
        assert client.pages(url, times=5) == {"Hello from pod1"}


def test_backup_takes_over_from_a_killed_master(client: Any, directors: list[Any]) -> None:
    wait(lambda: sorted(len(held(director)) for director in directors) == [0, 2], "one has them all")
    master, other = sorted(directors, key=lambda director: -len(held(director)))
    master.output("systemctl kill --kill-who=main --signal=KILL keepalived.service")
    wait(lambda: held(other) == VIPS and not held(master), "the other one has them")
    for url in URLS:
        assert client.pages(url, times=5) == {"Hello from pod1"}
    master.output("systemctl reset-failed keepalived.service; systemctl start keepalived.service")
    # The new master keeps the VIPs.
    wait(lambda: "Entering BACKUP" in master.output("journalctl -b -u keepalived -n 30"), "it stands by")
    assert held(other) == VIPS


@pytest.mark.parametrize("number", [0, 1])
def test_no_unit_failed(directors: list[Any], number: int) -> None:
    state = directors[number].host.run("systemctl is-system-running").stdout.strip()
    assert state == "running", directors[number].output("systemctl --failed --no-legend")
    assert directors[number].output("systemctl is-enabled keepalived.service") == "enabled"
