# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An execution environment has the packages that the project is tested with."""

from __future__ import annotations

from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]


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
