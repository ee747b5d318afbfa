# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone of this working tree, and commands that run away from it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

URL = "https://github.com/homelab-loadbalancer/homelab.loadbalancer.git"


def run(argv: list[str], cwd: Path, expected: int = 0, **environment: str) -> str:
    """Run a command away from the repository's own settings and return what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**clean, "ANSIBLE_NOCOLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == expected, "%s\n%s" % (" ".join(argv), done.stdout)
    return done.stdout


def make_clone(root: Path, folder: Path) -> Path:
    """A git repository with the files of the working tree, which may be uncommitted; tagged with the version."""
    run([str(root / "tools" / "copy-tree"), str(folder)], root)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    run([*git, "init", "-q", "--initial-branch=main"], folder)
    run([*git, "add", "-A"], folder)
    run([*git, "commit", "-q", "-m", "The clone"], folder)
    run([*git, "tag", version(folder)], folder)
    return folder


def version(tree: Path) -> str:
    return str(yaml.safe_load((tree / "galaxy.yml").read_text())["version"])


def make_home(folder: Path, repository: Path) -> Path:
    """A home folder in which git reads the public address of the repository as a local one."""
    folder.mkdir()
    (folder / ".gitconfig").write_text('[url "file://%s"]\n\tinsteadOf = %s\n' % (repository, URL))
    return folder
