# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of the module `gateway`, as the role has them made."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.input import (
    Gateway,
    parse_gateways,
    parse_options,
)
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.manifests import CRD
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.plan import plan, queries
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Plan, Remove, Until

PREFIX = "gateway_"
TRAEFIK = {"controller": "traefik", "version": "3.6.12", "class": "edge", "namespace": "edge"}


def given(**changes: Any) -> dict[str, Any]:
    """The options that the action passes to the planner, with the contents of the named files."""
    return {
        "prefix": PREFIX,
        "state": "present",
        "controller": "nginx",
        "manage_crds": True,
        "crds": [],
        "manifests": [],
        "gateways": [],
        "take_over": False,
        "remove_crds": False,
        "timeout": 20,
        "validate_only": False,
        "crd_objects": [],
        "manifest_objects": [],
        "files": {},
        "certificates": {},
        **changes,
    }


def parsed(gateways: Any, **options: Any) -> list[Gateway]:
    asked = parse_options(given(**options))
    return parse_gateways(gateways, asked.controller, asked.namespace, asked.prefix)


def planned(gateways: Any, found: Sequence[Mapping[str, Any]] = (), **options: Any) -> Plan:
    """The plan of a declaration, in a cluster in which the queries find these objects."""
    asked = given(gateways=gateways, **options)
    queries(asked)
    return plan(asked, found)


def removed(found: Sequence[Mapping[str, Any]] = (), **options: Any) -> Plan:
    return plan(given(state="absent", **options), found)


def applied(made: Plan) -> list[dict[str, Any]]:
    """The objects that a plan applies, without kinds and without the record after a removal."""
    first = next(step for step in made.steps if isinstance(step, Apply))
    return [dict(entry) for entry in first.objects if entry["kind"] != CRD]


def going(made: Plan) -> list[dict[str, Any]]:
    """The objects that a plan removes."""
    return [dict(entry) for step in made.steps if isinstance(step, Remove) for entry in step.objects]


def settled(made: Plan) -> list[dict[str, Any]]:
    """The record after all removals."""
    removals = [at for at, step in enumerate(made.steps) if isinstance(step, Remove)]
    return [
        dict(entry)
        for at, step in enumerate(made.steps)
        if isinstance(step, Apply) and removals and at > removals[0]
        for entry in step.objects
    ]


def waiting(made: Plan) -> Until:
    """The wait that ends a plan."""
    last = made.steps[-1]
    assert isinstance(last, Until)
    return last
