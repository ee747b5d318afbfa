# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An execution environment has the packages that the project is tested with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
BUILDER = str(Path(sys.executable).parent / "ansible-builder")


def requirements(path: Path) -> dict[str, Requirement]:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    lines = [line for line in lines if not line.startswith("-r ")]
    return {entry.name.lower(): entry for entry in map(Requirement, filter(None, lines))}


def test_its_packages_are_those_that_are_tested() -> None:
    wanted = yaml.safe_load((ROOT / "meta/execution-environment.yml").read_text())["dependencies"]
    assert (ROOT / wanted["system"]).is_file()
    pinned = requirements(ROOT / "requirements/run.txt") | requirements(ROOT / "requirements/full.txt")
    for name, entry in requirements(ROOT / wanted["python"]).items():
        [pin] = pinned[name].specifier
        assert entry.specifier.contains(pin.version), name


def test_builder_makes_the_build_context(tmp_path: Path) -> None:
    """An image needs a registry; all that precedes does not."""
    subprocess.run([BUILDER, "create", "--context", str(tmp_path)], cwd=ROOT, check=True)
    [collection] = yaml.safe_load((tmp_path / "_build/requirements.yml").read_text())["collections"]
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert collection == {"name": galaxy["repository"] + ".git", "type": "git"}
    steps = (tmp_path / "Containerfile").read_text()
    assert steps.index("install -y git-core") < steps.index("ansible-galaxy collection install")


def test_builder_finds_the_packages_of_the_collection() -> None:
    found = subprocess.run(
        [BUILDER, "introspect", "--sanitize", str(ROOT / ".collections")], stdout=subprocess.PIPE, text=True, check=True
    )
    packages = yaml.safe_load(found.stdout)
    names = {kind: [line.partition("#")[0].strip() for line in lines] for kind, lines in packages.items()}
    # It leaves out those that come with ansible-core.
    assert names == {
        "python": ["kubernetes>=24.2.0,<38"],
        "system": ["openssh-client [platform:dpkg]", "openssh-clients [platform:rpm]"],
    }
