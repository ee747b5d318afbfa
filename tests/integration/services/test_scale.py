# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten thousand services on each data plane."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import BACKENDS, ServicesLab, endpoints

MANY = 10000


def test_ten_thousand_services(net: ServicesLab, plane: str, tmp_path: Path) -> None:
    services: list[dict[str, Any]] = [
        {"name": "s%d" % i, "address": "10.96.%d.%d" % divmod(i, 256), "port": 80, "endpoints": endpoints(1, 2)}
        for i in range(MANY)
    ]
    file = tmp_path / "services.json"
    options: dict[str, Any] = {"services_file": str(file), "diff": False}
    file.write_text(json.dumps(services), encoding="ascii")
    assert net.module(plane, **options)["changed"]
    for address in ("10.96.0.0", services[-1]["address"]):
        # Only one of two in 40 connections: 2e-12.
        assert {answer.server for answer in net.ask("client", address, 80, count=40)} == {"pod1", "pod2"}
    assert not net.module(plane, **options)["changed"]
    services[-1]["endpoints"] = endpoints(3, 4)
    file.write_text(json.dumps(services), encoding="ascii")
    assert net.module(plane, **options)["changed"]
    answers = net.ask("client", services[-1]["address"], 80, count=40)
    assert {answer.server for answer in answers} == {"pod3", "pod4"}
    assert net.module(plane, state="absent", diff=False)["changed"]
    ruleset = [net.saved(backend, family) for backend in BACKENDS for family in ("ipv4", "ipv6")]
    assert "LB" not in "".join([net.run("router", "nft", "list", "ruleset").out, *ruleset])
