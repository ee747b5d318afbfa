# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of the plugins import each other in one direction, and managed nodes get nothing of the control node."""

from __future__ import annotations

from graphlib import TopologicalSorter

from ansible_collections.homelab.loadbalancer.tests.unit.project.package_graph import (
    PLUGINS,
    SHARED,
    absolute,
    graph,
    imported,
    package,
    parts_of,
)
from ansible_collections.homelab.loadbalancer.tools import readme


def test_packages_have_no_circle() -> None:
    found = graph()
    assert "plugin_utils/_k8s" in found["plugin_utils/_metallb"]
    assert "module_utils/_services" in found["module_utils/_iptables"]
    list(TopologicalSorter(found).static_order())  # raises CycleError, which names them


def test_managed_nodes_get_nothing_of_the_control_node() -> None:
    for path in [*(PLUGINS / "module_utils").rglob("*.py"), *(PLUGINS / "modules").glob("*.py")]:
        assert {parts[0] for parts in imported(path)} <= {"module_utils"}, path


def test_no_package_imports_modules_actions_or_filters_of_another() -> None:
    for name, used in graph().items():
        assert {other.split("/")[0] for other in used} <= set(SHARED), name


def test_contributing_shows_the_packages() -> None:
    assert readme.with_packages() == readme.CONTRIBUTING.read_text(), "run .venv/bin/python tools/readme.py"


def test_every_shared_module_is_in_a_package() -> None:
    assert [path.name for folder in SHARED for path in (PLUGINS / folder).glob("*.py")] == []
    assert {package(parts_of(path)).count("/") for folder in SHARED for path in (PLUGINS / folder).rglob("*.py")} == {1}


def test_plugins_import_each_other_by_relative_names() -> None:
    assert [(path.name, absolute(path)) for path in PLUGINS.rglob("*.py") if absolute(path)] == []
