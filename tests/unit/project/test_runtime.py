# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own metadata is complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

import yaml

from ansible_collections.homelab.loadbalancer.tools import readme

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def test_action_groups_are_the_modules_that_ask_an_api_server_and_those_that_act_on_a_host() -> None:
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    texts = {name: (ROOT / "plugins" / "modules" / (name + ".py")).read_text() for name in MODULES}
    asking = [name for name in MODULES if "  - homelab.loadbalancer.kubernetes\n" in texts[name]]
    # Two have none of the options of a group. uml_lab is only in the repository.
    others = [*asking, "check_variables", "k8s_request", "uml_lab"]
    assert groups == {"node": [name for name in MODULES if name not in others], "k8s": asking}


def test_readme_has_the_short_description_of_every_role_module_and_plugin() -> None:
    assert readme.written() == readme.REFERENCE.read_text(), "run .venv/bin/python tools/readme.py"


def test_every_role_has_a_readme_with_a_guide() -> None:
    """Galaxy refuses a collection that has a role without one."""
    for name in ROLES:
        readme = ROOT / "roles" / name / "README.md"
        [guide] = [line.split("](")[1].split(")")[0] for line in readme.read_text().splitlines() if "](" in line]
        assert (readme.parent / guide).is_file(), name


def files(*patterns: str) -> Iterator[tuple[str, str]]:
    """The contents of the collection's own files, by name."""
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            yield str(path.relative_to(ROOT)), path.read_text()


def test_nothing_imports_or_runs_kubernetes_core() -> None:
    uses = re.compile(r"^\s*(import|from) [\w.]*\bkubernetes[.]core\b|^\s*(- )?kubernetes[.]core[.]\w+:", re.MULTILINE)
    ours = files("plugins/**/*.py", "roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "playbooks/*.yml")
    assert [name for name, text in ours if uses.search(text)] == []
    assert uses.search("- name: x\n  kubernetes.core.k8s:\n")
    assert uses.search("from ansible_collections.kubernetes.core.plugins.module_utils import x")


def test_only_modules_are_left_to_import_modules() -> None:
    """Modules for Kubernetes are documentation. Their action plugins do the work."""
    uses = re.compile(r"loadbalancer[.]plugins[.]modules\b")
    others = files("plugins/action/*.py", "plugins/filter/*.py", "plugins/*_utils/**/*.py")
    assert [name for name, text in others if uses.search(text)] == []
