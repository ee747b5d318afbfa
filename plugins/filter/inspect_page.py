# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: inspect_page
short_description: An HTML page of the reports of all hosts
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Makes one HTML page from the reports of an inspection, with a diagram of the hosts, their network namespaces and
    the networks between them, and tables of everything.
  - The page is self-contained, loads nothing, and can be printed. Its script only filters rows and unfolds tables.
  - Text from hosts and the cluster, which may be hostile, is escaped, including control characters.
positional: _input, cluster
options:
  _input:
    description:
      - The report of each host, with its name as C(host), the time of the inspection as C(time), and C(kernel),
        C(hostname), C(namespaces), C(firewall), C(containers), C(images), C(notes). All except C(host) are optional.
      - For a host whose inspection failed, C(host) and C(error).
    type: list
    elements: dict
    required: true
  cluster:
    description:
      - The report of the cluster. C(nodes), C(pods), C(services), C(metallb) with its C(pools) and C(leaders),
        C(events), C(notes). All are optional.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write the page on the control node
  ansible.builtin.copy:
    content: "{{ reports | homelab.loadbalancer.inspect_page(cluster) }}"
    dest: inspection.html
    mode: "0600"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
_value:
  description: The page. The same reports always give the same bytes.
  type: str
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ..plugin_utils._inspect.page import page


def inspect_page(documents: Sequence[dict[str, Any]], cluster: Mapping[str, Any] | None = None) -> str:
    """One HTML page of all reports."""
    if isinstance(documents, (str, Mapping)) or not isinstance(documents, Sequence):
        raise AnsibleFilterError(
            "inspect_page takes a list of reports, one of each host: write [report] | inspect_page"
        )
    if not isinstance(cluster or {}, Mapping):
        raise AnsibleFilterError("inspect_page(cluster) takes the report of the cluster as a dictionary, or nothing")
    return page(documents, dict(cluster or {}))


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"inspect_page": inspect_page}
