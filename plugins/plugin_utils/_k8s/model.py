# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data model of plans: queries, steps, waits and results.

A planner is two pure functions: `queries(options)` and `plan(options, found)`. The engine reads the queries, has the
plan made, tries everything on the API server without changing anything, refuses, and then carries out the steps.

A query is a mapping with `kind`, and where needed `api_version` (v1), `namespace`, `name`, `label_selectors`,
`field_selectors` (lists) and `hidden_fields` (a list of dotted paths, by default `metadata.managedFields`).
An answer to one is `{"kind": ..., "api_found": bool, "resources": [...]}`. Answers are in the order of the queries.
With `optional: true` a query that the API server forbids is no failure: its answer is empty and has `forbidden: true`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence, Union

Object = Mapping[str, Any]
Query = Mapping[str, Any]
Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Apply:
    """Server-side apply of objects, in their order, but namespaces come first, and each kind before objects of it.

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
    """A JSON merge patch (RFC 7386) of an object of others, which must be there; `target` is a reference to it."""

    target: Object
    patch: Mapping[str, Any]


@dataclass(frozen=True)
class Rollout:
    """Wait until the workloads among the objects are as declared, with `addresses` Services have theirs as well."""

    objects: Sequence[Object]
    addresses: bool = False


@dataclass(frozen=True)
class Rehearsal:
    """Objects that show whether the steps after it would work: applied, awaited for `timeout` seconds, and removed.

    It is no change, and check mode leaves it out. `failure` is what to say before why their rollout is not complete.
    """

    objects: Sequence[Object]
    failure: str
    timeout: float = 60


@dataclass(frozen=True)
class Until:
    """Wait until the answers to queries are complete; `explain` lists objects whose rollout explains a failure.

    In check mode it is one look. What was seen last is in the outcome.
    """

    queries: Sequence[Query]
    missing: Callable[[Sequence[Answer]], Sequence[str]]
    failure: str
    explain: Sequence[Object] = ()


@dataclass(frozen=True)
class Accepted:
    """Wait until the API server takes an object in a dry run, such as one that a webhook is to see."""

    probe: Object
    failure: str
    hint: str = ""


Step = Union[Apply, Remove, Patch, Rollout, Rehearsal, Until, Accepted]


@dataclass
class Outcome:
    """What was done, or would be in check mode.

    addresses -- of Services, by namespace and name
    seen -- of each `Until` the answers of its last look
    """

    changes: list[str] = field(default_factory=list)
    diff: list[dict[str, Any]] = field(default_factory=list)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    seen: list[Sequence[Answer]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    refusals -- why nothing may be changed
    unmet -- the same, but in check mode, where a task before may meet it, these are notes
    look -- queries for a second read; the plan is made anew with their answers after the first ones
    result -- what the module returns besides `changed`, `changes`, `diff` and `notes`; a function of the outcome where
        it is known only when all is done
    """

    steps: Sequence[Step] = ()
    refusals: Sequence[str] = ()
    unmet: Sequence[str] = ()
    notes: Sequence[str] = ()
    look: Sequence[Query] = ()
    timeout: float = 120
    result: Mapping[str, Any] | Callable[[Outcome], Mapping[str, Any]] = field(default_factory=dict)

    def refused(self, check_mode: bool) -> list[str]:
        """Why nothing may be changed; empty where it may."""
        return [*self.refusals, *([] if check_mode else self.unmet)]

    def noted(self, check_mode: bool) -> list[str]:
        """The sentences for the user."""
        return [*self.notes, *(self.unmet if check_mode else [])]

    def results(self, outcome: Outcome) -> Mapping[str, Any]:
        """What the module returns besides."""
        return self.result(outcome) if callable(self.result) else self.result


@dataclass(frozen=True)
class Planner:
    """The two functions of a module."""

    queries: Callable[[Mapping[str, Any]], Sequence[Query]]
    plan: Callable[[Mapping[str, Any], Sequence[Answer]], Plan]
