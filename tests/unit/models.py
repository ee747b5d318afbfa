# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of declarations for hosts that users write, with the falsy values that are right for their keys."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipset import input as ipset_input
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables import input as iptables_input
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import input as ipvs_input
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns import model as netns_model
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services import model as services
from ansible_collections.homelab.loadbalancer.plugins.module_utils._split_dns import plan as split_dns
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml import model as uml_model

FALSY: tuple[Any, ...] = ("", False, 0, {}, [])
TEXT, BOOL, ZERO, MAP, LIST = FALSY
# A key whose value is wrong whenever it is falsy.
NONE: tuple[Any, ...] = ()


class Model(NamedTuple):
    """An entry of a declaration that users write.

    keys -- those that may be left out, each with the falsy values that are right for it
    parse -- checks an entry
    entry -- one that is right
    known -- all keys of the entry, as the model has them; those of `entry` may be required
    """

    parse: Callable[[dict[str, Any]], Any]
    entry: dict[str, Any]
    keys: dict[str, tuple[Any, ...]]
    known: tuple[str, ...] | None = None


SERVICE = {"name": "web", "address": "192.0.2.1", "port": 80, "endpoints": []}
VIRTUAL = {"address": "192.0.2.1", "port": 80}
ROUTE = {"name": "web", "gateways": ["public"], "rules": [{"backends": ["web"]}]}
POOLS: dict[str, Any] = {
    "pools": [],
    "l2_advertisements": [],
    "bgp_advertisements": [],
    "bgp_peers": [],
    "communities": [],
}
CLIENT = split_dns.parse_client({"system": "Linux", "active": "systemd-resolved", "systemd": "255"})
NODE = {"name": "a", "links": [{"name": uml_model.MANAGEMENT, "vlan": 1, "addresses": ["172.31.0.11/24"]}]}


def _tables(jump: dict[str, Any]) -> Any:
    tables = {"filter": {"chains": {"LB-A": []}, "jumps": {"INPUT": [jump]}}}
    return iptables_input.parse_tables(tables, "LB-")


HOST_MODELS = {
    "service": Model(
        lambda entry: services.parse_services([entry]),
        SERVICE,
        {"protocol": NONE, "session_affinity": (MAP,), "source_ranges": (LIST,), "node_port": NONE},
        services.SERVICE_KEYS,
    ),
    "service's endpoint": Model(
        lambda entry: services.parse_services([{**SERVICE, "endpoints": [entry]}]),
        {"address": "192.0.2.2"},
        {"port": NONE, "weight": NONE},
        services.ENDPOINT_KEYS,
    ),
    "session affinity": Model(
        lambda entry: services.parse_services([{**SERVICE, "session_affinity": entry}]), {}, {"timeout": NONE}
    ),
    "set": Model(
        lambda entry: ipset_input.parse_sets([entry], True),
        {"name": "a", "type": "hash:ip"},
        {
            "family": NONE,
            "entries": (LIST,),
            "entries_file": NONE,
            "append": (BOOL,),
            **dict.fromkeys(ipset_input.FLAGS, (BOOL,)),
            **dict.fromkeys((*ipset_input.NUMBERS, *ipset_input.TEXTS), (ZERO,)),
        },
        (*ipset_input.OWN_KEYS, *ipset_input.FLAGS, *ipset_input.NUMBERS, *ipset_input.TEXTS),
    ),
    "virtual server": Model(
        lambda entry: ipvs_input.parse_virtual_servers([entry], ipvs_input.Scope()),
        VIRTUAL,
        {
            "protocol": NONE,
            "mark": NONE,
            "family": NONE,
            "scheduler": NONE,
            "flags": (LIST,),
            "one_packet": (BOOL,),
            "persistence_timeout": (ZERO,),
            "persistence_netmask": NONE,
            "persistence_engine": (TEXT,),
            "real_servers": (LIST,),
        },
        ipvs_input.VIRTUAL_KEYS,
    ),
    "virtual server of a mark": Model(
        lambda entry: ipvs_input.parse_virtual_servers([entry], ipvs_input.Scope()),
        {"mark": 1},
        {"family": NONE},
    ),
    "real server": Model(
        lambda entry: ipvs_input.parse_virtual_servers([{**VIRTUAL, "real_servers": [entry]}], ipvs_input.Scope()),
        {"address": "192.0.2.2"},
        {"port": NONE, "forward": NONE, "weight": (ZERO,), "upper_threshold": (ZERO,), "lower_threshold": (ZERO,)},
        ipvs_input.REAL_KEYS,
    ),
    "jump": Model(_tables, {"rule": "-j LB-A"}, {"position": NONE, "before": NONE, "after": NONE}),
    "table": Model(
        lambda entry: iptables_input.parse_tables({"filter": entry}, "LB-"), {}, {"chains": (MAP,), "jumps": (MAP,)}
    ),
    "chain": Model(
        lambda entry: iptables_input.parse_tables({"filter": {"chains": entry}}, "LB-"),
        {"LB-A": []},
        {"LB-A": (LIST,)},
    ),
    "DNS server": Model(
        lambda entry: split_dns.plan(
            {"zone": "k8s.local", "servers": [entry], "resolver": "auto", "state": "present", "prefix": ""}, CLIENT
        ),
        {"address": "192.0.2.1"},
        {"port": NONE},
    ),
    "lab's host": Model(
        lambda entry: netns_model.parse_lab("lab", [entry], []),
        {"name": "a"},
        {"links": (LIST,), "gateways": (LIST,), "routes": (LIST,), "sysctls": (MAP,)},
    ),
    "lab's link": Model(
        lambda entry: netns_model.parse_lab("lab", [{"name": "a", "links": [entry]}], []),
        {"name": "eth0", "vlan": 1},
        {"addresses": (LIST,), "mtu": NONE},
    ),
    "lab's server": Model(
        lambda entry: netns_model.parse_lab("lab", [{"name": "a"}], [entry]),
        {"host": "a", "text": "a"},
        {"port": NONE, "protocol": NONE},
    ),
    "lab's node": Model(lambda entry: uml_model.parse_nodes("lab", "/a", "/a/b", [entry], []), NODE, {"memory": NONE}),
}
