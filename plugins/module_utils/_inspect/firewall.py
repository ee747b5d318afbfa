# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contents of a node's packet filters, and their owners.

Everything here is pure. Programs give their chains, sets and tables typical names, which tell the owner:

- kube-proxy: KUBE-* chains (pkg/proxy/iptables/proxier.go, pkg/proxy/ipvs/proxier.go), KUBE-* sets
  (pkg/proxy/ipvs/ipset.go), the tables `kube-proxy` (pkg/proxy/nftables/proxier.go), the link kube-ipvs0
- kubelet: KUBE-FIREWALL, KUBE-KUBELET-CANARY and KUBE-IPTABLES-HINT (pkg/kubelet/kubelet_network_linux.go)
- CNI: CNI-* chains and the tables cni_* of containernetworking/plugins (pkg/ip/ipmasq_nftables_linux.go,
  plugins/meta/portmap), and those of networks and their policies: Calico's cali-*, cali40* and calico, Flannel's
  FLANNEL-* and flannel-*, Cilium's CILIUM_*, kube-router's KUBE-ROUTER-*, KUBE-POD-FW-* and KUBE-NWPLCY-*
- Docker: DOCKER* chains, the tables docker-bridges; podman: NETAVARK* and netavark
- firewalld: the tables firewalld and, with its old backend, chains such as INPUT_ZONES and IN_public
  (src/firewall/core/ipXtables.py)
- ufw: ufw-* and ufw6-*
- this project: the prefixes LB- and LBC-, and addresses that virtual_address marked
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, Iterable, Mapping

from .._iptables.rules import TABLES, parse_save, target

OTHER = "other"
OURS = "this project"
KUBE_PROXY = "kube-proxy"

# The first pattern that matches the beginning of a chain's or a set's name wins.
_OWNERS = [
    (OURS, re.compile(r"LBC?-")),
    ("kubelet", re.compile(r"KUBE-(FIREWALL|KUBELET-CANARY|IPTABLES-HINT)$")),
    ("CNI", re.compile(r"(inet6:)?KUBE-(ROUTER-|POD-FW-|NWPLCY-|SRC-|DST-)|CNI-|FLANNEL-|cali|CILIUM_|cilium_")),
    (KUBE_PROXY, re.compile(r"KUBE-")),
    ("Docker", re.compile(r"DOCKER")),
    ("podman", re.compile(r"NETAVARK")),
    ("ufw", re.compile(r"ufw6?-")),
    (
        "firewalld",
        re.compile(
            r"(INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)(_IN|_OUT)?_(direct|ZONES|POLICIES)"
            r"|(IN|FWDI|FWDO|FWD|PRE|POST|OUT)_[A-Za-z]"
        ),
    ),
]
_TABLE_OWNERS = [
    (OURS, re.compile(r"LB-")),
    (KUBE_PROXY, re.compile(r"kube-proxy$")),
    ("firewalld", re.compile(r"firewalld$")),
    ("CNI", re.compile(r"cni_|flannel-|calico|cali-|kube-router|kindnet|kube-network-policies")),
    ("Docker", re.compile(r"docker-bridges$")),
    ("podman", re.compile(r"netavark$")),
]
_INCOMPATIBLE = re.compile(r"^# Table `([^']+)'.* incompatible", re.MULTILINE)


def owner(name: str) -> str:
    """The owner of a chain or a set."""
    return next((who for who, pattern in _OWNERS if pattern.match(name)), OTHER)


def _rule_owner(chain: str, rule: str) -> str:
    """The owner of a rule: that of its chain; in a chain of the kernel or the administrator, that of its target."""
    found = owner(chain)
    if found != OTHER:
        return found
    # Calico writes rules into the kernel's chains; their comments begin like this.
    return "CNI" if '--comment "cali:' in rule else owner(target(rule))


def read_iptables(text: str, variant: str, family: str) -> list[dict[str, Any]]:
    """The tables that iptables-save printed.

    iptables-nft-save prints an nftables table that it cannot read as an empty one. Such a table is left out here,
    because it is among those of nftables.
    """
    found = []
    unread = set(_INCOMPATIBLE.findall(text))
    for name, table in parse_save(text).items():
        owners: dict[str, int] = {}
        for chain, rules in table.chains.items():
            for rule in rules:
                who = _rule_owner(chain, rule)
                owners[who] = owners.get(who, 0) + 1
        if owners or name not in unread:
            found.append(
                {
                    "variant": variant,
                    "family": family,
                    "table": name,
                    "chains": len(table.chains),
                    "rules": sum(owners.values()),
                    "owners": dict(sorted(owners.items())),
                }
            )
    return found


def read_nftables(text: str) -> list[dict[str, Any]]:
    """The tables that `nft -j list ruleset` printed, including those of iptables-nft."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    bases: dict[tuple[str, str], set[str]] = {}
    for entry in json.loads(text, strict=False).get("nftables", []):
        for kind, thing in entry.items():
            if kind == "table":
                at = thing["family"], thing["name"]
                tables[at] = {"family": at[0], "table": at[1], "chains": 0, "rules": 0, "owner": ""}
            elif kind in ("chain", "rule"):
                at = thing["family"], thing["table"]
                tables[at][kind + "s"] += 1
                if "hook" in thing:
                    bases.setdefault(at, set()).add(thing["name"])
    for at, table in tables.items():
        table["owner"] = _table_owner(at[0], at[1], bases.get(at, set()))
    return list(tables.values())


def _table_owner(family: str, name: str, bases: set[str]) -> str:
    """The owner of an nftables table. A table is iptables-nft's if its name and all its base chains are."""
    if family in ("ip", "ip6") and name in TABLES and bases.issubset(TABLES[name]):
        return "iptables"
    return next((who for who, pattern in _TABLE_OWNERS if pattern.match(name)), OTHER)


def read_ipsets(text: str) -> list[dict[str, Any]]:
    """The sets that `ipset list -terse` printed."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        key, dummy, value = line.partition(": ")
        if key == "Name":
            found.append({"name": value, "type": "", "entries": 0, "owner": owner(value)})
        elif found and key == "Type":
            found[-1]["type"] = value
        elif found and key == "Number of entries":
            found[-1]["entries"] = int(value)
    return found


def read_ipvs(text: str) -> list[dict[str, Any]]:
    """The virtual servers of /proc/net/ip_vs, which has hexadecimal addresses and ports. The owner is left open."""
    found: list[dict[str, Any]] = []
    for words in map(str.split, text.splitlines()):
        if len(words) >= 3 and words[0] in ("TCP", "UDP", "SCTP"):
            address, port = _read_endpoint(words[1])
            found.append(_virtual_server(words[0].lower(), address, port, words[2]))
        elif len(words) >= 3 and words[0] == "FWM":
            # A firewall mark replaces address and port.
            found.append(_virtual_server("fwm", str(int(words[1], 16)), 0, words[2]))
        elif found and len(words) >= 3 and words[0] == "->" and words[1] != "RemoteAddress:Port":
            found[-1]["servers"] += 1
    return found


def _read_endpoint(text: str) -> tuple[str, int]:
    address, dummy, port = text.rpartition(":")
    if address.startswith("["):
        return str(ipaddress.IPv6Address(address.strip("[]"))), int(port, 16)
    return str(ipaddress.IPv4Address(int(address, 16))), int(port, 16)


def _virtual_server(protocol: str, address: str, port: int, scheduler: str) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "address": address,
        "port": port,
        "scheduler": scheduler,
        "servers": 0,
        "owner": OTHER,
    }


def own_ipvs(servers: Iterable[Mapping[str, Any]], ours: Iterable[str], kube_ipvs0: bool) -> list[dict[str, Any]]:
    """The virtual servers with their owners.

    ours -- the node's addresses that this project has marked
    kube_ipvs0 -- whether kube-proxy's link exists: it then removes others' virtual servers outside excludeCIDRs
    """
    marked = set(ours)
    rest = KUBE_PROXY if kube_ipvs0 else OTHER
    return [{**server, "owner": OURS if server["address"] in marked else rest} for server in servers]
