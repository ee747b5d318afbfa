# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services by IPVS on a node: sets, rules and virtual servers, changed atomically.

A virtual server is ours when its address, protocol and port are in the set of services. So that this record is never
lost, services are added to the set before anything else changes, and removed from it last.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any, Callable, Iterable, Iterator, NamedTuple

from .._common import files
from .._common.command import ask
from .._common.errors import InputError, NodeError
from .._common.systemd import exec_start
from .._ipset import node as ipset_tool
from .._ipset import plan as ipset
from .._iptables.layout import Options
from .._iptables.node import Iptables, NoIptables
from .._iptables.run import Change
from .._iptables.run import Declaration as Rules
from .._services import conntrack
from .._services.model import Service
from .._virtual_address.plan import OWNERS
from . import kernel as ipvs_kernel
from . import model as ipvs_model
from . import plan as ipvs
from .layout import SERVICES, Frontend, front_of, frontends, refuse, rules, set_name, sets, virtual_servers
from .model import Front, VirtualServer
from .program import program

FAMILIES = ("ipv4", "ipv6")


class Settings(NamedTuple):
    """The settings that apply to all services of a node, of either family.

    schedulers -- schedulers of single services, by service name; all others use `scheduler`
    drain -- seconds that connections of removed endpoints have to end
    manage -- whether this module makes the virtual servers
    folder -- the folder of the boot files; empty for none
    """

    schedulers: dict[str, str]
    scheduler: str = "wrr"
    drain: int = 0
    preserve_weights: bool = False
    manage: bool = True
    backend: str = "auto"
    wait: int = 30
    folder: str = ""


def missing_packages() -> list[str]:
    """The packages that must be installed first."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    # Each package has the name of its program.
    return [program for program in ("iptables", "ipset") if shutil.which(program, path=path) is None]


def refuse_left(missing: list[str], prefix: str, settings: Settings) -> None:
    """Raise NodeError if packages are missing that are needed to remove what is left of ours."""
    for family in FAMILIES:
        if "iptables" in missing:
            NoIptables(family, prefix)
        elif any(
            chain.startswith(prefix)
            for table in Iptables(family, settings.backend, settings.wait).save(prefix).values()
            for chain in table.chains
        ):
            raise NodeError(
                "%s is not installed, but this node has chains that begin with %s: install the package, which is "
                "needed to remove them" % (missing[0], prefix)
            )


def node_addresses(vips: set[str]) -> list[str]:
    """The addresses by which others reach this node."""
    links = json.loads(ask(["ip", "-json", "address", "show"]) or "[]", strict=False)
    return [
        found["local"]
        for link in links
        for found in link.get("addr_info", [])
        if found.get("scope") == "global" and found.get("metric") not in OWNERS and found["local"] not in vips
    ]


class Node:
    """The declared state of a node, and the changes that lead to it."""

    def __init__(self, services: list[Service], options: dict[str, Options], settings: Settings, exact: bool) -> None:
        self._settings = settings
        self._exact = exact
        self._prefix = options["ipv4"].prefix
        refuse(services, options["ipv4"])
        _refuse_schedulers(services, settings)
        vips = {service.address for service in services}
        local = node_addresses(vips) if any(service.node_port for service in services) else []
        fronts = {family: frontends(services, family, local) for family in FAMILIES}
        self._present = any(fronts.values()) or any(options[family].isolate for family in FAMILIES)
        if any(fronts.values()) and settings.manage:
            ipvs_kernel.require()
        declared = [front for family in FAMILIES for front in fronts[family]]
        recorded = self._recorded()
        self._grown = [w for f in FAMILIES for w in sets(fronts[f], f, options[f], recorded[f])]
        self._sets = [w for f in FAMILIES for w in sets(fronts[f], f, options[f])]
        self._virtual = self._virtual_servers(declared)
        self._fronts = {
            family: (_udp(map(front_of, recorded[family])), _endpoints(fronts[family])) for family in FAMILIES
        }
        ours = {front_of(element) for elements in recorded.values() for element in elements}
        ours |= {virtual.front for virtual in self._virtual}
        have = ipvs.read(ours.__contains__) if settings.manage else {}
        self._servers = ipvs.plan(have, self._virtual, settings.drain > 0, settings.preserve_weights)
        self._rules = Change([self._rules_of(services, family, options[family]) for family in FAMILIES], exact)
        self._final = self._plan_sets()
        self._kept = list(self._boot_files())

    def _recorded(self) -> dict[str, list[str]]:
        """The recorded services of each family, as elements of their set."""
        names = {family: set_name(SERVICES, family, self._prefix) for family in FAMILIES}
        live = ipset_tool.headers()
        found = ipset_tool.read({name: live[name] for name in names.values() if name in live})
        return {family: list(found[name].entries) if name in found else [] for family, name in names.items()}

    def _virtual_servers(self, fronts: list[Frontend]) -> list[VirtualServer]:
        if not self._settings.manage:
            return []
        return virtual_servers(fronts, self._settings.scheduler, self._settings.schedulers)

    def _rules_of(self, services: list[Service], family: str, options: Options) -> Rules:
        # Isolation applies to both families: otherwise the other family would bypass the barrier.
        wanted = options.isolate or any(service.family == family for service in services)
        planned = {each.name: "create %s %s\n" % (each.name, each.create) for each in self._sets}
        return Rules(
            Iptables(family, self._settings.backend, self._settings.wait, planned),
            options.prefix,
            rules(services, family, options) if wanted else {},
            self._file("rules." + {"ipv4": "v4", "ipv6": "v6"}[family]),
            proven=True,
        )

    def _file(self, name: str) -> str:
        return "%s/%s" % (self._settings.folder, name) if self._settings.folder else ""

    def _plan_sets(self) -> ipset.Plan:
        return ipset.make_plan(self._sets, self._prefix, self._exact, unused=True)

    def _boot_files(self) -> Iterator[files.FileEdit]:
        """The files for the next boot, except the rules."""
        if self._settings.folder:
            yield files.edit(self._file("ipset.rules"), ipset.boot_text(self._sets) or None)
            yield files.edit(self._file("ipvs.rules"), ipvs_model.render(self._virtual) or None)
            yield files.edit(self._file("ipvs.pyz"), program() if self._virtual else None)

    @property
    def changed(self) -> bool:
        parts = self._final.changed, self._rules.changed, self._servers.changed
        return any(parts) or any(file.changed for file in self._kept)

    def apply(self) -> list[str]:
        """Apply the changes; return a message about each endpoint that was removed while it had connections."""
        self._rules.refuse_folders()
        for file in self._kept:
            if file.after:
                files.refuse_missing_folder("save_to", file.path)
        done: list[Callable[[], None]] = []
        cut: list[str] = []
        # First the parts that carry traffic, then the rules that lead traffic to them; when removing all, in reverse
        # order.
        steps = [self._grow_sets, self._apply_rules, self._apply_servers]
        try:
            for step in steps if self._present else reversed(steps):
                cut += step(done)
            if self._final.changed:
                ipset.apply_plan(self._plan_sets())
        except Exception:
            for back in reversed(done):
                back()
            raise
        self._rules.save()
        for file in self._kept:
            file.write()
        return cut

    def _grow_sets(self, done: list[Callable[[], None]]) -> list[str]:
        plan = ipset.make_plan(self._grown, exact=False)
        if plan.changed:
            plan = ipset.apply_plan(plan)
            done.append(lambda: ipset.undo(plan))
        return []

    def _apply_rules(self, done: list[Callable[[], None]]) -> list[str]:
        self._rules.apply()
        done.append(self._rules.undo)
        return []

    def _apply_servers(self, done: list[Callable[[], None]]) -> list[str]:
        cut = ipvs.apply(self._servers, self._settings.drain)
        done.append(lambda: ipvs.undo(self._servers))
        return cut

    def forget_stale(self, check_mode: bool) -> list[conntrack.Forgotten]:
        """Delete the connection tracking entries that the new services have made stale.

        Only if we make the virtual servers: otherwise their forwarding method is unknown, and entries may not show it.
        """
        if not self._settings.manage:
            return []
        return [conntrack.forget_stale(family, *self._fronts[family], check_mode) for family in FAMILIES]

    def diff(self) -> list[dict[str, str]]:
        parts = [self._final.diff()] if self._final.changed else []
        parts += self._rules.diff()
        parts += [self._servers.diff()] if self._servers.changed else []
        return parts + [file.diff() for file in self._kept if file.changed]

    def result(self) -> dict[str, Any]:
        """The module's result without the diff."""
        result = self._rules.result()
        boot = [exec_start(["ipset", "-exist", "-file", self._file("ipset.rules"), "restore"])] if self._sets else []
        boot += result["boot"]
        if self._virtual:
            boot.append(exec_start([sys.executable, self._file("ipvs.pyz"), self._file("ipvs.rules")]))
        return {**result, "changed": self.changed, "missing": [], "boot": boot if self._settings.folder else []}


def _udp(fronts: Iterable[Front]) -> set[conntrack.Socket]:
    return {(front.address, front.port) for front in fronts if front.protocol == "udp"}


def _endpoints(fronts: list[Frontend]) -> conntrack.Fronts:
    return {
        (front.address, front.port): frozenset((each.address, each.port) for each in front.service.endpoints)
        for front in fronts
        if front.protocol == "udp"
    }


def _refuse_schedulers(services: list[Service], settings: Settings) -> None:
    names = {service.name for service in services}
    for name in settings.schedulers:
        if services and name not in names:
            raise InputError(
                "schedulers.%s is not the name of a service: the services are %s" % (name, ", ".join(names))
            )
    if not services or not settings.manage:
        return
    wanted = {"scheduler": settings.scheduler, **{"schedulers." + k: v for k, v in settings.schedulers.items()}}
    unknown, known = ipvs_kernel.missing("ip_vs_", set(wanted.values()))
    for where, scheduler in wanted.items():
        if scheduler in unknown:
            raise InputError(
                "%s %s is not a scheduler of this node's kernel, which has %s" % (where, scheduler, ", ".join(known))
            )
