# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services by IPVS on a node: sets, rules and virtual servers, changed atomically.

A virtual server is ours when its address, protocol and port are in the set of services. So that this record is never
lost, services are added to the set before anything else changes, and removed from it last.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any, Iterable, NamedTuple

from .._balancer.model import Boot, DataPlane, NoDataPlane, joined
from .._common.command import ask
from .._common.errors import InputError, NotInstalledError
from .._common.systemd import exec_start
from .._ipset import node as ipset_tool
from .._ipset import plan as ipset
from .._iptables.change import Change as RulesChange
from .._iptables.change import Declaration as Rules
from .._iptables.input import parse_options
from .._iptables.layout import Options
from .._iptables.node import Iptables
from .._services import conntrack
from .._services.model import Service
from .._virtual_address.plan import OWNERS
from . import kernel as ipvs_kernel
from . import model as ipvs_model
from . import plan as ipvs
from .layout import SERVICES, Frontend, front_of, frontends, refuse, rules, set_name, sets, virtual_servers
from .model import Front, VirtualServer
from .packages import missing_packages, refuse_left
from .program import program

FAMILIES = ("ipv4", "ipv6")


class Settings(NamedTuple):
    """The settings that apply to all services of a node, of either family.

    schedulers -- schedulers of single services, by service name; all others use `scheduler`
    drain -- seconds that connections of removed endpoints have to end
    manage -- whether this module makes the virtual servers
    """

    schedulers: dict[str, str]
    scheduler: str = "wrr"
    drain: int = 0
    preserve_weights: bool = False
    manage: bool = True
    backend: str = "auto"
    wait: int = 30


def plan_rules(services: list[Service], options: dict[str, Any], exact: bool) -> DataPlane:
    """Plan the sets, rules and virtual servers.

    options -- the options of the module
    exact -- whether to find the exact outcome, as check mode and a diff need it
    """
    if options["drain"] < 0:
        raise InputError("drain %d is not a number of seconds" % options["drain"])
    families = parse_options(options)
    missing = missing_packages()
    if missing and options["state"] == "present":
        raise NotInstalledError("These packages are not installed: %s" % ", ".join(missing), *missing)
    if missing:
        refuse_left(missing, families["ipv4"].prefix, options["backend"], options["wait"])
        return NoDataPlane(changed=False)
    settings = Settings(**{name: options[name] for name in Settings._fields if name in options})
    return Change(services, families, settings._replace(manage=options["virtual_servers"]), exact)


def node_addresses(vips: set[str]) -> list[str]:
    """The addresses by which others reach this node."""
    links = json.loads(ask(["ip", "-json", "address", "show"]) or "[]", strict=False)
    return [
        found["local"]
        for link in links
        for found in link.get("addr_info", [])
        if found.get("scope") == "global" and found.get("metric") not in OWNERS and found["local"] not in vips
    ]


class Change(DataPlane):
    """The changes of sets, rules and virtual servers that lead to the declared state."""

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
        self._rules = RulesChange([self._rules_of(services, family, options[family]) for family in FAMILIES], exact)
        self._final = self._plan_sets()
        self._back = contextlib.ExitStack()

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
            proven=True,
        )

    def _plan_sets(self) -> ipset.Plan:
        return ipset.make_plan(self._sets, self._prefix, self._exact, unused=True)

    @property
    def warnings(self) -> list[str]:
        return self._rules.warnings

    @property
    def changed(self) -> bool:
        return self._final.changed or self._rules.changed or self._servers.changed

    def apply(self) -> None:
        # First the parts that carry traffic, then the rules that lead traffic to them. When all is removed, the rules
        # stay until the last connection has ended.
        with contextlib.ExitStack() as back:
            if self._present:
                plan = ipset.make_plan(self._grown, exact=False)
                if plan.changed:
                    back.callback(ipset.undo, ipset.apply_plan(plan))
                self._apply_rules(back)
            ipvs.apply(self._servers)
            back.callback(ipvs.undo, self._servers)
            self._back = back.pop_all()

    def _apply_rules(self, back: contextlib.ExitStack) -> None:
        self._rules.apply()
        back.callback(self._rules.undo)

    def finish(self) -> list[str]:
        """Returns a message about each endpoint that was removed while it had connections."""
        cut = ipvs.finish(self._servers, self._settings.drain)
        if not self._present:
            self._apply_rules(self._back)
        if self._final.changed:
            ipset.apply_plan(self._plan_sets())
        return cut

    def undo(self) -> None:
        self._back.close()

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
        return parts + ([self._servers.diff()] if self._servers.changed else [])

    def boot(self, folder: str) -> Boot:
        parts = []
        if self._sets:
            file = folder + "/ipset.rules"
            load = exec_start(["ipset", "-exist", "-file", file, "restore"])
            parts.append(Boot([load], {file: ipset.boot_text(self._sets)}))
        parts.append(self._rules.boot(folder))
        if self._virtual:
            file, restore = folder + "/ipvs.rules", folder + "/ipvs.pyz"
            load = exec_start([sys.executable, restore, file])
            parts.append(Boot([load], {file: ipvs_model.render(self._virtual), restore: program()}))
        return joined(parts)

    def result(self) -> dict[str, Any]:
        return self._rules.result()


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
