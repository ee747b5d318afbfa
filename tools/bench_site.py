# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long `playbooks/site.yml` takes on the Kubernetes lab: from nothing, and when there is nothing to change.

    make bench
    .venv/bin/python tools/bench_site.py

Starts the lab unless it is there, and leaves it as it was. What counts is the ratio of the runs: machines differ. The
requests are those that the API server noted of Ansible. As root.
"""

from __future__ import annotations

import collections
import json
import os
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import rich.console
import rich.table

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
RECAP = re.compile(r"^(?:homelab\.loadbalancer\.)?(.*?) -+ (\d+\.\d+)s$", re.MULTILINE)


class Run(NamedTuple):
    """One run of the playbook: seconds, in all and by role, and requests to the API server."""

    seconds: float
    roles: dict[str, float]
    requests: int


def playbook(name: str, *options: str) -> str:
    """Run one of the project's playbooks, and return what it printed."""
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
        "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "all",
        "ANSIBLE_NOCOLOR": "1",
    }
    argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "inventories/cluster", "playbooks/%s.yml" % name, *options]
    return subprocess.run(argv, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def requests() -> int:
    """How many requests of Ansible the API server has noted."""
    argv = ["podman", "exec", "cluster-control1", "cat", "/var/log/kube-audit.log"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return sum("python" in json.loads(line).get("userAgent", "") for line in said.splitlines())


def measure() -> Run:
    before, start = requests(), time.monotonic()
    output = playbook("site")
    seconds = time.monotonic() - start
    roles: dict[str, float] = collections.defaultdict(float)
    for task, took in RECAP.findall(output):
        role, found, dummy = task.partition(" : ")
        roles[role if found else "the playbook's own"] += float(took)
    return Run(seconds, roles, requests() - before)


def report(first: Run, later: list[Run]) -> None:
    second = statistics.median(run.seconds for run in later)
    table = rich.table.Table("", "from nothing", "nothing to change", title="site.yml, 4 hosts", title_justify="left")
    table.add_row("seconds", "%.0f" % first.seconds, "%.0f (%.2f)" % (second, second / first.seconds))
    table.add_row("requests to the API server", str(first.requests), str(later[-1].requests))
    table.add_section()
    shares = {name: statistics.median(run.roles.get(name, 0) for run in later) for name in later[0].roles}
    for name in sorted(shares, key=lambda name: -shares[name]):
        table.add_row(name, "%.1f s" % first.roles.get(name, 0), "%.1f s" % shares[name])
    rich.console.Console(width=100).print(table)


def main() -> None:
    stood = subprocess.run(["podman", "container", "exists", "cluster-control1"], check=False).returncode == 0
    playbook("cluster_lab")
    try:
        first = measure()
        report(first, [measure() for dummy in range(ROUNDS)])
        playbook("site_down", "-e", "gateway_remove_crds=true")
    finally:
        if not stood:
            playbook("cluster_lab_down")


if __name__ == "__main__":
    main()
