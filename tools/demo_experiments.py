# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the experiments that a demo prints, exactly as printed.

    tools/demo_experiments.py OUTPUT

Each experiment must have the printed effect, and after its way back the client must get the same answer as before.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

LIMIT = 60  # seconds until the lab is healthy again
COMMAND, EFFECT = "     ", "       -> "


class Experiment(NamedTuple):
    """The commands that break something, the one that shows it, the printed effect, and the way back."""

    breaking: list[str]
    attempt: str
    effect: str
    back: str


def experiments(output: str) -> list[Experiment]:
    """The experiments in the output of a demo."""
    found = []
    for part in re.split(r"(?m)^\d\. ", output)[1:]:
        lines = part.split("\n")
        effect = next((line for line in lines if line.startswith(EFFECT)), "")
        index = lines.index(effect)
        commands = [line.strip() for line in lines[:index] if line.startswith(COMMAND)]
        back = [line.strip() for line in lines[index + 1 :] if line.startswith(COMMAND)]
        found.append(Experiment(commands[:-1], commands[-1], effect[len(EFFECT) :], back[0]))
    return found


def shell(command: str) -> tuple[int, str]:
    """Run a command as a reader does; return its exit code and all that it prints, its errors last."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def succeed(command: str) -> str:
    """What a command prints, which must succeed."""
    rc, said = shell(command)
    if rc != 0:
        raise SystemExit("%s\nfailed:\n%s" % (command, said))
    return said


def run(experiment: Experiment) -> None:
    """Break the lab, look for the effect, and repair it."""
    healthy = sorted(succeed(experiment.attempt).split("\n"))
    for command in experiment.breaking:
        succeed(command)
    said = shell(experiment.attempt)[1]
    succeed(experiment.back)
    if experiment.effect not in said:
        raise SystemExit("%s\nprinted no %s but:\n%s" % (experiment.attempt, experiment.effect, said))
    end = time.monotonic() + LIMIT
    while sorted(shell(experiment.attempt)[1].split("\n")) != healthy:
        if time.monotonic() > end:
            raise SystemExit("%s\nstill fails after: %s" % (experiment.attempt, experiment.back))
        time.sleep(0.2)


def run_all(output: str) -> int:
    """Run all experiments of a demo's output, and return their number."""
    found = experiments(output)
    for experiment in found:
        run(experiment)
    return len(found)


if __name__ == "__main__":
    [page] = sys.argv[1:]
    number = run_all(Path(page).read_text(encoding="utf-8"))
    if number != 3:
        raise SystemExit("%s has %d experiments instead of 3" % (page, number))
