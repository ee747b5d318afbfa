# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_plan
short_description: What applications with host names mean to the roles
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Makes of a list of applications what the roles P(homelab.loadbalancer.app#role) and
    P(homelab.loadbalancer.httproute#role) are to declare, so that each application stands in one place. The playbook
    C(site.yml) uses it.
  - All of it is checked; what is wrong is refused with a message that names the entry.
positional: _input
options:
  _input:
    description:
      - The applications. Each has a C(name) and an C(image); C(hostnames), at which Gateways serve it; C(http_port),
        the one of its C(ports) to which they send the requests; and what else the filter
        P(homelab.loadbalancer.app_manifest#filter) takes, such as C(namespace), C(replicas), C(ports) and C(env).
      - Without C(http_port) it is the tcp port named V(http) or V(web), else V(80), else V(8080), else the only tcp
        port.
      - Without C(hostnames) it runs, and nobody outside reaches it.
    type: list
    elements: dict
    required: true
  gateways:
    description:
      - The Gateways, as O(homelab.loadbalancer.gateway#role:main:gateway_gateways) describes them. All serve all
        names.
    type: list
    elements: dict
    default: []
  namespace:
    description: The namespace of Gateways that name none.
    type: str
    default: default
  certificates:
    description:
      - Texts of the files that listeners name as their certificates, by their paths. Names that no certificate of their
        listener is for are noted.
    type: dict
    default: {}
  part_of:
    description:
      - The name of this declaration, which the objects bear as the label C(app.kubernetes.io/part-of), for
        O(homelab.loadbalancer.app#role:main:app_part_of).
    type: str
    default: site
  zone:
    description:
      - The DNS zone that is served for the names. Other names are left to whoever serves them, and C(notes) says so.
        Empty is that the zone is not known.
    type: str
    default: ''
  broken:
    description:
      - Applications that do not work, each as C(Deployment NAMESPACE/NAME), as
        M(homelab.loadbalancer.k8s_rollout) returns them. They are left out of the routes and URLs.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: See the routes of an application
  ansible.builtin.debug:
    msg: "{{ (apps | homelab.loadbalancer.site_plan([{'name': 'public'}])).routes }}"
  vars:
    apps:
      - {name: web, namespace: prod, image: registry.example.org/team/web:1.2, hostnames: [www.k8s.local]}
"""

RETURN = r"""
_value:
  description:
    - C(objects), namespaces and what runs there; C(routes), as
      O(homelab.loadbalancer.httproute#role:main:httproute_routes) describes them; C(urls), which a client can ask;
      C(verify_name), a name that the zone is to know; and C(notes), which names the zone does not have,
      and which no certificate is for.
  type: dict
"""

from typing import Any, Callable, Iterator, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ..module_utils._common.errors import InputError
from ..plugin_utils._common.hostnames import meet
from ..plugin_utils._gateway.tls import uncovered_note
from ..plugin_utils._site import plan as site


def site_plan(
    apps: Any,
    gateways: Sequence[Mapping[str, Any]] = (),
    namespace: str = "default",
    part_of: str = "site",
    *,
    zone: str = "",
    broken: Sequence[str] = (),
    certificates: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the roles are to declare."""
    try:
        made = site.plan(apps, gateways, namespace, part_of, zone=zone, broken=broken)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return made._replace(notes=[*made.notes, *_uncovered(apps, gateways, certificates or {})])._asdict()


def _uncovered(
    apps: Sequence[Mapping[str, Any]], gateways: Sequence[Mapping[str, Any]], certificates: Mapping[str, str]
) -> Iterator[str]:
    """Notes of host names that no certificate of their listener is for, as far as it comes from a file."""
    listeners = [(gateway, one) for gateway in gateways for one in gateway.get("listeners") or []]
    for at, app in enumerate(apps):
        for number, name in enumerate(app.get("hostnames") or []):
            for gateway, one in listeners:
                text = certificates.get((one.get("tls") or {}).get("certificate_file") or "")
                both = meet(one.get("hostname") or "", name)
                if text and both:
                    where = "site_apps[%d].hostnames[%d]" % (at, number)
                    listener = "the listener %s of the Gateway %s" % (one["name"], gateway["name"])
                    note = uncovered_note(where, both, listener, [text])
                    yield from [note] if note else []


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"site_plan": site_plan}
