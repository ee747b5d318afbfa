# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words in which a planner tells the engine what to read, to do and to wait for.

A planner is two pure functions: `queries(options)` and `plan(options, found)`. The engine reads the queries, has the
plan made, tries everything on the API server without changing anything, refuses, and then carries out the steps.

A query is a mapping with `kind`, and where needed `api_version` (v1), `namespace`, `name`, `label_selectors`,
`field_selectors` (lists) and `hidden_fields` (a list of dotted paths, by default `metadata.managedFields`).
An answer to one is `{"kind": ..., "api_found": bool, "resources": [...]}`. Answers are in the order of the queries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence, Union

Object = Mapping[str, Any]
Query = Mapping[str, Any]
Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Apply:
    """Server-side apply of objects, in their order; namespaces and CustomResourceDefinitions come first.

    force -- take over fields that another manager has with another value; otherwise that is a refusal
    late -- it can only be tried after the steps before it, such as a pool whose addresses another one still has
    patient -- a webhook that does not answer yet is awaited, up to the plan's timeout
    """

    objects: Sequence[Object]
    force: bool = False
    late: bool = False
    patient: bool = False


@dataclass(frozen=True)
class Remove:
    """Deletion of objects in the opposite order, until each is gone, and the pods of a workload with it.

    Objects that are not there are skipped. References are enough: apiVersion, kind, metadata.name and .namespace.
    """

    objects: Sequence[Object]


@dataclass(frozen=True)
class Patch:
    """A JSON merge patch (RFC 7386) of an object of others, which must be there; `target` is a reference to it.

