# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspect a node without changing it: its namespaces, its packet filters, its containers.

A tool is not run if it would make the kernel load a module or create a table. iptables-legacy-save runs only for tables
in /proc/net/ip_tables_names. nft and ipset run only if the kernel already has their part. iptables-nft-save runs only
if the kernel also has nft_compat, by which the command looks up the rules' extensions, and which was loaded with the
rules. IPVS is read from /proc. Only running container runtimes are asked, because systemd may start one when its socket
is used.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import Any, Callable, Dict, List, Sequence

from .._iptables.rules import unshown, with_other_hooks
from . import containers, firewall, namespaces
from .containers import Container
from .links import Network
from .tools import Tools, loaded, utf8

CONTAINERD = ("/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock")
RUNTIMES = (*CONTAINERD, "/run/crio/crio.sock")
NFT = ("nft", "--json", "--terse", "list", "ruleset")
IPSET = ("ipset", "list", "-terse")
CRICTL_SETTINGS = "/etc/crictl.yaml"
Listed = List[Dict[str, Any]]


def inspect(timeout: int, others: bool) -> dict[str, Any]:
    """Inspect the node and return the report.

    timeout -- the time limit of each tool in seconds
    others -- also enter the other namespaces
    """
    tools = Tools(timeout)
    listed, images = read_containers(tools)
    with contextlib.ExitStack() as stack:
        seen = namespaces.scan()
        files = namespaces.open_namespaces(seen, stack, tools)
        if seen.host not in files:
            raise PermissionError("the network namespace of PID 1 cannot be opened")
        networks = namespaces.read_networks(files, list(files) if others else [seen.host], tools)
        with namespaces.inside(files[seen.host]):
            filters = read_firewall(networks.get(seen.host, Network()), tools)
    owners = namespaces.find_owners(seen, listed, os.getpid())
    # Leave out namespaces that ended meanwhile.
    found = [each for each in namespaces.report(seen, owners, networks) if each["id"] in files]
    report: dict[str, Any] = utf8(
        {
            "kernel": os.uname().release,
            "hostname": os.uname().nodename,
            "notes": tools.notes,
            "namespaces": found,
            "firewall": filters,
            "containers": containers.report_containers(listed, images),
            "images": sorted(images, key=lambda image: (image["names"], image["id"])),
        }
    )
    return report


def read_firewall(host: Network, tools: Tools) -> dict[str, Any]:
    """The packet filters of the current namespace."""
    ours = [address for link in host.links for address in link.ours]
    kube_ipvs0 = any(link.name == "kube-ipvs0" for link in host.links)
    servers = firewall.read_ipvs(_read_file("/proc/thread-self/net/ip_vs"))
    return {
        "iptables": [*_read_nft(tools), *_read_legacy(tools)],
        "nftables": _read_loaded("nf_tables", NFT, firewall.read_nftables, tools, "nftables are not in the report"),
        "ipset": _read_loaded("ip_set", IPSET, firewall.read_ipsets, tools, "ipsets are not in the report"),
        "ipvs": firewall.own_ipvs(servers, ours, kube_ipvs0),
    }


def _read_loaded(module: str, argv: Sequence[str], parse: Callable[[str], Listed], tools: Tools, lost: str) -> Listed:
    return (tools.read(argv, parse, lost) if loaded(module) else None) or []


def _read_nft(tools: Tools) -> Listed:
    found: Listed = []
    if loaded("nf_tables") and loaded("nft_compat"):
        for family, command in (("ipv4", "iptables"), ("ipv6", "ip6tables")):
            save = _find_save(command, "nft", tools)
            lost = "the %s rules of iptables-nft are in the report as tables of nftables only" % family
            parse = partial(_parse_nft, family=family, tools=tools)
            found += tools.read([save], parse, lost) or []
    return found


def _parse_nft(text: str, family: str, tools: Tools) -> Listed:
    for table in unshown(text) + with_other_hooks(text):
        name = "%s %s" % ({"ipv4": "ip", "ipv6": "ip6"}[family], table)
        tools.note(
            "iptables-nft-save cannot show all of the table %s, which holds what only nft knows: "
            "see `nft list table %s`" % (name, name)
        )
    return firewall.read_iptables(text, "nft", family)


def _read_legacy(tools: Tools) -> Listed:
    found: Listed = []
    for family, command, listed in (
        ("ipv4", "iptables", "ip_tables_names"),
        ("ipv6", "ip6tables", "ip6_tables_names"),
    ):
        tables = _read_file("/proc/thread-self/net/" + listed).split()
        lost = "the legacy %s tables %s are not in the report" % (family, ", ".join(tables))
        for table in tables:
            save = _find_save(command, "legacy", tools)
            argv = [save, "-t", table]
            found += tools.read(argv, partial(firewall.read_iptables, variant="legacy", family=family), lost) or []
    return found


def _find_save(command: str, variant: str, tools: Tools) -> str:
    """The save command of a variant. A node with only one variant has it under the plain name."""
    name = "%s-%s-save" % (command, variant)
    plain = tools.find(command + "-save")
    if not tools.find(name) and plain:
        # The command links to xtables-nft-multi, to xtables-legacy-multi or, in old versions, to xtables-multi.
        is_nft = "nft" in os.path.basename(os.path.realpath(plain))
        if is_nft == (variant == "nft"):
            return command + "-save"
    return name


def _read_file(path: str) -> str:
    """The text of a kernel file; empty if it does not exist."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def read_containers(tools: Tools) -> tuple[list[Container], Listed]:
    """The containers, including the sandboxes of pods, and the images."""
    lost = "containers and images are not in the report"
    running = [path for path in RUNTIMES if os.path.exists(path)]
    told = os.path.exists(CRICTL_SETTINGS) or "CONTAINER_RUNTIME_ENDPOINT" in os.environ
    if not running and not told:
        tools.note("no runtime of the CRI runs here (there is none of %s): %s" % (", ".join(RUNTIMES), lost))
        return [], []
    addresses = [path for path in running if path in CONTAINERD]
    instead = bool(addresses and tools.find("ctr"))
    argv = ["crictl", "--timeout=%ds" % tools.timeout]
    argv += [] if told else ["--runtime-endpoint=unix://" + running[0]]
    found = _ask_crictl(argv, tools, "containers were read by ctr" if instead else lost)
    if found is None and instead:
        found = _ask_ctr(["ctr", "--address=" + addresses[0], "--namespace=k8s.io"], tools, lost)
    return found or ([], [])


def _ask_crictl(argv: Sequence[str], tools: Tools, lost: str) -> tuple[list[Container], Listed] | None:
    listed = tools.read([*argv, "ps", "-a", "-o", "json"], containers.read_cri_containers, lost)
    if listed is None:
        return None
    lost = "which namespaces are those of pods is not in the report"
    sandboxes = tools.read([*argv, "pods", "-o", "json"], containers.read_cri_sandboxes, lost) or []
    pids: dict[str, int] = {}
    for inspect_them, group in (("inspect", listed), ("inspectp", sandboxes)):
        ids = [each.id for each in group if each.state == "Running"]
        if ids:
            lost = "the processes of containers are not in the report"
            # All ids in one call: crictl takes long to start.
            pids.update(tools.read([*argv, inspect_them, "-o", "json", *ids], containers.read_cri_pids, lost) or {})
    images = tools.read([*argv, "images", "-o", "json"], containers.read_cri_images, "images are not in the report")
    return containers.with_pids([*listed, *sandboxes], pids), images or []


def _ask_ctr(argv: Sequence[str], tools: Tools, lost: str) -> tuple[list[Container], Listed] | None:
    ids = tools.read([*argv, "containers", "list", "-q"], str.split, lost)
    tasks = None if ids is None else tools.read([*argv, "tasks", "list"], containers.read_ctr_tasks, lost)
    if ids is None or tasks is None:
        return None
    info = partial(containers.read_ctr_container, tasks=tasks)
    lost = "some containers are not in the report"
    found = [tools.read([*argv, "containers", "info", each], info, lost) for each in ids]
    images = tools.read([*argv, "images", "list"], containers.read_ctr_images, "images are not in the report")
    return [each for each in found if each is not None], images or []
