# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long the module ipvs takes for many virtual servers, compared with ipvsadm.

    tools/kernel .venv/bin/python tools/bench_ipvs.py [NUMBER]

Every figure is the median of several rounds, and each round measures every way in turn. The module is started as
Ansible starts it on a node; Ansible's own time before that is the same for any task. Compare only ratios within one
run. Each way has its own network namespace, because removing thousands of virtual servers keeps the kernel busy for
seconds. The bench runs in its own kernel, which is discarded with all leftovers.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODULE = "ansible_collections.homelab.loadbalancer.plugins.modules.ipvs"
ROUNDS = 3
START, RESTORE, SAVE = "module, nothing declared", "ipvsadm -R", "ipvsadm -Sn"
COLD, SAME, ONE = "module, cold", "module, unchanged", "module, one weight changed"


def declared(count: int, weight: int = 1) -> list[dict[str, Any]]:
    """Virtual servers with two real servers each; `weight` is the weight of one real server in the middle."""
    servers = [
        {
            "address": "10.%d.%d.%d" % (100 + i // 65536, i // 256 % 256, i % 256),
            "port": 80,
            "scheduler": "rr",
            "real_servers": [{"address": "10.2.%d.%d" % (i % 200, j), "port": 8080, "weight": 1} for j in (2, 3)],
        }
        for i in range(count)
    ]
    servers[count // 2]["real_servers"][0]["weight"] = weight  # type: ignore[index]
    return servers


def rules(servers: list[dict[str, Any]]) -> str:
    """The same virtual servers in ipvsadm's syntax."""
    lines = []
    for server in servers:
        lines.append("-A -t %(address)s:%(port)d -s rr" % server)
        for real in server["real_servers"]:
            front = "%s:%d" % (server["address"], server["port"])
            lines.append("-a -t %s -r %s:%d -m -w %d" % (front, real["address"], real["port"], real["weight"]))
    return "".join(line + "\n" for line in lines)


def node(name: str) -> list[str]:
    """A new network namespace, as the beginning of a command that runs in it."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    return ["ip", "netns", "exec", name]


def timed(argv: list[str], stdin: str = "") -> float:
    """The duration of a command. If it fails, the bench ends with its error message."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    start = time.perf_counter()
    done = subprocess.run(argv, input=stdin, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit("%s\n%s%s" % (" ".join(argv), done.stdout[-2000:], done.stderr))
    return seconds


def module(inside: list[str], **options: Any) -> float:
    arguments = {"ANSIBLE_MODULE_ARGS": {"_ansible_diff": False, **options}}
    return timed([*inside, sys.executable, "-m", MODULE], json.dumps(arguments))


def one_round(number: int, files: list[str], text: str) -> dict[str, float]:
    """One figure for each way."""
    tool, ours = node("tool-%d" % number), node("ours-%d" % number)
    return {
        START: module(ours),
        RESTORE: timed([*tool, "ipvsadm", "-R"], text),
        SAVE: timed([*tool, "ipvsadm", "-Sn"]),
        COLD: module(ours, virtual_servers_file=files[0]),
        SAME: module(ours, virtual_servers_file=files[0]),
        ONE: module(ours, virtual_servers_file=files[1]),
    }


def main() -> None:
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text(encoding="ascii"):
        sys.exit("It fills the kernel with virtual servers: run it in a kernel of its own, by tools/kernel.")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    subprocess.run(["modprobe", "ip_vs"], check=True)
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        files = []
        for weight in (1, 5):
            path = Path(folder) / ("%d.json" % weight)
            path.write_text(json.dumps(declared(count, weight)))
            files.append(str(path))
        text = rules(declared(count))
        rounds = [one_round(number, files, text) for number in range(ROUNDS)]
    print("%d virtual servers with two real servers each; medians of %d rounds" % (count, ROUNDS))
    start = statistics.median(found[START] for found in rounds)
    for name in rounds[0]:
        seconds = statistics.median(found[name] for found in rounds)
        line = "%-28s %7.2f s" % (name, seconds)
        if name in (COLD, SAME, ONE):
            ratio = statistics.median(found[RESTORE] / (found[name] - found[START]) for found in rounds)
            line += ", %6.2f s above start, which is %5.1f times as fast as ipvsadm -R" % (seconds - start, ratio)
        print(line)


if __name__ == "__main__":
    main()
