# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of docs/reuse.md install the collection into an empty project that has only ansible-core."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tests import pages
from ansible_collections.homelab.loadbalancer.tests.integration.project.clone import (
    URL,
    make_clone,
    make_home,
    run,
    version,
)

OLDEST = "2.17.14"
INSTALLED = ".ansible/collections/ansible_collections/homelab/loadbalancer"
# These need what is not here, so that other tests try them.
ELSEWHERE = {
    "python3 -m pip install 'kubernetes>=24.2.0,<38'",  # tests/unit/project/test_execution_environment.py
    "ansible-builder build --tag homelab.loadbalancer",  # as above
    "make install",  # tests/readme
    "source .venv/bin/activate",
}
POOL = """\
- hosts: localhost
  gather_facts: false
  roles:
    - role: homelab.loadbalancer.metallb_pool
      vars: {metallb_pool_pools: [{name: lan, addresses: [192.0.2.10-192.0.2.20]}]}
"""


@pytest.fixture(scope="module")
def path(root: Path) -> str:
    """PATH with the programs of the oldest ansible-core, in a virtual environment with nothing else."""
    made = subprocess.run([str(root / "tools/ansible-core"), OLDEST], stdout=subprocess.PIPE, text=True, check=True)
    return "%s/bin:%s" % (made.stdout.strip(), os.environ["PATH"])


@pytest.fixture(scope="module")
def clone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clone(root, tmp_path_factory.mktemp("clone") / "clone")


class Project:
    """An empty folder, and a home folder that has seen no Ansible."""

    def __init__(self, folder: Path, clone: Path, path: str) -> None:
        self.home = make_home(folder / "home", clone)
        self.folder = folder / "project"
        self.folder.mkdir()
        self.installed = self.home / INSTALLED
        self._environment = {"HOME": str(self.home), "PATH": path}

    def shell(self, command: str, expected: int = 0) -> str:
        return run(["bash", "-c", command], self.folder, expected, **self._environment)

    def version(self) -> str:
        manifest = json.loads((self.installed / "MANIFEST.json").read_text())
        return str(manifest["collection_info"]["version"])


@pytest.fixture
def project(tmp_path: Path, clone: Path, path: str) -> Project:
    return Project(tmp_path, clone, path)


def test_commands_of_the_page_install_and_replace_the_collection(root: Path, project: Project, clone: Path) -> None:
    page = (root / "docs/reuse.md").read_text().split("\n## Install\n")[1]
    done: list[str] = []
    for step in pages.steps(page.split("\n## ")[0]):
        if step.content:
            (project.folder / step.name).write_text(step.content)
        elif step.name not in ELSEWHERE:
            # A file that is no longer part of the collection.
            old = project.installed / "roles/old"
            said = project.shell(step.name + (" --force" if done else ""))
            assert "was installed successfully" in said
            assert (project.version(), old.exists()) == (version(clone), False)
            old.mkdir()
            done.append(step.name)
    assert done == [
        "ansible-galaxy collection install git+" + URL,
        "ansible-galaxy collection install -r requirements.yml",
    ]
    project.shell("ansible-galaxy collection install --force git+%s,%s" % (URL, version(clone)))


def test_tarball_installs_without_the_repository(root: Path, project: Project) -> None:
    run(["tools/build", str(project.folder)], root)
    project.shell("ansible-galaxy collection install homelab-loadbalancer-*.tar.gz")
    assert project.version() == version(root)
    assert "homelab.loadbalancer.ipset" in project.shell("ansible-doc --list homelab.loadbalancer")
    (project.folder / "pool.yml").write_text(POOL)
    said = " ".join(project.shell("ansible-playbook pool.yml", expected=2).split())
    assert "the Python package kubernetes (24.2 or newer, older than 38) is needed on the host" in said
    assert "-m pip install 'kubernetes>=24.2.0,<38'`" in said
    assert "Traceback" not in said
