# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the duration of `playbooks/inspect.yml` for 1 and for 50 hosts, and the size of its page.

    make bench
    .venv/bin/python tools/bench_inspect.py

All hosts are the same node, in the bench's own namespaces, with a bridge and thirty pods. It is inspected once per
host, ten at a time. Hosts on separate machines would do their part of the work in parallel. Must run as root.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rich.console
import rich.table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.homelab.loadbalancer.tests.integration.inspect.inspected import Node  # noqa: E402

PODS = 30
BUILD = """
ip link add cni0 type bridge && ip link set cni0 up && ip address add 10.244.0.1/24 dev cni0
for pod in $(seq 2 %d); do
    ip netns add pod$pod
    ip link add veth$pod master cni0 up type veth peer name eth0 netns pod$pod
    ip -n pod$pod address add 10.244.0.$pod/24 dev eth0
    ip -n pod$pod link set eth0 up
    ip -n pod$pod route add default via 10.244.0.1
done
""" % (PODS + 1)


def measure(node: Node, hosts: int) -> list[str]:
    """The figures of one run: hosts, seconds, seconds per host, and the sizes of the written files."""
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder, "hosts.yml")
        names = "".join("    host%d:\n" % number for number in range(1, hosts + 1))
        options = "    ansible_connection: local\n    ansible_python_interpreter: %s\n" % sys.executable
        inventory.write_text("kubernetes:\n  hosts:\n%s  vars:\n%s" % (names, options))
        ansible = [str(ROOT / ".venv/bin/ansible-playbook"), "--inventory", str(inventory), "--forks", "10"]
        argv = [*ansible, "playbooks/inspect.yml", "--extra-vars", "inspect_folder=%s/seen" % folder]
        start = time.monotonic()
        inside = [*node.inside, "--wd=%s" % ROOT, "--", *argv]
        done = subprocess.run(inside, check=False, capture_output=True, text=True)
        seconds = time.monotonic() - start
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        documents = sum(path.stat().st_size for path in Path(folder, "seen").glob("*.json"))
        page = Path(folder, "seen/index.html").stat().st_size
    return [str(hosts), "%.1f" % seconds, "%.2f" % (seconds / hosts), "%d" % (documents / 1e3), "%d" % (page / 1e3)]


def main() -> None:
    """Print the table of figures."""
    table = rich.table.Table(title="Inspection of nodes with %d pods" % PODS)
    for heading in ("hosts", "seconds", "seconds a host", "documents, kB", "page, kB"):
        table.add_column(heading, justify="right")
    node = Node()
    try:
        node.sh(BUILD)
        for hosts in (1, 50):
            table.add_row(*measure(node, hosts))
    finally:
        node.end()
    rich.console.Console().print(table)


if __name__ == "__main__":
    main()
