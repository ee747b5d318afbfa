# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ipvs as tests run it, and the virtual servers as ipvsadm sees them."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import model as ipvs_model
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import plan as _ipvs
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import module


def saved() -> list[str]:
    """What ipvsadm saves, in no order."""
    return sorted(run(["ipvsadm", "-Sn"]).out.splitlines())


def load(text: str) -> None:
    """As an administrator does it by hand."""
    run(["ipvsadm", "-R"], text)


def exact() -> str:
    """All there is, with the thresholds that ipvsadm leaves out."""
    return ipvs_model.render(_ipvs.read(lambda front: True).values())


def ipvs(check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module where it has to succeed."""
    result = module("ipvs", check_mode, **options)
    assert not result.get("failed"), result["msg"]
    return result


def converge(**options: Any) -> dict[str, Any]:
    """Check, carry out, repeat: check mode changes nothing and predicts the run, which a second run leaves alone."""
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
    """The message with which the module refuses, in check mode too, and nothing has changed."""
    before = exact()
    said = [module("ipvs", check_mode, **options) for check_mode in (True, False)]
    assert all(result.get("failed") for result in said), said
    assert exact() == before
    assert said[0]["msg"] == said[1]["msg"]
    message: str = said[0]["msg"]
    return message
