# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as others get it: built, installed, and used by full names from a project that is not this one."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.project.clone import make_clone, run, version
from ansible_collections.homelab.loadbalancer.tests.unit.project import shipped

# Namespaces of this test's own, beside a lab that the user may have running.
LAB = "hlbcol%d" % os.getpid()
SITE = """\
- import_playbook: homelab.loadbalancer.demo
"""


@pytest.fixture(scope="module")
def tarball(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, built from a copy of this working tree that knows nothing of git, as of an unpacked archive."""
    folder = tmp_path_factory.mktemp("build")
    run([str(root / "tools" / "copy-tree"), str(folder / "tree")], root)
    said = run(["tools/build", str(folder)], folder / "tree")
    assert "this is no clone of git" in said
    (built,) = folder.glob("homelab-loadbalancer-*.tar.gz")
    return built


def test_tarball_holds_what_users_need_and_nothing_else(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
        links = {
            member.name: os.path.normpath(str(Path(member.name).parent / member.linkname))
            for member in archive
            if member.issym()
        }
    top = {name.split("/")[0] for name in names}
    assert top >= {"LICENSE", "README.md", "MANIFEST.json", "meta", "playbooks", "plugins", "roles"}
    # The unit tests judge these.
    assert {name for name in names if (shipped.ROOT / name).is_file()} == set(shipped.files())
    # A link leads to something that is in the tarball, too.
    assert [link for link, target in links.items() if target not in names] == []
    assert [name for name in names if re.search(r"(^|/)(\.[^/]+|__pycache__|tests|molecule|tools)(/|$)", name)] == []


def test_build_takes_only_files_that_git_tracks(root: Path, tarball: Path, tmp_path: Path) -> None:
    """In a clone in which the user works, and from which an older version was installed."""
    clone = make_clone(root, tmp_path / "clone")
    (clone / ".venv").symlink_to(root / ".venv")
    for name in (
        "kubeconfig",
        "my-inventory/group_vars/all/vault.yml",
        "playbooks/files/id_ed25519",
        "roles/app/ca.key",
    ):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("secret")
    installed = tmp_path / "collections/ansible_collections/homelab/loadbalancer"
    for number in ("0.0.9", version(root)):
        galaxy = re.sub("(?m)^version: .*$", "version: " + number, (clone / "galaxy.yml").read_text())
        (clone / "galaxy.yml").write_text(galaxy)
        said = run(["make", "-o", "setup", "install", "COLLECTIONS=" + str(tmp_path / "collections")], clone)
        assert "left out, because git does not track it:" in said
        manifest = json.loads((installed / "MANIFEST.json").read_text())
        assert manifest["collection_info"]["version"] == number
    with tarfile.open(tarball) as archive, tarfile.open(
        clone / ("homelab-loadbalancer-%s.tar.gz" % version(root))
    ) as built:
        assert sorted(built.getnames()) == sorted(archive.getnames())


@pytest.fixture(scope="module")
def project(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of somebody else, with the collection installed in it, and the inventory of its lab."""
    folder = tmp_path_factory.mktemp("project")
    run(["ansible-galaxy", "collection", "install", "--offline", "-p", "collections", str(tarball)], folder)
    inventory = folder / "collections/ansible_collections/homelab/loadbalancer/inventories/lab"
    (folder / "ansible.cfg").write_text("[defaults]\ncollections_path = collections\ninventory = %s\n" % inventory)
    (folder / "site.yml").write_text(SITE)
    yield folder
    play("homelab.loadbalancer.lab_down", folder)


def play(playbook: str, project: Path) -> str:
    """Run a playbook in namespaces of this test's own and return what it printed."""
    return run(["ansible-playbook", playbook, "-e", "vlan_lab_name=" + LAB], project)


def namespaces() -> list[str]:
    """The lab's namespaces that are there."""
    listed = run(["ip", "netns", "list"], Path("/"))
    return [line.split()[0] for line in listed.splitlines() if line.startswith(LAB + "-")]


def recap(output: str) -> dict[str, dict[str, int]]:
    """Host by host what the last lines of ansible-playbook count."""
    lines = output.split("PLAY RECAP")[1].splitlines()[1:]
    return {
        line.split()[0]: {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", line)}
        for line in lines
        if line
    }


def test_installed_collection_documents_itself(project: Path) -> None:
    shown = run(["ansible-doc", "-t", "module", "homelab.loadbalancer.iptables_chains"], project)
    assert str(project / "collections") in shown


def test_installed_demo_runs_from_a_foreign_project(project: Path) -> None:
    first = play("site.yml", project)
    # Each line of the message is one of a list.
    page = re.sub(r'(?m)^ +"|",?$', "", first.partition("What a gets")[2])
    assert re.search(r"curl http://192[.]168[.]10[.]100 .*\n +before: +no answer\n +now: +Hello from Pod B\n", page)
    assert re.search(r"curl http://192[.]168[.]20[.]20 .*\n +before: +Hello from Pod B\n +now: +no answer\n", page)
    # Without a clone there is no `make`.
    assert re.search(r"\n +ansible-playbook -i \S+/inventories/lab homelab[.]loadbalancer[.]iptables_lb\n", page)
    assert " make " not in page
    assert set(namespaces()) == {LAB + "-" + name for name in ("a", "router", "b", "switch")}

    second = recap(play("homelab.loadbalancer.demo", project))
    assert {host: counts["changed"] for host, counts in second.items()} == dict.fromkeys(second, 0)

    play("homelab.loadbalancer.lab_down", project)
    assert namespaces() == []
