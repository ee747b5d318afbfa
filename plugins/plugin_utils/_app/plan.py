# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queries and the plan of the module `app`. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import value_or
from ...module_utils._k8s.values import QUALIFIED, parse_pattern
from .._common.objects import MANAGED_BY, MANAGER, PART_OF, identity, parse_definitions
from .._k8s.model import Answer, Apply, Plan, Query, Remove, Rollout
from .._k8s.sources import load_documents
from .compare import Difference, compare
from .input import LABEL_NAME, OPTIONS, parse_app
from .objects import app_objects

# The kinds of an application's objects, in the order of applying.
_KINDS: tuple[dict[str, Any], ...] = (
    {"kind": "PersistentVolumeClaim"},
    {"kind": "ConfigMap"},
    {"kind": "Deployment", "api_version": "apps/v1", "hidden_fields": []},  # managedFields say who set the replicas
    {"kind": "Service"},
)


def queries(options: Mapping[str, Any]) -> list[Query]:
    """The queries for the declaration's objects, by the name of the application or of the declaration (`part_of`).

    options -- the module's options, as for `plan`

    Raises InputError for invalid options.
    """
    _declared(options)
    name, part_of = value_or(options, "name", ""), options["part_of"]
    if not (name or part_of):
        return []
    managed = "%s=%s" % (MANAGED_BY, MANAGER)
    if part_of:
        own: dict[str, Any] = {"label_selectors": [managed, LABEL_NAME, "%s=%s" % (PART_OF, part_of)]}
    else:
        own = {
            "label_selectors": [managed, "%s=%s" % (LABEL_NAME, name)],
            "namespace": value_or(options, "namespace", "default"),
        }
    return [*([{"kind": "Namespace"}] if part_of else []), *({**kind, **own} for kind in _KINDS)]


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """The changes to the cluster.

    options -- the module's options; `manifest_files` has pairs of a file's name and text
    found -- the answers to `queries`, followed by those to the plan's `look`

    Raises InputError for invalid options.
    """
    present = options["state"] == "present"
    todo = compare(_declared(options), found, options["part_of"], present, delete_data=options["delete_data"])
    steps: list[Any] = []
    if todo.remove_first:  # two programs on the same data may destroy it
        steps.append(Remove(todo.remove_first))
    if todo.apply:
        steps.append(Apply(todo.apply, force=options["force_conflicts"]))
        if options["wait"]:
            steps.append(Rollout(todo.apply, addresses=options["wait_for_address"]))
    # Last, when the objects that replace them work.
    removes = options["remove_undeclared"] or not present
    if todo.remove and removes:
        steps.append(Remove(todo.remove))
    undeclared = [] if removes else [identity(entry) for entry in todo.remove]
    return Plan(
        steps=steps,
        notes=_notes(todo, options["prefix"]),
        look=todo.look,
        timeout=options["timeout"],
        result=lambda outcome: {"addresses": outcome.addresses, "undeclared": undeclared},
    )


def _declared(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All objects of the declaration, in the order of applying."""
    prefix, name, part_of = options["prefix"], value_or(options, "name", ""), options["part_of"]
    if part_of:
        known = "a label's value: use letters, digits, inner - _ . and 63 at most"
        parse_pattern(part_of, QUALIFIED, prefix + "part_of", known)
    objects = parse_definitions(value_or(options, "manifests", []), prefix + "manifests")
    for file, text in options["manifest_files"]:
        objects += parse_definitions(load_documents(text.encode(), file), file)
    if not (name or part_of or objects):
        raise InputError(
            "%sname is empty: name the application and its image, or give %smanifests or %smanifest_files"
            % (prefix, prefix, prefix)
        )
    if name and options["state"] == "present":
        objects += app_objects(parse_app(name, options.get("image"), _app_options(options), prefix))
    return objects


def _app_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The application's options, with the name of the declaration as a label."""
    chosen = {key: options.get(key) for key in OPTIONS}
    labels = value_or(options, "labels", {})
    if options["part_of"] and isinstance(labels, dict):
        chosen["labels"] = {**labels, PART_OF: options["part_of"]}
    return chosen


def _notes(todo: Difference, prefix: str) -> list[str]:
    advice = "These hold data, so they are kept. %sdelete_data: true removes them." % prefix
    return [*todo.kept, *([advice] if todo.kept else []), *todo.shared]
