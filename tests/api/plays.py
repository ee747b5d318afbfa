# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs plays on an API server of the tests, as a user does."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT


class Plays:
    """The base class of the API server of the tests."""

    name: str  # of the network namespace
    folder: Path
    kubeconfig: Path

    def play(
        self,
        tasks: Sequence[Mapping[str, Any]],
        *options: str,
        host: str = "operator",
        rc: int | None = 0,
        kubeconfig: Path | None = None,
        **variables: Any,
    ) -> Completed:
        """Run tasks by ansible-playbook, with k8s_kubeconfig set.

        host -- "operator", whose connection leads into the namespace, or "node", a managed host there
        rc -- the exit code that it must have; None: any
        """
        playbook = [play_of(host, tasks)]
        return self.run_playbook(playbook, *options, rc=rc, kubeconfig=kubeconfig, **variables)

    def run_playbook(
        self,
        playbook: Sequence[Mapping[str, Any]],
        *options: str,
        rc: int | None = 0,
        kubeconfig: Path | None = None,
        **variables: Any,
    ) -> Completed:
        """Run whole plays, whose hosts are "operator" and "node"."""
        with self._plays(playbook, options, kubeconfig, variables) as argv:
            done = run(argv, env=ENVIRONMENT, check=False)
        assert rc is None or done.rc == rc, done.out + done.err
        return done

    def results(self, tasks: Sequence[Mapping[str, Any]], *options: str, **variables: Any) -> tuple[list[Any], str]:
        """The results of tasks, which may fail, and what the play printed."""
        done = self.play(showing_results(tasks), *options, **variables)
        return shown_results(done.out), done.out + done.err

    @contextlib.contextmanager
    def started_play(self, tasks: Sequence[Mapping[str, Any]], **variables: Any) -> Iterator[subprocess.Popen[str]]:
        """A play that runs in a process group of its own, to be killed."""
        playbook = [play_of("operator", tasks)]
        environment = {**os.environ, **ENVIRONMENT}
        with self._plays(playbook, (), None, variables) as argv, subprocess.Popen(
            argv,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            yield process

    @contextlib.contextmanager
    def _plays(
        self, playbook: Any, options: Sequence[str], kubeconfig: Path | None, variables: Mapping[str, Any]
    ) -> Iterator[list[str]]:
        """The command line that runs a playbook."""
        folder = Path(tempfile.mkdtemp(prefix="play-", dir=self.folder))
        values = {"k8s_kubeconfig": str(kubeconfig or self.kubeconfig), **variables}
        for name, content in (("inventory", self.inventory()), ("play", playbook), ("variables", values)):
            (folder / (name + ".json")).write_text(json.dumps(content))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        files = ["-i", "%s/inventory.json" % folder, "-e", "@%s/variables.json" % folder, "%s/play.json" % folder]
        try:
            yield [program, *files, *options]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def inventory(self) -> dict[str, Any]:
        """The operator's own machine and a managed host, both in the namespace."""
        host = {
            "ansible_connection": "homelab.loadbalancer.netns",
            "ansible_netns_name": self.name,
            "ansible_python_interpreter": sys.executable,
        }
        return {"all": {"hosts": {"operator": host, "node": host}}}


def play_of(host: str, tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A play. A task with an environment of its own uses a module for its requests, even where it needs none."""
    surroundings = {"environment": {"HOMELAB_TESTS": host}} if host == "node" else {}
    return {"hosts": host, "gather_facts": False, **surroundings, "tasks": list(tasks)}


def showing_results(tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tasks that go on after failures, and one more that prints their results."""
    names = ["result_%d" % number for number in range(len(tasks))]
    kept = [{**task, "register": name, "ignore_errors": True} for name, task in zip(names, tasks)]
    return [*kept, show("[%s]" % ", ".join(names))]


def show(expression: str) -> dict[str, Any]:
    """A task that prints a value, in letters that no callback quotes or wraps."""
    return {"ansible.builtin.debug": {"msg": "RESULT<{{ %s | to_json | b64encode }}>" % expression}}


def shown(output: str) -> list[Any]:
    """The values that tasks of `show` printed."""
    return [json.loads(base64.b64decode(text)) for text in re.findall(r"RESULT<([\w+/=]+)>", output)]


def shown_results(output: str) -> list[Any]:
    """The results that the task of `showing_results` printed."""
    (results,) = shown(output)
    return list(results)


def must_fail(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task that must fail, and prints why."""
    return {"block": [task], "rescue": [show("ansible_failed_result.msg")]}


def role(name: str, **variables: Any) -> dict[str, Any]:
    """A task that runs a role of the collection."""
    return {"ansible.builtin.include_role": {"name": "homelab.loadbalancer." + name}, "vars": variables}
