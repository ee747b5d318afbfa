# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newcomer's path: the commands of the README and of the pages that it leads to, as printed and in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tests import pages
from ansible_collections.homelab.loadbalancer.tests.readme.newcomer import CLONE, Newcomer, Ran

# This test is a part of it.
ELSEWHERE = {"make test"}
# The reader's own machines: here the router of the demo's lab, which is a network namespace.
ROUTER = """\
ansible_connection: homelab.loadbalancer.netns
ansible_netns_prefix: lab-
ansible_python_interpreter: "{{ ansible_playbook_python }}"
lb_persist: false
"""
INVENTORY = "routers: {hosts: {router: }}\n"
RULES = "ip netns exec lab-router iptables-save -t nat"
DIFFERENCE = "own_network | diff ~/before - || true"
CURL = "ip netns exec lab-a curl --silent --max-time 5 http://192.168.10.100"


def steps(page: Path, section: str = "") -> list[pages.Step]:
    text = page.read_text()
    if section:
        text = text.split("\n## %s\n" % section)[1].split("\n## ")[0]
    return [step for step in pages.steps(text) if step.name not in ELSEWHERE]


@pytest.fixture(scope="module")
def ran(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """What each command printed."""
    newcomer = Newcomer(root, tmp_path_factory.mktemp("newcomer"))
    readme = steps(root / "README.md")
    first_file = next(number for number, step in enumerate(readme) if step.content)
    for command in [*CLONE, "own_network >~/before"]:
        newcomer.type(command)
    newcomer.follow(readme[:first_file])
    newcomer.type(CURL)
    newcomer.type(DIFFERENCE)
    newcomer.follow(
        [step for step in steps(root / "docs/reuse.md", "Install") if step.name.startswith(("make", "source"))]
    )
    newcomer.type("mkdir ~/project && cd ~/project")
    newcomer.write("inventory.yml", INVENTORY)
    newcomer.write("group_vars/routers.yml", ROUTER)
    newcomer.follow(readme[first_file:])
    newcomer.type(RULES)
    newcomer.follow(steps(root / "docs/router.md"))
    newcomer.type(RULES)
    newcomer.type("cd ~/homelab.loadbalancer")
    newcomer.type("make demo-down")
    newcomer.type("ip netns list")
    newcomer.type(DIFFERENCE)
    return newcomer.run()


def outputs(ran: list[Ran], command: str) -> list[str]:
    found = [one.output for one in ran if one.command.startswith(command)]
    assert found, "%s is not on the pages" % command
    return found


def changed(output: str) -> int:
    [number] = re.findall(r"(?m)^router +: .*\bchanged=(\d+)", output)
    return int(number)


def test_demo_shows_that_the_vip_answers(ran: list[Ran]) -> None:
    [demo] = outputs(ran, "make demo")[:1]
    assert "Hello from Pod B" in demo
    assert "192.168.10.100" in demo
    assert outputs(ran, CURL) == ["\nHello from Pod B\n"]


def test_installed_collection_is_found_in_a_folder_of_the_reader(ran: list[Ran]) -> None:
    [installed] = outputs(ran, "make install")
    assert "homelab.loadbalancer" in installed
    assert "was installed successfully" in installed


def test_check_run_shows_what_the_real_run_changes(ran: list[Ran]) -> None:
    plays = outputs(ran, "ansible-playbook -i inventory.yml")
    assert len(plays) == 4
    for check, real, added in ((*plays[:2], "192[.]168[.]20[.]21"), (*plays[2:], "-j DROP")):
        assert re.search(r"(?m)^\+.*" + added, check)
        assert changed(check) == changed(real) > 0
    for rules in outputs(ran, RULES):
        assert {"192.168.20.20:80", "192.168.20.21:80"} == set(re.findall(r"--to-destination (\S+)", rules))


def test_nothing_is_left(ran: list[Ran]) -> None:
    assert outputs(ran, "ip netns list") == ["\n"]
    assert outputs(ran, DIFFERENCE) == ["\n", "\n"]
