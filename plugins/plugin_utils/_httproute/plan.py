# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What declared routes do to a cluster: the objects that are applied, awaited and removed, and what is refused.

Everything here is pure: it judges objects that were looked up before.
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

# What may be ours.
_OURS: list[Query] = [{"api_version": version, "kind": kind} for kind, version in VERSIONS.items()]
# What tells whether routes work, and where.
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
    """What is read of the cluster, which may not know the kinds of the Gateway API."""
    return _DECLARED if declared(options) else _OURS


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """Compare the declared routes with the cluster. Raises InputError for what is wrong in them by themselves."""
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
    # Last: the routes that take their place work by now.
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
        # Gateways may have got their addresses while the routes were awaited.
        result=lambda outcome: {
            "hostnames": hostnames(routes, {**cluster, **by_name([one for seen in outcome.seen for one in seen])})
        },
    )


def declared(options: Mapping[str, Any]) -> list[Route]:
    """The routes that are to be there. Raises InputError, which names the first wrong entry."""
    where = options.get("prefix", "") + "routes"
    if options["state"] == "absent":
        return []
    # An empty list is a decision, and a misspelt or forgotten declaration is none.
    if options["routes"] is None:
        raise InputError(
            "%s is not defined, or null: declare the routes, or write %s: [] to remove all that this role has made"
            % (where, where)
        )
    return parse_routes(options["routes"], where)


def _accepted(routes: Sequence[Route], timeout: int) -> Until:
    """The wait for the controllers of the Gateways."""
    return Until(
        _STATUS,
        lambda found: pending(routes, by_name(found)),
        "the routes do not work after %d s." % timeout,
    )


def _unmet(routes: Sequence[Route], cluster: Cluster, found: Sequence[Answer]) -> Iterator[str]:
    """What the cluster does not have, and another task of the play may bring."""
    missing = [str(answer["kind"]) for answer in found if not answer["api_found"]]
    if routes and missing:
        yield _WITHOUT_API % ", ".join(missing)
    else:
        for route in routes:
            yield from unmet(route, cluster)


def _certificates(
    routes: Sequence[Route], cluster: Cluster, found: Sequence[Answer]
) -> tuple[Sequence[Query], list[str]]:
    """What to read of the certificates of HTTPS listeners, and when that was read, what to say of them."""
    entries = [entry for route in routes for entry in secured(route, cluster)]
    answers = [answer for answer in found if answer["kind"] == "Secret"]
    return ((), [*certificates.notes(entries, answers)]) if answers else (certificates.queries(entries), [])
