# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the module ipvs, and the virtual servers as ipvsadm lists them."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import model as ipvs_model
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import plan as _ipvs
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import module


def saved() -> list[str]:
    """The lines that ipvsadm saves, sorted."""
    return sorted(run(["ipvsadm", "-Sn"]).out.splitlines())


def load(text: str) -> None:
    """Load virtual servers as an administrator does."""
    run(["ipvsadm", "-R"], text)


def exact() -> str:
    """All virtual servers, with the thresholds that ipvsadm leaves out."""
    return ipvs_model.render(_ipvs.read(lambda front: True).values())


def ipvs(check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module, which must succeed."""
    result = module("ipvs", check_mode, **options)
    assert not result.get("failed"), result["msg"]
    return result


def converge(**options: Any) -> dict[str, Any]:
    """Check, run, run again: check mode changes nothing and predicts the run, and a second run changes nothing."""
    before = exact()
    predicted = ipvs(check_mode=True, **options)
    assert exact() == before
    result = ipvs(**options)
    assert result == predicted
    after = exact()
    again = ipvs(**options)
    assert (again["changed"], again["diff"]["before"], again["diff"]["after"]) == (False, "", "")
    assert exact() == after
    assert sorted(re.sub(" -[xy] [0-9]+", "", after).splitlines()) == saved()
    return result


def refusal(**options: Any) -> str:
    """Return the message of a refusal, which is the same in check mode and changes nothing."""
    before = exact()
    said = [module("ipvs", check_mode, **options) for check_mode in (True, False)]
    assert all(result.get("failed") for result in said), said
    assert exact() == before
    assert said[0]["msg"] == said[1]["msg"]
    message: str = said[0]["msg"]
    return message
