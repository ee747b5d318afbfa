# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: external_access_checks
short_description: Judge the external access of a cluster from the reports of all hosts
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Combines the data of the API server with the reports of nodes and clients. Each check gets a result, and each fault
    a cause and a remedy.
positional: _input, reports
options:
  _input:
    description: The result RV(homelab.loadbalancer.external_access#module:cluster).
    type: dict
    required: true
  reports:
    description:
      - The report of each host. C(host), its name; C(place), C(node) or C(client); C(answers) of
        M(homelab.loadbalancer.probe_ports) to the targets, in their order; C(owners), C(links) and C(networks) of
        M(homelab.loadbalancer.probe_owners). A value that a host did not report is null.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what is wrong
  ansible.builtin.debug:
    msg: "{{ checks | selectattr('result', 'eq', 'fault') | map(attribute='sentence') }}"
  vars:
    checks: "{{ cluster | homelab.loadbalancer.external_access_checks(reports) }}"
"""

RETURN = r"""
_value:
  description:
    - The checks. C(kind) (V(address), V(speaker), V(memberlist), V(client), V(neighbor), V(http), V(tcp), V(udp),
      V(sctp), V(url)); C(place), the host that checked; C(subject), the checked object; C(result), V(proved), V(fault)
      or V(unknown); C(found), the observation; C(cause) and C(remedy) of a fault, empty if another check has them;
      C(sentence), all of these in one text.
  type: list
  elements: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ..plugin_utils._external_access.checks import Report, judge, sentence
from ..plugin_utils._external_access.urls import judge_urls


def external_access_checks(cluster: dict[str, Any], reports: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """All checks, the API's first and those of URLs last."""
    read = [_report(one, len(cluster["urls"])) for one in reports]
    checks = [*judge(cluster, read), *judge_urls(cluster, read)]
    return [{**check._asdict(), "sentence": sentence(check)} for check in checks]


def _report(raw: Mapping[str, Any], urls: int) -> Report:
    """A report. A client's answers to URLs are the last ones, because their targets are last."""
    answers, asked = raw.get("answers"), ()
    if answers and urls and raw["place"] == "client":
        answers, asked = answers[:-urls], answers[-urls:]
    links = raw.get("links") or {}
    return Report(raw["host"], raw["place"], answers, raw.get("owners"), links, asked, raw.get("networks"))


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, str]]]]:
        return {"external_access_checks": external_access_checks}
