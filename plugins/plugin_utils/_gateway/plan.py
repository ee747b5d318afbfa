# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `gateway` reads of a cluster, and what it does there. Pure.

What was applied is on record in the cluster, so that an upgrade and a removal know it, whatever the manifests and the
declaration have become. The kinds of the Gateway API are not: with them would go the routes of everybody.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from .._common.objects import by_kind, has_labels, name_of
from .._common.record import read_record, stale, write_record
from .._k8s.model import Answer, Apply, Plan, Query, Remove, Step, Until
from . import status
from .controllers import controller_objects
from .input import Gateway, Options, parse_gateways, parse_options
from .objects import GATEWAY_API, LABELS, TRAEFIK, gateway_objects
from .tls import check_files

CRD = "CustomResourceDefinition"
RECORD = "homelab-loadbalancer-gateway"
# By these NGINX Gateway Fabric and its proxies know each other. A Job makes them, and then removes itself.
_CERTIFICATES = ("agent-tls", "server-tls")
# The kinds that this module brought.
_BROUGHT: Query = {
    "api_version": "apiextensions.k8s.io/v1",
    "kind": CRD,
    "label_selectors": ["%s=%s" % label for label in LABELS.items()],
    "hidden_fields": ["spec", "metadata.managedFields"],
}
# Those whose objects would go with them.
_KINDS = (
    (GATEWAY_API, "GatewayClass"),
    (GATEWAY_API, "Gateway"),
    (GATEWAY_API, "HTTPRoute"),
    (GATEWAY_API, "GRPCRoute"),
    (GATEWAY_API, "BackendTLSPolicy"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
)

# By kind the objects of the cluster.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


def queries(options: Mapping[str, Any]) -> list[Query]:
    """The record of what was applied, and what the declaration refers to; nothing with `validate_only`.

    Raises InputError for what is wrong in the declaration by itself.
    """
    asked = parse_options(options)
    record: Query = {"kind": "ConfigMap", "namespace": asked.namespace, "name": RECORD}
    if options["state"] == "absent" and not options["validate_only"]:
        kinds = [{"api_version": version, "kind": kind} for version, kind in _KINDS]
        return [record, _BROUGHT, *kinds] if options["remove_crds"] else [record]
    gateways = parse_gateways(options["gateways"], asked.controller, asked.namespace, asked.prefix)
    if options["validate_only"]:
        return []
    # Only their names and types are of interest.
    secrets = [
        {"kind": "Secret", "namespace": namespace, "name": name, "hidden_fields": ["data", "metadata.managedFields"]}
        for namespace, name in _needed_secrets(gateways, asked)
    ]
    # By one request; of several kinds the engine would read each alone.
    own_kinds: list[Query] = [_BROUGHT] if options["crd_objects"] else []
    return [record, {"kind": "Namespace", "name": asked.namespace}, *secrets, *own_kinds]


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """What makes the cluster serve the Gateways, or takes them away.

    options -- those of the module, and what its action has read: `crd_objects` and `manifest_objects` from manifests,
    `files`, the texts of certificates and keys by their paths, and with `validate_only` the `certificates` of them
    Raises InputError for manifests that are not those of the controller, and for files that cannot be used.
    """
    if options["validate_only"]:
        return Plan(result={"certificates": options["certificates"]})
    cluster = by_kind(found)
    if options["state"] == "absent":
        return _removal(options, cluster)
    asked = parse_options(options)
    gateways = parse_gateways(options["gateways"], asked.controller, asked.namespace, asked.prefix)
    check_files(gateways, options["files"])
    apply, remove, settle = _changes(options, asked, gateways, cluster)
    steps: list[Step] = [Apply([*options["crd_objects"], *apply], force=bool(options["take_over"]))]
    if remove:
        # The record names what is undeclared until it is gone.
        steps += [Remove(remove), Apply([settle])]
    keys = [gateway.key for gateway in gateways]
    return Plan(
        unmet=list(_missing(gateways, cluster.get("Secret", ()))),
        steps=[*steps, _working(options, asked, gateways)],
        timeout=options["timeout"],
        result=lambda outcome: {"addresses": status.addresses(outcome.seen[-1][0]["resources"], keys)},
    )


def _changes(
    options: Mapping[str, Any], asked: Options, gateways: Sequence[Gateway], cluster: Cluster
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """What to apply; what to remove, which was applied before and is not declared any more; and the record after
    that."""
    others = controller_objects(gateways, asked, options["manifest_objects"])
    # A namespace of somebody else would go with us.
    if not all(has_labels(entry, LABELS) for entry in cluster.get("Namespace", ())):
        others = [entry for entry in others if entry["kind"] != "Namespace"]
    # First what the rest needs: its namespace, and that all of it is on record before it is there.
    others.sort(key=lambda entry: bool(entry["kind"] != "Namespace"))
    wanted = [*others, *gateway_objects(gateways, asked.gateway_class, asked.controller, options["files"])]
    remove = stale(recorded_objects(cluster), [*wanted, _record([], asked.namespace)])
    first = [entry for entry in wanted if entry["kind"] == "Namespace"]
    made = {_name(entry) for entry in cluster.get("Secret", ()) if _namespace(entry) == asked.namespace}
    rest = [entry for entry in wanted[len(first) :] if entry["kind"] != "Job" or not made.issuperset(_CERTIFICATES)]
    return (
        [*first, _record([*wanted, *remove], asked.namespace), *rest],
        remove,
        _record(wanted, asked.namespace),
    )


def _working(options: Mapping[str, Any], asked: Options, gateways: Sequence[Gateway]) -> Until:
    """The wait for the Gateways."""
    expected = {gateway.key: gateway.addresses for gateway in gateways}

    def missing(found: Sequence[Answer]) -> list[str]:
        return status.waiting(found[0]["resources"], expected, asked.gateway_class)

    return Until(
        [{"api_version": GATEWAY_API, "kind": "Gateway"}],
        missing,
        "not all Gateways work after %s s." % options["timeout"],
        explain=_services(gateways, asked),
    )


def recorded_objects(cluster: Cluster) -> list[dict[str, Any]]:
    """References to what was applied, in that order."""
    return [
        reference
        for entry in cluster.get("ConfigMap", ())
        for reference in read_record(
            (entry.get("data") or {}).get("objects") or "", name_of({**entry, "kind": "ConfigMap"})
        )
    ]


def _removal(options: Mapping[str, Any], cluster: Cluster) -> Plan:
    """What to remove, Gateways first, while the controller still runs; and why it may not be.

    cluster -- the record; with `remove_crds` also the kinds that the module brought and all objects of them
    """
    prefix = options["prefix"]
    recorded = recorded_objects(cluster)
    note = "The kinds of the Gateway API and all routes stay. %sremove_crds: true removes the kinds." % prefix
    kinds: list[dict[str, Any]] = []
    faults: list[str] = []
    if options["remove_crds"]:
        note = "Nothing stays."
        kinds = [
            {"apiVersion": _BROUGHT["api_version"], "kind": CRD, "metadata": {"name": _name(entry)}}
            for entry in cluster.get(CRD, ())
        ]
        faults = list(_losses(cluster, recorded, prefix))
    return Plan(
        refusals=faults,
        notes=[note],
        steps=[Remove([*kinds, *recorded])] if kinds or recorded else [],
        timeout=options["timeout"],
        result={"addresses": {}},
    )


def _losses(cluster: Cluster, recorded: Sequence[Mapping[str, Any]], prefix: str) -> Iterator[str]:
    """Sentences about objects of others that would go with their kinds."""
    keys = {(entry["kind"], _namespace(entry), _name(entry)) for entry in recorded}
    for dummy, kind in _KINDS:
        for entry in cluster.get(kind, ()):
            if (kind, _namespace(entry), _name(entry)) not in keys:
                yield (
                    "%sremove_crds would remove %s, which the role gateway did not make: remove it first, or leave the "
                    "kinds of the Gateway API in the cluster" % (prefix, name_of({**entry, "kind": kind}))
                )


def _record(applied: Sequence[Mapping[str, Any]], namespace: str) -> dict[str, Any]:
    """The ConfigMap that keeps which objects were applied, in their order, itself among them."""
    record: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": namespace, "labels": dict(LABELS)},
    }
    first = [entry for entry in applied if entry["kind"] == "Namespace"]
    rest = [entry for entry in applied if entry["kind"] != "Namespace"]
    return {**record, "data": {"objects": write_record([*first, record, *rest])}}


def _services(gateways: Sequence[Gateway], asked: Options) -> list[dict[str, Any]]:
    """The Services by which Gateways are reached: Traefik has one, NGINX Gateway Fabric makes one for each."""
    names = [(gateway.namespace, "%s-%s" % (gateway.name, asked.gateway_class)) for gateway in gateways]
    if asked.controller == "traefik":
        names = [(asked.namespace, TRAEFIK)]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"type": "LoadBalancer"},
        }
        for namespace, name in names
    ]


def _needed_secrets(gateways: Sequence[Gateway], asked: Options) -> list[tuple[str, str]]:
    """Namespaces and names of the Secrets of others that the plan depends on, each once."""
    names = [
        (gateway.namespace, listener.secret)
        for gateway in gateways
        for listener in gateway.listeners
        if listener.secret and not listener.files
    ]
    if asked.controller == "nginx":
        names += [(asked.namespace, name) for name in _CERTIFICATES]
    return list(dict.fromkeys(names))


def _missing(gateways: Sequence[Gateway], secrets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    types = {(_namespace(entry), _name(entry)): entry.get("type") for entry in secrets}
    for gateway in gateways:
        for listener in gateway.listeners:
            if not listener.secret or listener.files:
                continue
            found = types.get((gateway.namespace, listener.secret))
            if found != "kubernetes.io/tls":
                yield (
                    "%s.tls.secret %s %s: make it by kubectl create secret tls %s --namespace %s, or name "
                    "certificate_file and key_file"
                    % (
                        listener.where,
                        listener.secret,
                        "is of the type %s, and not kubernetes.io/tls" % found if found else "is not in the cluster",
                        listener.secret,
                        gateway.namespace,
                    )
                )


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["metadata"]["name"])


def _namespace(entry: Mapping[str, Any]) -> str:
    return str(entry["metadata"].get("namespace") or "")
