# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for declared routes: the objects to apply, wait for and remove, and the refusals.

Everything here is pure, and works on objects that were read before.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._k8s.values import parse_label
from .._common.objects import MANAGED_BY, MANAGER, PART_OF, has_labels, name_of
from .._k8s.model import Answer, Apply, Plan, Query, Remove, Until
from . import certificates
from .cluster import Cluster, by_name, hostnames, secured, unknown_features, unmet
from .input import Route, parse_routes
from .objects import GROUP, VERSIONS, key_of, reference, wanted
from .status import pending

# The kinds of objects that we make.
_OURS: list[Query] = [{"api_version": version, "kind": kind} for kind, version in VERSIONS.items()]
# The kinds whose status says whether routes work, and at which addresses.
_STATUS: list[Query] = [{"api_version": GROUP + "/v1", "kind": kind} for kind in ("HTTPRoute", "Gateway")]
_DECLARED: list[Query] = [
    *_OURS,
    {"api_version": GROUP + "/v1", "kind": "Gateway"},
    {"api_version": GROUP + "/v1", "kind": "GatewayClass"},
    {"kind": "Namespace"},
    {"kind": "Service"},
]

_WITHOUT_API = "the cluster does not know %s: install the Gateway API and a controller first, by the role gateway"


def queries(options: Mapping[str, Any]) -> list[Query]:
    """The queries to the cluster, which may not have the CRDs of the Gateway API."""
    return _DECLARED if declared(options) else _OURS


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """Compare the declared routes with the cluster. Raises InputError for an invalid declaration."""
    prefix = options.get("prefix", "")
    routes = declared(options)
    labels = {MANAGED_BY: MANAGER, PART_OF: parse_label(options["part_of"], prefix + "part_of")}
    cluster = by_name(found)
    objects = wanted(routes, labels)
    live = {key: obj for key, obj in cluster.items() if key[0] in VERSIONS}
    ours = {key for key, obj in live.items() if has_labels(obj, labels)}
    undeclared = sorted(ours - {key_of(obj) for dummy, obj in objects}, reverse=True)
    steps: list[Any] = []
    if objects:
        steps += [Apply([obj for dummy, obj in objects]), _accepted(routes, options["timeout"])]
    # Last, when the routes that replace them work.
    if undeclared and (options["remove_undeclared"] or options["state"] == "absent"):
        steps.append(Remove([reference(key) for key in undeclared]))
    look, noted = _certificates(routes, cluster, found)
    return Plan(
        steps=steps,
        refusals=[
            "%s is the %s, which is there and is not of this declaration: choose another name, remove that one, or set "
            "%spart_of to its label %s" % (where, name_of(obj), prefix, PART_OF)
            for where, obj in objects
            if key_of(obj) in live and key_of(obj) not in ours
        ],
        unmet=[*_unmet(routes, cluster, found)],
        notes=[*dict.fromkeys(note for route in routes for note in unknown_features(route, cluster)), *noted],
        look=look,
        timeout=options["timeout"],
        # Gateways may have got their addresses during the wait for the routes.
        result=lambda outcome: {
            "hostnames": hostnames(routes, {**cluster, **by_name([one for seen in outcome.seen for one in seen])})
        },
    )


def declared(options: Mapping[str, Any]) -> list[Route]:
    """The declared routes. Raises InputError, which names the first wrong entry."""
    where = options.get("prefix", "") + "routes"
    if options["state"] == "absent":
        return []
    # An empty list is a decision. An undefined one may be a misspelt or forgotten variable.
    if options["routes"] is None:
        raise InputError(
            "%s is undefined or null: declare the routes, or write %s: [] to remove everything that this role made"
            % (where, where)
        )
    return parse_routes(options["routes"], where)


def _accepted(routes: Sequence[Route], timeout: int) -> Until:
    """The wait until the controllers of the Gateways have accepted the routes."""
    return Until(
        _STATUS,
        lambda found: pending(routes, by_name(found)),
        "the routes do not work after %d s." % timeout,
    )


def _unmet(routes: Sequence[Route], cluster: Cluster, found: Sequence[Answer]) -> Iterator[str]:
    """Sentences about what the cluster lacks and another task of the play may create."""
    missing = [str(answer["kind"]) for answer in found if not answer["api_found"]]
    if routes and missing:
        yield _WITHOUT_API % ", ".join(missing)
    else:
        for route in routes:
            yield from unmet(route, cluster)


def _certificates(
    routes: Sequence[Route], cluster: Cluster, found: Sequence[Answer]
) -> tuple[Sequence[Query], list[str]]:
    """The queries for the certificates of HTTPS listeners, or after they were answered, the notes about them."""
    entries = [entry for route in routes for entry in secured(route, cluster)]
    answers = [answer for answer in found if answer["kind"] == "Secret"]
    return ((), [*certificates.notes(entries, answers)]) if answers else (certificates.queries(entries), [])
