# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queries and the plan of the module `metallb_pool`. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .._common.objects import by_kind
from .._k8s.model import Answer, Apply, Plan, Query, Remove
from .effects import effects
from .input import LISTS, objects

_KINDS = (
    ("metallb.io/v1beta1", "IPAddressPool"),
    ("metallb.io/v1beta1", "L2Advertisement"),
    ("metallb.io/v1beta1", "BGPAdvertisement"),
    ("metallb.io/v1beta2", "BGPPeer"),
    ("metallb.io/v1beta1", "Community"),
)


def queries(options: Mapping[str, Any]) -> list[Query]:
    """Read MetalLB's objects and what pools affect. Raises InputError for an error in the declaration."""
    objects(_declared(options), options["namespace"], options["prefix"])
    return [
        *({"api_version": version, "kind": kind, "namespace": options["namespace"]} for version, kind in _KINDS),
        # Only its name matters.
        {"kind": "Secret", "namespace": options["namespace"], "hidden_fields": ["metadata.managedFields", "data"]},
        {"kind": "Node"},
        {"kind": "Service"},
    ]


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """Compare a declaration with the cluster."""
    made = effects(
        _declared(options),
        by_kind(found),
        options["namespace"],
        _gateways(options),
        options["allow_moves"],
        facts=options["facts"],
        prefix=options["prefix"],
    )
    unknown = [answer["kind"] for answer in found if not answer["api_found"]]
    unmet = []
    if unknown and options["state"] == "present":
        unmet = [
            "the cluster does not know %s of metallb.io: install MetalLB first, by the role "
            "homelab.loadbalancer.metallb" % ", ".join(unknown)
        ]
    steps: list[Apply | Remove] = [
        Remove(made.remove_first),
        Apply(made.apply, patient=True),
        Apply(made.apply_late, late=True),
        Remove(made.remove),
    ]
    return Plan(
        refusals=made.faults,
        unmet=unmet,
        notes=[*made.moves, *made.notes],
        steps=[step for step in steps if step.objects],
        timeout=options["timeout"],
        result={"moves": made.moves},
    )


def _declared(options: Mapping[str, Any]) -> dict[str, Any]:
    """The declared lists; all empty with state absent."""
    return {key: options[key] if options["state"] == "present" else [] for key in LISTS}


def _gateways(options: Mapping[str, Any]) -> list[str]:
    """Addresses that no pool may contain: those that the user names, and the default gateways in nodes' facts."""
    known = [
        (host.get(key) or {}).get("gateway") for key in ("default_ipv4", "default_ipv6") for host in options["facts"]
    ]
    return list(dict.fromkeys([*options["gateways"], *filter(None, known)]))
