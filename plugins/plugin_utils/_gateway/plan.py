# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queries and the plan of the module `gateway`. Pure.

The applied objects are recorded in the cluster, so that an upgrade and a removal know them even if the manifests and
the declaration have changed. The CRDs of the Gateway API are not recorded, because removing them would remove all
routes in the cluster.
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
# NGINX Gateway Fabric and its proxies authenticate each other with these Secrets. A Job makes them, and then removes
# itself.
_CERTIFICATES = ("agent-tls", "server-tls")
# The CRDs that this module applied.
_BROUGHT: Query = {
    "api_version": "apiextensions.k8s.io/v1",
    "kind": CRD,
    "label_selectors": ["%s=%s" % label for label in LABELS.items()],
    "hidden_fields": ["spec", "metadata.managedFields"],
}
# Removing the CRD of one of these kinds would remove its objects.
_KINDS = (
    (GATEWAY_API, "GatewayClass"),
    (GATEWAY_API, "Gateway"),
    (GATEWAY_API, "HTTPRoute"),
    (GATEWAY_API, "GRPCRoute"),
    (GATEWAY_API, "BackendTLSPolicy"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
)

# The objects of the cluster, by kind.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


def queries(options: Mapping[str, Any]) -> list[Query]:
    """The queries for the record and for the objects that the declaration refers to; none with `validate_only`.

    Raises InputError for an invalid declaration.
    """
    asked = parse_options(options)
    record: Query = {"kind": "ConfigMap", "namespace": asked.namespace, "name": RECORD}
    if options["state"] == "absent" and not options["validate_only"]:
        kinds = [{"api_version": version, "kind": kind} for version, kind in _KINDS]
        return [record, _BROUGHT, *kinds] if options["remove_crds"] else [record]
    gateways = parse_gateways(options["gateways"], asked.controller, asked.namespace, asked.prefix)
    if options["validate_only"]:
        return []
    # The plan needs only the names and types of the Secrets.
    secrets = [
        {"kind": "Secret", "namespace": namespace, "name": name, "hidden_fields": ["data", "metadata.managedFields"]}
        for namespace, name in _needed_secrets(gateways, asked)
    ]
    # One query for all CRDs. For a query per CRD, the engine would send a request each.
    own_kinds: list[Query] = [_BROUGHT] if options["crd_objects"] else []
    return [record, {"kind": "Namespace", "name": asked.namespace}, *secrets, *own_kinds]


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """The changes that make the cluster serve the Gateways, or that remove them.

    options -- the module's options, and the data that the action has read: `crd_objects` and `manifest_objects` from
        manifests, `files`, the contents of certificates and keys by path, and with `validate_only` the `certificates`
    Raises InputError for manifests of another controller, and for unusable files.
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
        # The record names undeclared objects until they are gone.
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
    """The objects to apply, the recorded objects to remove because they are undeclared, and the record after that."""
    others = controller_objects(gateways, asked, options["manifest_objects"])
    # Do not record a namespace that others made, because `state: absent` would remove it.
    if not all(has_labels(entry, LABELS) for entry in cluster.get("Namespace", ())):
        others = [entry for entry in others if entry["kind"] != "Namespace"]
    # First the namespace and the record. All objects are recorded before they exist.
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
    """References to the applied objects, in the order of applying."""
    return [
        reference
        for entry in cluster.get("ConfigMap", ())
        for reference in read_record(
            (entry.get("data") or {}).get("objects") or "", name_of({**entry, "kind": "ConfigMap"})
        )
    ]


def _removal(options: Mapping[str, Any], cluster: Cluster) -> Plan:
    """The plan of a removal, Gateways first, while the controller still runs.

    cluster -- the record; with `remove_crds` also the CRDs that the module applied, and all objects of these kinds
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
    """Sentences about objects of others that would be removed with their CRDs."""
    keys = {(entry["kind"], _namespace(entry), _name(entry)) for entry in recorded}
    for dummy, kind in _KINDS:
        for entry in cluster.get(kind, ()):
            if (kind, _namespace(entry), _name(entry)) not in keys:
                yield (
                    "%sremove_crds would remove %s, which the role gateway did not make: remove it first, or leave the "
                    "kinds of the Gateway API in the cluster" % (prefix, name_of({**entry, "kind": kind}))
                )


def _record(applied: Sequence[Mapping[str, Any]], namespace: str) -> dict[str, Any]:
    """The record: a ConfigMap that lists the applied objects in order, including itself."""
    record: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": namespace, "labels": dict(LABELS)},
    }
    first = [entry for entry in applied if entry["kind"] == "Namespace"]
    rest = [entry for entry in applied if entry["kind"] != "Namespace"]
    return {**record, "data": {"objects": write_record([*first, record, *rest])}}


def _services(gateways: Sequence[Gateway], asked: Options) -> list[dict[str, Any]]:
    """The Services of the Gateways: Traefik has one for all, NGINX Gateway Fabric makes one for each."""
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
    """Namespaces and names of the Secrets that the plan needs and does not make, each once."""
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
