# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node for the tests of node_inspect: process 1 of a PID namespace, with a network and a /run of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import finish_module, start_module

FIRST = """
mount -t tmpfs none /run && mkdir -p /run/netns /run/containerd /run/mount && ip link set lo up
echo ready; exec sleep infinity
"""

EYES = """
for name in "" pod node2 pod2 empty; do
    set -- ip; test -z "$name" || set -- ip -n $name
    "$@" -details link | grep -v timer; "$@" address; "$@" route show table all; "$@" neighbor; "$@" rule
done
ip netns list-id
{
    nft list ruleset; iptables-nft-save; ip6tables-nft-save
    # Other than the save of all tables this makes none.
    for table in $(cat /proc/net/ip_tables_names); do iptables-legacy-save -t $table; done
} |
    sed 's/packets [0-9]* bytes [0-9]*//; s/\\[[0-9]*:[0-9]*\\]//; /^# .* on /d'
ipset save
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names
test ! -e /proc/modules || cut -d' ' -f1 /proc/modules
find /run
"""


class Node:
    """A node: a process that is the first in its namespaces; all ends with it."""

    def __init__(self) -> None:
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", FIRST]
        self._shell = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self._shell.stdout is not None
        assert self._shell.stdout.readline() == "ready\n"
        pid = self._shell.pid
        first = Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()[0]
        self.inside = ["nsenter", "--target", first, "--net", "--mount", "--pid"]

    def end(self) -> None:
        self._shell.kill()
        self._shell.communicate()

    def sh(self, script: str) -> str:
        return run([*self.inside, "sh", "-e", "-c", script]).out

    def eyes(self) -> str:
        """What an onlooker sees, by the tools themselves."""
        return self.sh("set +e\n" + EYES)

    def start(self, *argv: str) -> int:
        """Start a program that stays; returns its number on the node."""
        script = 'echo $$; exec "$@" >/dev/null 2>&1'
        process = subprocess.Popen(
            [*self.inside, "sh", "-c", script, "sh", *argv], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        return int(process.stdout.readline())

    def inspect(self, *before: str, check_mode: bool = True, **options: Any) -> dict[str, Any]:
        """The report, after which the node is as it was."""
        seen = self.eyes()
        result = finish_module(start_module("node_inspect", check_mode, inside=[*self.inside, *before], **options))
        assert self.eyes() == seen
        assert result["changed"] is False, result
        found: dict[str, Any] = result["report"]
        return found
