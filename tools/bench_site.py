# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long `playbooks/site.yml` takes on the Kubernetes lab: on an empty cluster, and without changes.

Also measure one `kubectl apply --server-side` of the same objects, as a dry run on the API server.

    make bench
    .venv/bin/python tools/bench_site.py

Starts the lab if it is not running, and leaves it as it was. Compare only ratios within one run: machines differ. The
requests are those of the collection in the API server's audit log. Must run as root.
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
from typing import Any, NamedTuple

import rich.console
import rich.table

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
# The clients that send a task's requests to the API server: the collection itself, or modules of kubernetes.core.
AGENTS = re.compile(r"homelab\.loadbalancer|python", re.IGNORECASE)
MANAGER = "homelab.loadbalancer"
# Fields that the API server adds to an object.
ADDED = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
RECAP = re.compile(r"^(?:homelab\.loadbalancer\.)?(.*?) -+ (\d+\.\d+)s$", re.MULTILINE)


class Run(NamedTuple):
    """One run of the playbook: total seconds, seconds by role, and requests to the API server."""

    seconds: float
    roles: dict[str, float]
    requests: int


def playbook(name: str, *options: str) -> str:
    """Run one of the project's playbooks, and return its output."""
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
        "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "all",
        "ANSIBLE_NOCOLOR": "1",
    }
    argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "inventories/cluster", "playbooks/%s.yml" % name, *options]
    return subprocess.run(argv, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def control_plane(*argv: str, stdin: str | None = None) -> str:
    """The output of a command on the control plane."""
    command = ["podman", "exec", "-i", "cluster-control1", *argv]
    return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout


def requests() -> int:
    """The number of Ansible's requests in the API server's audit log."""
    log = control_plane("cat", "/var/log/kube-audit.log")
    return sum(bool(AGENTS.search(json.loads(line).get("userAgent", ""))) for line in log.splitlines())


def objects() -> str:
    """All objects that the playbook applies, as a list for kubectl."""
    kinds = control_plane("kubectl", "api-resources", "--verbs=list,patch", "-o", "name").split()
    kinds = [kind for kind in kinds if not kind.startswith(("events", "leases", "endpointslices", "pods"))]
    argv = ["kubectl", "get", ",".join(kinds), "-A", "-o", "json", "--show-managed-fields"]
    items = [thing for thing in json.loads(control_plane(*argv))["items"] if is_applied(thing)]
    for thing in items:
        thing.pop("status", None)
        for field in ADDED:
            thing["metadata"].pop(field, None)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def is_applied(thing: dict[str, Any]) -> bool:
    owners = thing["metadata"].get("managedFields") or []
    return any(owner.get("manager") == MANAGER and owner.get("operation") == "Apply" for owner in owners)


def kubectl(manifests: str) -> float:
    """The seconds of a dry run by kubectl, in which the API server does all its work except writing."""
    options = ["--server-side", "--force-conflicts", "--field-manager=" + MANAGER, "--dry-run=server", "-f", "-"]
    start = time.monotonic()
    control_plane("kubectl", "apply", *options, stdin=manifests)
    return time.monotonic() - start


def measure() -> Run:
    before, start = requests(), time.monotonic()
    output = playbook("site")
    seconds = time.monotonic() - start
    roles: dict[str, float] = collections.defaultdict(float)
    for task, took in RECAP.findall(output):
        role, found, dummy = task.partition(" : ")
        roles[role if found else "the playbook's own"] += float(took)
    return Run(seconds, roles, requests() - before)


def report(first: Run, later: list[Run], count: int, tried: list[float]) -> None:
    second, alone = statistics.median(run.seconds for run in later), statistics.median(tried)
    table = rich.table.Table("", "from nothing", "nothing to change", title="site.yml, 5 hosts", title_justify="left")
    table.add_row("seconds", "%.0f" % first.seconds, "%.1f (%.2f)" % (second, second / first.seconds))
    table.add_row("requests to the API server", str(first.requests), str(later[-1].requests))
    table.add_row("kubectl apply of its %d objects, tried" % count, "", "%.1f s" % alone)
    table.add_row("site.yml to kubectl", "", "%.1f" % (second / alone))
    table.add_section()
    shares = {name: statistics.median(run.roles.get(name, 0) for run in later) for name in later[0].roles}
    for name in sorted(shares, key=lambda name: -shares[name]):
        table.add_row(
            name, "%.1f s" % first.roles.get(name, 0), "%.1f s (%.2f)" % (shares[name], shares[name] / second)
        )
    rich.console.Console(width=100).print(table)


def main() -> None:
    stood = subprocess.run(["podman", "container", "exists", "cluster-control1"], check=False).returncode == 0
    playbook("cluster_lab")
    try:
        first = measure()
        later = [measure() for dummy in range(ROUNDS)]
        manifests = objects()
        tried = [kubectl(manifests) for dummy in range(ROUNDS)]
        report(first, later, len(json.loads(manifests)["items"]), tried)
        playbook("site_down", "-e", "gateway_remove_crds=true")
    finally:
        if not stood:
            playbook("cluster_lab_down")


if __name__ == "__main__":
    main()
