# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comments and names that somebody else made of escape sequences: diffs and messages show them."""

from __future__ import annotations

import json
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    Firewall,
    module,
    try_chains,
)
from ansible_collections.homelab.loadbalancer.tests.integration.sets import ipset

pytestmark = pytest.mark.usefixtures("fresh_node")

HOSTILE = "\x1b[2J\x07"
SHOWN = r"\x1b[2J\x07"


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def assert_shown(said: Any) -> None:
    assert SHOWN in "".join(texts(said)), said
    assert "\x1b" not in "".join(texts(said)), said


@pytest.mark.parametrize("backend", BACKENDS)
def test_escape_sequences_in_a_rule_comment_are_shown(backend: str) -> None:
    firewall = Firewall(backend)
    firewall("-N LB-X")
    run([firewall.command, "-A", "LB-X", "-m", "comment", "--comment", HOSTILE, "-j", "RETURN"])
    result = try_chains(firewall, prefix="LB-", tables={"filter": {"chains": {"LB-X": ["-j ACCEPT"]}}})
    assert result["changed"]
    assert_shown(result["diff"])


def test_escape_sequences_in_an_entry_comment_are_shown() -> None:
    ipset("create LB-A hash:ip comment")
    run(["ipset", "add", "LB-A", "192.0.2.1", "comment", HOSTILE])
    result = module("ipset", prefix="LB-", sets=[{"name": "LB-B", "type": "hash:ip", "entries": []}])
    assert result["changed"], json.dumps(result)
    assert_shown(result["diff"])


SERVICE = {"name": "web", "address": "192.0.2.1", "port": 80, "endpoints": [{"address": "192.0.2.2", "port": 80}]}


@pytest.mark.parametrize(
    ("name", "options"),
    [("virtual_address", {"addresses": ["192.0.2.1"]}), ("keepalived_vips", {"services": [SERVICE]})],
)
def test_escape_sequences_in_a_link_name_are_shown(name: str, options: dict[str, Any]) -> None:
    """The message tells which links there are."""
    run(["ip", "link", "add", HOSTILE, "type", "bridge"])
    result = module(name, interface="eth9", **options)
    assert result["failed"]
    assert_shown(result["msg"])
