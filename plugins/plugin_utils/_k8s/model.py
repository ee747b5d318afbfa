# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data model of plans: queries, steps, waits and results.

A planner is two pure functions: `queries(options)` and `plan(options, found)`. The engine reads the queries, calls the
planner, tries every step on the API server by dry runs, stops on any refusal, and then carries out the steps.

A query is a mapping with `kind`, and optionally `api_version` (v1), `namespace`, `name`, `label_selectors`,
`field_selectors` (lists) and `hidden_fields` (a list of dotted paths, by default `metadata.managedFields`).
Its answer is `{"kind": ..., "api_found": bool, "resources": [...]}`. Answers are in the order of the queries.
With `optional: true` a query that the API server forbids does not fail: its answer is empty and has `forbidden: true`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence, Union

Object = Mapping[str, Any]
Query = Mapping[str, Any]
Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Apply:
    """Server-side apply of objects in their order, except namespaces first, and each kind before objects of it.

    force -- take over fields to which another manager gave another value; otherwise such a field is a refusal
    late -- try the step only after the steps before it, such as a pool that takes addresses from another pool
    patient -- wait for a webhook that does not answer yet, up to the plan's timeout
    """

    objects: Sequence[Object]
    force: bool = False
    late: bool = False
    patient: bool = False


@dataclass(frozen=True)
class Remove:
    """Delete objects in reverse order, and wait until each is gone, and with a workload its pods.

    Missing objects are skipped. References are enough: apiVersion, kind, metadata.name and .namespace.
    """

    objects: Sequence[Object]


@dataclass(frozen=True)
class Patch:
    """A JSON merge patch (RFC 7386) of an existing object that is not ours; `target` is a reference to it."""

    target: Object
    patch: Mapping[str, Any]


@dataclass(frozen=True)
class Rollout:
    """Wait until the workloads among the objects are as declared; with `addresses`, also for Services' addresses."""

    objects: Sequence[Object]
    addresses: bool = False


@dataclass(frozen=True)
class Rehearsal:
    """Apply objects, wait up to `timeout` seconds and remove them, to learn whether the steps after it would work.

    It does not count as a change, and check mode skips it. `failure` precedes the reason if their rollout fails.
    """

    objects: Sequence[Object]
    failure: str
    timeout: float = 60


@dataclass(frozen=True)
class Until:
    """Wait until the answers to queries are complete. On a failure the rollout of the objects in `explain` explains it.

    Check mode polls only once. The outcome has the last answers.
    """

    queries: Sequence[Query]
    missing: Callable[[Sequence[Answer]], Sequence[str]]
    failure: str
    explain: Sequence[Object] = ()


@dataclass(frozen=True)
class Accepted:
    """Wait until the API server accepts an object in a dry run, for instance one that a webhook validates."""

    probe: Object
    failure: str
    hint: str = ""


Step = Union[Apply, Remove, Patch, Rollout, Rehearsal, Until, Accepted]


@dataclass
class Outcome:
    """The changes that were made or, in check mode, would be made.

    addresses -- the addresses of Services, by namespace and name
    seen -- the last answers of each `Until`
    """

    changes: list[str] = field(default_factory=list)
    diff: list[dict[str, Any]] = field(default_factory=list)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    seen: list[Sequence[Answer]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The steps and messages of a module.

    refusals -- the reasons why nothing may be changed
    unmet -- also refusals, but only notes in check mode, where an earlier task may remove the reason
    look -- queries for a second read; then the plan is made again, from the first answers and these
    result -- the module's result besides `changed`, `changes`, `diff` and `notes`; a function of the outcome if it is
        known only after all steps
    """

    steps: Sequence[Step] = ()
    refusals: Sequence[str] = ()
    unmet: Sequence[str] = ()
    notes: Sequence[str] = ()
    look: Sequence[Query] = ()
    timeout: float = 120
    result: Mapping[str, Any] | Callable[[Outcome], Mapping[str, Any]] = field(default_factory=dict)

    def refused(self, check_mode: bool) -> list[str]:
        """The reasons why nothing may be changed; empty if there is none."""
        return [*self.refusals, *([] if check_mode else self.unmet)]

    def noted(self, check_mode: bool) -> list[str]:
        """The notes for the user."""
        return [*self.notes, *(self.unmet if check_mode else [])]

    def results(self, outcome: Outcome) -> Mapping[str, Any]:
        """The rest of the module's result."""
        return self.result(outcome) if callable(self.result) else self.result


@dataclass(frozen=True)
class Planner:
    """The two functions of a module."""

    queries: Callable[[Mapping[str, Any]], Sequence[Query]]
    plan: Callable[[Mapping[str, Any], Sequence[Answer]], Plan]
