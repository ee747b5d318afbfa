# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection says of itself is complete."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def test_every_module_is_in_the_action_group() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    # All roles use check_variables: what a play gives the group, such as a kubeconfig, is not for it.
    assert sorted(runtime["action_groups"]["all"]) == [name for name in MODULES if name != "check_variables"]


def test_readme_names_every_module_and_role() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in MODULES + ROLES if "`%s`" % name not in readme] == []


def test_every_role_has_a_readme_with_a_guide() -> None:
    """Galaxy refuses a collection that has a role without one."""
    for name in ROLES:
        readme = ROOT / "roles" / name / "README.md"
        [guide] = [line.split("](")[1].split(")")[0] for line in readme.read_text().splitlines() if "](" in line]
        assert (readme.parent / guide).is_file(), name
