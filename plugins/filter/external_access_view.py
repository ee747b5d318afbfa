# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: external_access_view
short_description: What the API server knows of the external access of Services
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Puts the objects of a cluster together to one structure. Which Services of the type LoadBalancer have which
    addresses, who announces them, and why one is pending or not announced.
  - Text of the cluster is returned in one line and without control characters.
positional: _input, services, http_ports
options:
  _input:
    description:
      - Lists of objects as the API returns them, by kind. C(Service), C(Node), C(Pod) of MetalLB's namespace,
        C(EndpointSlice), C(Event), C(IPAddressPool), C(L2Advertisement), C(BGPAdvertisement), C(ServiceL2Status).
      - With C(Deployment) and C(StatefulSet) it is known which Services are meant to have no pod, with C(HTTPRoute)
        what is behind O(urls).
    type: dict
    required: true
  services:
    description: The Services to look at, as C(NAMESPACE/NAME). None is all of the type LoadBalancer.
    type: list
    elements: str
    default: []
  http_ports:
    description: Ports to be asked by HTTP, besides those whose name or appProtocol says HTTP.
    type: list
    elements: int
    default: [80, 8080]
  http_path:
    description: The path to ask for by HTTP.
    type: str
    default: /
  http_host:
    description: The Host header of HTTP.
    type: str
    default: ''
  urls:
    description: URLs that clients are to ask by name, C(http://NAME[:PORT][/PATH]) or with C(https).
    type: list
    elements: str
    default: []
  zone:
    description:
      - The DNS zone that clients are to know, for instance of the role P(homelab.loadbalancer.coredns_zone#role). That
        a name of another zone is not found is no fault.
    type: str
    default: ''
  ca:
    description: Certificates in PEM that are trusted besides the clients' own authorities.
    type: str
    default: ''
  memberlist_port:
    description: The port where MetalLB's speakers hear each other.
    type: int
    default: 7946
"""

EXAMPLES = r"""
- name: Say which Services have no address, and why
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.pending.cause }}"
  loop: "{{ (objects | homelab.loadbalancer.external_access_view).services | selectattr('pending') }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description:
    - C(metallb), C(nodes), C(speakers) and C(services) as they are. C(refused), a sentence for each of O(services) and
      O(urls) that cannot be looked at; C(urls), those that are asked; C(urls_aside), those that are not, and why;
      C(served), what routes lead to for each URL; C(zone) and C(ca). C(whose), what each address of a Service is, in
      words; and C(targets), what M(homelab.loadbalancer.probe_ports) (C(node), C(client)) and
      M(homelab.loadbalancer.probe_owners) (C(addresses)) are to ask. Those of URLs are the last ones of C(client).
  type: dict
"""

from typing import Any, Callable, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _external_access_view as views
from ansible_collections.homelab.loadbalancer.plugins.module_utils._external_access_urls import (
    read_urls,
    sort_urls,
    whose,
)


def external_access_view(
    objects: views.Objects,
    services: Sequence[str] = (),
    http_ports: Sequence[int] = (80, 8080),
    *,
    http_path: str = "/",
    http_host: str = "",
    urls: Sequence[str] = (),
    zone: str = "",
    ca: str = "",
    memberlist_port: int = 7946,
) -> dict[str, Any]:
    """The cluster as the checks need it, and what is to be asked."""
    cluster = views.view(objects, services, [int(port) for port in http_ports])
    by_name, refused = read_urls(urls)
    served, idle = sort_urls(by_name, objects)
    targets = {
        "node": views.targets_of_nodes(cluster, int(memberlist_port)),
        # Whoever reads the answers knows those of URLs by being the last ones.
        "client": [*views.targets_of_clients(cluster, http_path, http_host), *(by_name[url] for url in served)],
        "addresses": views.addresses_of_clients(cluster),
    }
    return {
        **cluster,
        "refused": [*cluster["refused"], *refused],
        "urls": list(served),
        "urls_aside": idle,
        "served": served,
        "zone": zone.lower().strip("."),
        "ca": ca,
        "whose": whose(objects["Service"]),
        "targets": targets,
    }


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"external_access_view": external_access_view}
