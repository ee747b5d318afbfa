# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shell that types the commands of the README in a fresh clone, on a machine that has seen no Ansible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from ansible_collections.homelab.loadbalancer.tests import pages
from ansible_collections.homelab.loadbalancer.tests.integration.project.clone import URL, make_clone, make_home, run

# The shell has its own networks, named namespaces and processes, so another lab of the same name may be up. When it
# ends, all its processes end.
APART = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
BEGIN = """\
set -euo pipefail
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
own_network() { ip -brief link; ip -brief address; ip route; nft --stateless list ruleset; }
"""
TITLE = "=== "


class Ran(NamedTuple):
    """A command, and what it printed."""

    command: str
    output: str


class Newcomer:
    """Collects the commands and files of pages, and runs them in order.

    folder -- gets the clone, a home folder and the packages that pip installs, because the shell has no network
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []
        repository = make_clone(root, folder / "repository")
        make_home(folder / "home", repository)
        wheels = str(folder / "wheels")
        download = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "-d", wheels]
        run([*download, "-r", "requirements/full.txt"], root)
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ},
            "HOME": str(folder / "home"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": wheels,
        }

    def type(self, command: str) -> None:
        self._lines += ["printf '%%s\\n' '%s%s'" % (TITLE, command.replace("'", "'\\''")), command]

    def write(self, name: str, content: str) -> None:
        self._lines += ["mkdir -p \"$(dirname '%s')\"" % name, "cat >'%s' <<'END'" % name, content + "END"]

    def follow(self, steps: list[pages.Step]) -> None:
        for step in steps:
            if step.content:
                self.write(step.name, step.content)
            else:
                self.type(step.name)

    def run(self) -> list[Ran]:
        """Run everything in one shell. Fails with its output at the first command that fails."""
        script = self._folder / "script"
        script.write_text(BEGIN + "\n".join(self._lines) + "\n")
        done = subprocess.run(
            [*APART, "bash", str(script)],
            check=False, cwd=self._folder / "home", env=self._environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        parts = re.split("(?m)^%s(.*)$" % TITLE, done.stdout)[1:]
        return [Ran(*pair) for pair in zip(parts[::2], parts[1::2])]


CLONE = ["git clone --quiet %s" % URL, "cd homelab.loadbalancer"]
