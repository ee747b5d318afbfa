# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles decide by their boolean options is the same where those are texts, of the command line or of an INI
inventory. ansible-core itself evaluates the roles' own conditions: the oldest release that the collection supports,
which takes any text that is not empty for true, and the installed one, which refuses texts as conditions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import jinja2
import pytest
from jinja2 import nodes

from ansible_collections.homelab.loadbalancer.tests.unit.project.role_expressions import (
    BOOLEAN,
    expressions,
    mentions,
    parse,
    typed_options,
    yaml_files,
)

OLDEST = "2.17.14"
BOOLEANS = sorted(name for name, kind in typed_options().items() if kind == BOOLEAN)
TEXTS = {False: ("false", "no", "off", "0", "False"), True: ("true", "yes", "on", "1", "True")}


def reduced(node: nodes.Node) -> str:
    """The part of an expression that boolean options decide, without the rest of it; empty where there is none."""
    if isinstance(node, nodes.Filter) and node.name == "bool":
        return next(("%s | bool" % name for name, _parents in mentions(node) if name in BOOLEANS), "")
    if isinstance(node, nodes.Not):
        inner = reduced(node.node)
        return inner and "not (%s)" % inner
    if isinstance(node, (nodes.And, nodes.Or)):
        word = " and " if isinstance(node, nodes.And) else " or "
        return word.join("(%s)" % part for part in map(reduced, (node.left, node.right)) if part)
    return ""


def decisions(node: nodes.Node) -> Iterator[str]:
    """What boolean options decide in a template."""
    found = reduced(node)
    if found:
        yield found
        return
    for child in node.iter_child_nodes():
        yield from decisions(child)


def all_decisions() -> list[str]:
    """Those of all roles and playbooks, each once."""
    texts = [text for content in yaml_files().values() for _keys, text in expressions(content)]
    return sorted({found for text in texts for found in decisions(parse(text))})


def true_with(value: bool, condition: str) -> str:
    """The condition, or its opposite, whichever is true where all boolean options have the value."""
    environment = jinja2.Environment(autoescape=True)
    environment.filters["bool"] = bool
    holds = environment.compile_expression(condition)(**dict.fromkeys(BOOLEANS, value))
    return condition if holds else "not (%s)" % condition


@pytest.fixture(params=[OLDEST, "installed"])
def ansible_playbook(request: pytest.FixtureRequest, root: Path) -> str:
    """The program of a release of ansible-core."""
    if request.param == "installed":
        return str(Path(sys.executable).parent / "ansible-playbook")
    made = subprocess.run(
        [str(root / "tools/ansible-core"), request.param], stdout=subprocess.PIPE, text=True, check=True
    )
    return made.stdout.strip() + "/bin/ansible-playbook"


def run(argv: list[str], folder: Path) -> None:
    """Run it away from the repository's settings; everything must hold."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        argv,
        cwd=folder,
        env={**clean, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_RETRY_FILES_ENABLED": "0", "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_booleans_given_as_texts_decide_as_booleans_do(ansible_playbook: str, tmp_path: Path) -> None:
    conditions = all_decisions()
    groups = {"off": False, "on": True}
    plays = [
        {
            "hosts": group,
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.assert": {"quiet": True, "that": [true_with(value, each) for each in conditions]}}
            ],
        }
        for group, value in groups.items()
    ]
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    lines = []
    for group, value in groups.items():
        lines.append("[%s]" % group)
        for text in TEXTS[value]:
            lines.append(" ".join(["%s-%s" % (group, text), *("%s=%s" % (name, text) for name in BOOLEANS)]))
    (tmp_path / "inventory.ini").write_text("\n".join(lines) + "\n")
    run([ansible_playbook, "-i", "inventory.ini", "play.yml"], tmp_path)
    for group, value in groups.items():
        given = [option for name in BOOLEANS for option in ("-e", "%s=%s" % (name, TEXTS[value][0]))]
        run([ansible_playbook, "-i", "inventory.ini", "--limit", group, "play.yml", *given], tmp_path)


def test_every_boolean_option_decides_or_is_handed_over() -> None:
    """One that is read in no other way would be left out above."""
    whole = {text.replace("{{", "").replace("}}", "").strip() for content in yaml_files().values()
             for _keys, text in expressions(content)}  # fmt: skip
    decided = {name for text in all_decisions() for name, _parents in mentions(parse("{{ %s }}" % text))}
    assert [name for name in BOOLEANS if name not in whole | decided] == []
