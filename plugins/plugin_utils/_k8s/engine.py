# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out a plan: dry-runs every step, refuses before anything changes, applies, removes and waits."""

from __future__ import annotations

import itertools
import time
from typing import Any, Callable, Iterable, Mapping, Sequence

from ...module_utils._k8s.transport import SKIPPED, Request, Response
from .._common.objects import MANAGER, name_of
from . import trial as trials
from .model import Accepted, Apply, Outcome, Patch, Plan, Planner, Rehearsal, Remove, Rollout, Until
from .server import Server, key_of, message_of
from .trial import CRD, Trial, Trials
from .wait import UnfinishedError, wait_for_rollout

INTERVAL = 0.5  # seconds between polls
_WEBHOOK_INTERVAL = 2.0
# Seconds in which an API server may not know a kind yet that another one has established.
_SETTLING = 10.0


class RefusedError(Exception):
    """The cluster refuses the plan, and nothing was changed."""


class FailedError(Exception):
    """A step failed.

    outcome -- the changes made before the failure
    unfinished -- the objects whose rollout is not complete
    """

    def __init__(self, message: str, outcome: Outcome, unfinished: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.unfinished = list(unfinished)


def make_plan(server: Server, planner: Planner, options: Mapping[str, Any]) -> Plan:
    """The plan of a module, after all the reads that it asks for."""
    found = server.read(planner.queries(options))
    plan = planner.plan(options, found)
    while plan.look:
        found = [*found, *server.read(plan.look)]
        plan = planner.plan(options, found)
    return plan


class Engine:
    """Carries out plans on one API server.

    check_mode -- only try, change nothing
    warn -- shows the user a message during a wait
    manager -- the field manager
    """

    def __init__(
        self,
        server: Server,
        check_mode: bool,
        warn: Callable[[str], None],
        manager: str = MANAGER,
    ) -> None:
        self._server = server
        self._check_mode = check_mode
        self._warn = warn
        self._manager = manager

    def run(self, plan: Plan) -> Outcome:
        """The changes that were made or, in check mode, would be made. Raises RefusedError and FailedError."""
        outcome = Outcome()
        self._timeout = plan.timeout
        self._trials = Trials(self._server, self._manager, self._check_mode, plan.steps)
        tried = self._try(plan)
        faults = [each for trial in itertools.chain(*tried) for each in _faults(trial)]
        if faults:
            raise RefusedError("nothing was changed, because the cluster refuses\n" + "\n".join(faults))
        for step, found in zip(plan.steps, tried):
            self._carry_out(step, found, outcome)
        return outcome

    def _try(self, plan: Plan) -> list[list[Trial]]:
        """The trials of each step."""
        return [self._try_step(step) for step in plan.steps]

    def _try_step(self, step: Any) -> list[Trial]:
        if isinstance(step, Apply):
            if step.late:
                return self._trials.apply(step, blind=True) if self._check_mode else []
            return self._try_patiently(step)
        if isinstance(step, Remove):
            return self._trials.remove(step)
        if isinstance(step, Patch):
            return [self._trials.patch(step)]
        if isinstance(step, Rehearsal) and not self._check_mode:
            return self._trials.apply(Apply(step.objects))
        return []

    def _try_patiently(self, step: Apply) -> list[Trial]:
        deadline = time.monotonic() + self._timeout
        while True:
            found = self._trials.apply(step)
            passing = step.patient and any(trial.transient for trial in found)
            lasting = any(trial.fault and not trial.transient for trial in found)
            if not passing or lasting or time.monotonic() > deadline:
                return found
            time.sleep(_WEBHOOK_INTERVAL)

    def _carry_out(self, step: Any, found: list[Trial], outcome: Outcome) -> None:
        if isinstance(step, Apply) and step.late and not self._check_mode:
            found = self._try_patiently(step)
            faults = [each for trial in found for each in _faults(trial)]
            if faults:
                raise FailedError("\n".join(faults), outcome)
        changing = [trial for trial in found if trial.verb != "keep"]
        if self._check_mode:
            for trial in changing:
                _note(trial, outcome)
        elif isinstance(step, Apply):
            self._apply(step, changing, outcome)
        elif isinstance(step, Remove):
            self._remove(changing, outcome)
        elif isinstance(step, Patch):
            self._send(changing, [trials.patching(step, trial.kind) for trial in changing if trial.kind], outcome)
        elif isinstance(step, Rehearsal):
            self._rehearse(step, changing)
        self._wait(step, outcome)

    def _apply(self, step: Apply, changing: list[Trial], outcome: Outcome) -> None:
        """Apply objects in order; consecutive objects of one kind in parallel. New kinds are awaited."""
        left = _runs(_ordered(changing))
        while left:
            # Everything up to the next kinds is sent at once: on a managed host that is one run of a module.
            end = next((index for index, group in enumerate(left) if _are_kinds(group)), len(left) - 1) + 1
            groups, left = left[:end], left[end:]
            requests = [
                trials.applying(trial, self._manager, step.force)._replace(then=trial is group[0])
                for group in groups
                for trial in group
            ]
            self._send([trial for group in groups for trial in group], requests, outcome)
            if _are_kinds(groups[-1]):
                self._establish(groups[-1], outcome)

    def _remove(self, changing: list[Trial], outcome: Outcome) -> None:
        for group in _runs(changing):
            gone = self._send(group, [trial.request for trial in group], outcome)
            self._until_gone(group, gone, outcome)
        if any(trial.definition["kind"] == CRD for trial in changing):
            self._server.discovery.forget()

    def _send(self, group: list[Trial], requests: Sequence[Request], outcome: Outcome) -> list[Response]:
        """Send requests. Successful changes are recorded even if another request is refused."""
        responses = self._server.exchange(requests)
        deadline = time.monotonic() + _SETTLING
        # Not every API server may know a recently established kind.
        while any(trials.is_unknown(response) for response in responses) and time.monotonic() < deadline:
            if requests[0].method != "PATCH":
                break
            time.sleep(INTERVAL)
            again = [index for index, response in enumerate(responses) if _is_left(response)]
            for index, response in zip(again, self._server.exchange([requests[index] for index in again])):
                responses[index] = response
        faults = []
        for trial, request, response in zip(group, requests, responses):
            if 200 <= response.status < 300:
                _note(trial, outcome)
                self._remember(request, response)
            elif response.failure != SKIPPED and not (request.method == "DELETE" and response.status == 404):
                faults.append("%s: %s" % (name_of(trial.definition), message_of(response)))
        if faults:
            raise FailedError("\n".join(faults), outcome)
        return responses

    def _remember(self, request: Request, response: Response) -> None:
        if request.method == "PATCH" and isinstance(response.body, dict) and "metadata" in response.body:
            self._server.live[key_of(response.body)] = response.body

    def _establish(self, kinds: list[Trial], outcome: Outcome) -> None:
        """Wait until the API server serves new kinds."""
        self._server.discovery.forget()
        self._poll(
            [trial.request.path for trial in kinds],
            lambda path, response: _has_condition(response.body, "Established"),
            lambda paths: "%s: the API server has not established it after %g s" % (", ".join(paths), self._timeout),
            outcome,
        )

    def _until_gone(self, group: list[Trial], deleted: Sequence[Response], outcome: Outcome) -> None:
        """Wait until objects are gone, or until their names belong to new objects."""
        paths = [trial.request.path for trial in group]
        uids = {path: _uid(response) for path, response in zip(paths, deleted)}
        names = {trial.request.path: name_of(trial.definition) for trial in group}
        last: dict[str, Any] = {}

        def is_gone(path: str, response: Response) -> bool:
            last[path] = response.body
            uid = _uid(response)
            return response.status == 404 or bool(uid and uids[path] and uid != uids[path])

        def said(left: Sequence[str]) -> str:
            return "\n".join(_still_there(names[path], last.get(path), self._timeout) for path in left)

        self._poll(paths, is_gone, said, outcome)

    def _poll(
        self,
        paths: Sequence[str],
        is_done: Callable[[str, Response], bool],
        said: Callable[[Sequence[str]], str],
        outcome: Outcome,
    ) -> None:
        """Read objects until each is done."""
        left = list(paths)
        start = time.monotonic()
        pause = 0.05
        while True:
            responses = self._server.exchange([Request("GET", path) for path in left])
            left = [path for path, response in zip(left, responses) if not is_done(path, response)]
            if not left:
                return
            if time.monotonic() - start > self._timeout:
                raise FailedError(said(left), outcome)
            time.sleep(pause)
            pause = min(pause * 2, INTERVAL)

    def _wait(self, step: Any, outcome: Outcome) -> None:
        if isinstance(step, Until):
            self._until(step, outcome)
        elif self._check_mode:
            return
        elif isinstance(step, Rollout):
            self._rollout(step.objects, step.addresses, self._timeout, outcome)
        elif isinstance(step, Accepted):
            self._accepted(step, outcome)

    def _rollout(
        self, objects: Iterable[Any], addresses: bool, timeout: float, outcome: Outcome, anew: bool = False
    ) -> None:
        """Wait for a rollout. The last read objects serve as the first poll, except with `anew`."""
        known = [] if anew else [self._known(one, outcome) for one in objects]
        try:
            outcome.addresses.update(
                wait_for_rollout(
                    self._server.read,
                    [dict(one) for one in objects],
                    addresses,
                    timeout,
                    log=self._log,
                    warn=self._warn,
                    seen=[one for one in known if one],
                )
            )
        except UnfinishedError as error:
            raise FailedError(str(error), outcome, error.unfinished) from None

    def _known(self, one: Any, outcome: Outcome) -> dict[str, Any] | None:
        """The last read object. None for a changed Service, because the read one still has its former addresses."""
        if one["kind"] == "Service" and "update " + name_of(one) in outcome.changes:
            return None
        return self._server.live.get(key_of(one))

    def _rehearse(self, step: Rehearsal, changing: list[Trial]) -> None:
        """Apply, wait and remove. It leaves no change and reports none."""
        outcome = Outcome()
        try:
            self._apply(Apply(step.objects), changing, outcome)
            self._rollout(step.objects, False, step.timeout, outcome)
        except FailedError as error:
            raise FailedError("%s\n%s" % (step.failure, error), Outcome(), error.unfinished) from None
        finally:
            self._remove(self._trials.remove(Remove(step.objects)), outcome)

    def _until(self, step: Until, outcome: Outcome) -> None:
        start = time.monotonic()
        # If nothing was changed, the answers that the plan was made from serve as the first poll.
        known = None if outcome.changes else self._server.known(step.queries)
        while True:
            answers = known or self._server.read(step.queries)
            known = None
            missing = step.missing(answers)
            if not missing or self._check_mode:
                outcome.seen.append(answers)
                return
            if time.monotonic() - start > self._timeout:
                break
            time.sleep(INTERVAL)
        lines = [step.failure, *missing]
        try:
            self._rollout(step.explain, True, 0, outcome, anew=True)
        except FailedError as error:
            lines.append(str(error))
        raise FailedError("\n".join(lines), outcome)

    def _accepted(self, step: Accepted, outcome: Outcome) -> None:
        start = time.monotonic()
        while True:
            fault = self._trials.probe(step.probe)
            if not fault:
                return
            if time.monotonic() - start > self._timeout:
                raise FailedError("%s Seen last: %s. %s" % (step.failure, fault, step.hint), outcome)
            time.sleep(INTERVAL)

    def _log(self, namespace: str, pod: str, container: str, tail: int) -> list[str]:
        """The last lines of a container's log, or nothing if the container is gone."""
        path = "/api/v1/namespaces/%s/pods/%s/log" % (namespace, pod)
        query = [("container", container), ("tailLines", str(tail))]
        response = self._server.exchange([Request("GET", path, query, accept="*/*")])[0]
        return str(response.body).splitlines() if response.status == 200 else []


def _faults(trial: Trial) -> list[str]:
    return ["%s: %s" % (name_of(trial.definition), trial.fault)] if trial.fault else []


def _note(trial: Trial, outcome: Outcome) -> None:
    name = name_of(trial.definition)
    outcome.changes.append("%s %s" % (trial.verb, name))
    outcome.diff.append(
        {"before_header": name, "after_header": name, "before": trial.before or "", "after": trial.after or ""}
    )


def _are_kinds(group: Sequence[Trial]) -> bool:
    return bool(group[0].definition["kind"] == CRD)


def _is_left(response: Response) -> bool:
    """Whether to send a request again, or for the first time, once the API server knows its kind."""
    return response.failure == SKIPPED or trials.is_unknown(response)


def _ordered(found: Sequence[Trial]) -> list[Trial]:
    """Namespaces first, each kind before its objects; otherwise in the given order."""
    kinds: dict[tuple[str, str], Trial] = {}
    for trial in found:
        if trial.definition["kind"] == CRD:
            spec = trial.definition["spec"]
            kinds[spec["group"], spec["names"]["kind"]] = trial
    ordered = [trial for trial in found if trial.definition["kind"] == "Namespace"]
    for trial in found:
        kind = kinds.get((trial.definition["apiVersion"].partition("/")[0], trial.definition["kind"]))
        ordered += [one for one in (kind, trial) if one]
    return list({id(trial): trial for trial in ordered}.values())


def _runs(found: Iterable[Trial]) -> list[list[Trial]]:
    """Groups of consecutive objects of one kind, which do not depend on each other."""
    grouped = itertools.groupby(found, lambda trial: (trial.definition["apiVersion"], trial.definition["kind"]))
    return [list(group) for dummy, group in grouped]


def _has_condition(thing: Any, wanted: str) -> bool:
    conditions = ((thing or {}).get("status") or {}).get("conditions") or [] if isinstance(thing, Mapping) else []
    return any(one.get("type") == wanted and one.get("status") == "True" for one in conditions)


def _uid(response: Response) -> str:
    body = response.body if isinstance(response.body, Mapping) else {}
    found = (body.get("metadata") or {}).get("uid") or (body.get("details") or {}).get("uid")
    return str(found or "")


def _still_there(name: str, thing: Any, timeout: float) -> str:
    metadata = (thing.get("metadata") or {}) if isinstance(thing, Mapping) else {}
    finalizers = ", ".join(metadata.get("finalizers") or [])
    why = ": its finalizers %s wait for their controller" % finalizers if finalizers else ""
    return "%s is still there after %g s%s" % (name, timeout, why)
