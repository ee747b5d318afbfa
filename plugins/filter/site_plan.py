# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_plan
short_description: Plan the objects, routes and URLs of applications with host names
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Turns a list of applications into the declarations of the roles P(homelab.loadbalancer.app#role) and
    P(homelab.loadbalancer.httproute#role), so that each application is declared in one place. The playbook C(site.yml)
    uses it.
  - All entries are checked. An error message names the wrong entry.
positional: _input
options:
  _input:
    description:
      - The applications. Each has a C(name) and an C(image); C(hostnames), by which Gateways serve it; C(http_port),
        the one of its C(ports) that gets the requests; and the other options of the filter
        P(homelab.loadbalancer.app_manifest#filter), such as C(namespace), C(replicas), C(ports) and C(env).
      - The default of C(http_port) is the tcp port named V(http) or V(web), or else V(80), or else V(8080), or else
        the only tcp port.
      - An application without C(hostnames) runs, but is not reachable from outside.
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
    description: The namespace of Gateways without one.
    type: str
    default: default
  certificates:
    description:
      - Contents of the listeners' certificate files, by path. Host names without a matching certificate are noted.
    type: dict
    default: {}
  part_of:
    description:
      - The name of this declaration, which the objects get as the label C(app.kubernetes.io/part-of), for
        O(homelab.loadbalancer.app#role:main:app_part_of).
    type: str
    default: site
  zone:
    description:
      - The DNS zone that serves the host names. Names outside the zone need another DNS server, and C(notes) lists
        them. Empty if the zone is unknown.
    type: str
    default: ''
  broken:
    description:
      - Applications that failed to roll out, each as C(Deployment NAMESPACE/NAME), as
        M(homelab.loadbalancer.k8s_rollout) returns them. They get no routes and URLs.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the routes of an application
  ansible.builtin.debug:
    msg: "{{ (apps | homelab.loadbalancer.site_plan([{'name': 'public'}])).routes }}"
  vars:
    apps:
      - {name: web, namespace: prod, image: registry.example.org/team/web:1.2, hostnames: [www.k8s.local]}
"""

RETURN = r"""
_value:
  description:
    - C(objects), the namespaces and applications; C(routes), as
      O(homelab.loadbalancer.httproute#role:main:httproute_routes) describes them; C(urls), for checks from clients;
      C(verify_name), a host name that the zone must serve; and C(notes), host names outside the zone and those without
      a certificate.
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
    """The declarations of the roles."""
    try:
        made = site.plan(apps, gateways, namespace, part_of, zone=zone, broken=broken)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return made._replace(notes=[*made.notes, *_uncovered(apps, gateways, certificates or {})])._asdict()


def _uncovered(
    apps: Sequence[Mapping[str, Any]], gateways: Sequence[Mapping[str, Any]], certificates: Mapping[str, str]
) -> Iterator[str]:
    """Notes on host names without a matching certificate, for listeners with a certificate file."""
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
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"site_plan": site_plan}
