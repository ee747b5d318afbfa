# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the repository that are in the collection's tarball, by `build_ignore` of galaxy.yml."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Iterator

import yaml

ROOT = Path(__file__).resolve().parents[3]
# tools/build puts nothing else into the tarball.
BESIDE = ("CHANGELOG.md", "LICENSE", "README.ja.md", "README.md", "bindep.txt")
FOLDERS = ("changelogs", "docs", "inventories", "meta", "playbooks", "plugins", "roles")
IGNORED: list[str] = yaml.safe_load((ROOT / "galaxy.yml").read_text())["build_ignore"]


def is_shipped(name: str) -> bool:
    """Whether a file or folder is in the tarball. A pattern that matches a folder excludes all its content."""
    path = Path(name)
    return not any(fnmatch.fnmatch(str(part), pattern) for part in (path, *path.parents) for pattern in IGNORED)


def repository() -> Iterator[str]:
    """The files of the repository in the folders of a collection, and some of its top-level files."""
    yield from BESIDE
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(ROOT))


def files() -> list[str]:
    """The files of the repository that are in the tarball."""
    return sorted(name for name in repository() if is_shipped(name))
