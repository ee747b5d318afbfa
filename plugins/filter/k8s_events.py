# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: k8s_events
short_description: Events of a Kubernetes cluster in order of time
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Sorts the events that M(homelab.loadbalancer.k8s_read) or M(kubernetes.core.k8s_info) returns by time, the newest
    last, whether their time is in C(lastTimestamp), C(eventTime) or C(series).
  - Control characters in their messages, which a hostile pod may cause, are escaped, for instance as C(\\x1b).
options:
  _input:
    description: The events.
    type: list
    elements: dict
    required: true
  kind:
    description: Only events of objects of this kind, in the singular or plural.
    type: str
    default: ''
  name:
    description: Only events of objects of this name.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Read events
  homelab.loadbalancer.k8s_read:
    queries: [{kind: Event, namespace: default}]
  register: read

- name: Show the newest message
  ansible.builtin.debug:
    msg: "{{ (read.found[0].resources | homelab.loadbalancer.k8s_events | last).message }}"
"""

RETURN = r"""
_value:
  description:
    - For each event, C(last_seen) (in UTC), C(type), C(reason), C(kind), C(namespace) and C(name) of the object and all
      three as C(object), C(count), C(message) and C(source).
  type: list
  elements: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ..plugin_utils._k8s_explain.events import in_order


def k8s_events(events: Sequence[Mapping[str, Any]], kind: str = "", name: str = "") -> list[dict[str, Any]]:
    """The events in order of time."""
    return in_order(events, kind, name)


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"k8s_events": k8s_events}
