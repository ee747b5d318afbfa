# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of the modules for load-balanced services."""

from __future__ import annotations

import contextlib
import gc
from typing import Any, Callable, Dict, Iterator, List, Sequence

from .._common.command import CommandError
from .._common.differences import differences
from .._common.errors import InputError, NodeError, NotInstalledError, named
from .._common.module import Module
from .._services.model import Service, read_services
from .._services.planes import others
from .._services.sockets import refuse_taken
from .change import Change
from .model import DataPlane, NoDataPlane

_FORWARDING = {"ipv4": "net.ipv4.ip_forward", "ipv6": "net.ipv6.conf.all.forwarding"}
# Plans the rules of services. Called with the options of the module, and with whether to find the exact outcome, as
# check mode and a diff need it. With state=absent, there are no services, and the option isolate is empty.
Planner = Callable[[List[Service], Dict[str, Any], bool], DataPlane]


def run_module(module: Module, plan_rules: Planner, plane: str) -> None:
    """Read the declaration, converge, and report.

    plane -- the name of the data plane
    """
    options = module.params
    result: dict[str, Any] = {}
    try:
        result = converge(options, plan_rules, module.check_mode, module._diff)
        result["others"] = others(plane, options["prefix"]) if options["state"] == "present" else []
    except NotInstalledError as error:
        module.fail_json(msg=named(error, options["variables"]), missing=error.packages)
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=named(error, options["variables"]))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Thousands of services are hundreds of thousands of objects, and to search them for cycles again and again takes a
    fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@_without_garbage_collection()
def converge(options: dict[str, Any], plan_rules: Planner, check_mode: bool, diff: bool) -> dict[str, Any]:
    """Bring the node to the declared state, or only predict it. Returns the module's result with its warnings."""
    services = read_services(options)
    refuse_taken(services, options)
    options = {**options, "sysctls": {**forwarding(services, options), **options["sysctls"]}}
    present = options["state"] == "present"
    given = options if present else {**options, "isolate": []}
    missing: list[str] = []
    unpredicted: list[str] = []

    def plan(exact: bool) -> Change:
        plane = plan_rules(services if present else [], given, exact)
        return Change(plane, services, options)

    try:
        change = plan(check_mode or diff)
    except NotInstalledError as error:
        # Everything else can be refused now, before packages are installed.
        change, missing = Change(NoDataPlane(changed=present), services, options), error.packages
        if not present or not check_mode:
            raise
        unpredicted = ["%s. The rules cannot be predicted" % error]

    warnings = [*unpredicted, *change.warnings]
    if not check_mode and change.changed:
        warnings += change.apply(lambda: plan(exact=False))
        if options["verify"]:
            refuse_differences(lambda: plan(exact=False))
    forgotten = change.plane.forget_stale(check_mode)
    warnings += [each.warning for each in forgotten if each.warning][:1]
    result = {
        "changed": change.changed,
        "missing": missing,
        "conntrack_deleted": sum(each.deleted for each in forgotten),
        "warnings": warnings,
        **change.plane.result(),
    }
    return {**result, "diff": change.diff()} if diff else result


def forwarding(services: Sequence[Service], options: dict[str, Any]) -> dict[str, int]:
    """The kernel parameters that forward packets of the families that services have."""
    families = {service.family for service in services if options["forwarding"]}
    return {parameter: 1 for family, parameter in _FORWARDING.items() if family in families}


def refuse_differences(plan: Callable[[], Change]) -> None:
    """Raise NodeError if the node differs from its declaration after a change, or cannot be read."""
    try:
        change = plan()
    except (InputError, NodeError, CommandError, OSError) as error:
        raise NodeError("the change was made, but cannot be verified: %s" % error) from error
    if change.changed:
        said = differences(change.diff()) or ["systemd has not read its units"]
        raise NodeError("the node differs from its declaration after the change: %s" % "; ".join(said))
