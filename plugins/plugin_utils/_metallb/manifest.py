# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MetalLB's manifest as this project applies it: pure functions of its text and the module's options."""

from __future__ import annotations

import copy
from typing import Any, Iterator, Mapping, Sequence

import yaml

from ...module_utils._common.errors import InputError
from .._common.objects import MANAGED_BY, MANAGER, PART_OF, parse_definitions
from .._common.record import stale, write_record

LABELS = {MANAGED_BY: MANAGER, PART_OF: "metallb"}
# The record of applied objects, for upgrades and removals, even if the manifest has changed since.
RECORD = "homelab-loadbalancer-metallb"
RECORD_NAME = "ConfigMap metallb-system/" + RECORD  # for messages


def read(
    text: str,
    where: str,
    load_balancer_class: str = "",
    node_selector: Mapping[str, str] | None = None,
    tolerations: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """The manifest's objects for server-side apply, with the namespace first.

    where -- the manifest's name in messages
    load_balancer_class -- MetalLB serves only Services of this class; if empty, those without a class
    node_selector -- required labels of nodes that announce addresses, besides those in the manifest
    tolerations -- tolerated taints of nodes that announce addresses, besides those in the manifest
    Raises InputError if it is not a manifest of MetalLB.
    """
    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise InputError("%s is no YAML: %s" % (where, error)) from None
    found = parse_definitions([entry for entry in documents if entry is not None], where)
    adjusted = [_object(copy.deepcopy(entry)) for entry in found]
    names = {(entry["kind"], entry["metadata"]["name"]): entry for entry in adjusted}
    for key in (("Deployment", "controller"), ("DaemonSet", "speaker")):
        if key not in names:
            raise InputError("%s has no %s %s: it must be a manifest of MetalLB" % (where, *key))
        container = next(entry for entry in _pod(names[key])["containers"] if entry["name"] == key[1])
        if load_balancer_class:
            container["args"] = [*(container.get("args") or []), "--lb-class=" + load_balancer_class]
    speaker = _pod(names["DaemonSet", "speaker"])
    speaker["nodeSelector"] = {**(speaker.get("nodeSelector") or {}), **(node_selector or {})}
    speaker["tolerations"] = [*(speaker.get("tolerations") or []), *tolerations]
    return sorted(adjusted, key=lambda entry: bool(entry["kind"] != "Namespace"))


def record(wanted: Sequence[Mapping[str, Any]], recorded: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The ConfigMap that records the applied objects, in order.

    recorded -- the previous objects: an upgrade keeps them in the record until it has removed them
    """
    namespace = next(entry["metadata"]["name"] for entry in wanted if entry["kind"] == "Namespace")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": namespace, "labels": dict(LABELS)},
        "data": {"objects": write_record([*wanted, *stale(recorded, wanted)])},
    }


def _object(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop("status", None)
    metadata = entry["metadata"]
    metadata.pop("creationTimestamp", None)
    metadata["labels"] = {**(metadata.get("labels") or {}), **LABELS}
    for config in _client_configs(entry):
        config.pop("caBundle", None)
    return entry


def _client_configs(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The webhook addresses for the API server. MetalLB's controller writes the certificate authority there."""
    if entry["kind"] == "CustomResourceDefinition":
        conversion = entry["spec"].get("conversion") or {}
        if conversion.get("webhook"):
            yield conversion["webhook"]["clientConfig"]
    if entry["kind"] == "ValidatingWebhookConfiguration":
        for webhook in entry.get("webhooks") or []:
            yield webhook["clientConfig"]


def _pod(entry: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = entry["spec"]["template"]["spec"]
    return spec
