# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder for the files that a boot loads. It belongs to one declaration, which its file `owner` names."""

from __future__ import annotations

import contextlib
import os
from typing import Container, NamedTuple

from .._common import files
from .._common.errors import InputError

FILES = (
    "owner",
    "rules.v4",
    "rules.v6",
    "rules.nft",
    "ipset.rules",
    "ipvs.rules",
    "ipvs.pyz",
    "sysctl.conf",
    "addresses.batch",
)
_OWNER = """\
# The Ansible collection homelab.loadbalancer keeps here what a boot restores. Its state `absent` removes it.
%s
"""
NAMESPACES = "/run/netns"


class Folder(NamedTuple):
    """A folder as it was read.

    name -- the declaration that wants it
    found -- the names of its files
    owner -- the content of its file `owner`; empty for none
    """

    path: str
    name: str
    found: tuple[str, ...]
    owner: str

    @property
    def ours(self) -> bool:
        """Whether it belongs to the declaration."""
        return self.owner.strip() == self.owner_text.strip()

    @property
    def owner_text(self) -> str:
        return _OWNER % self.name

    @property
    def owner_file(self) -> files.FileEdit:
        return files.edit(self.path + "/owner", self.owner_text)

    def refuse_others(self) -> None:
        """Raise InputError if the folder belongs to others."""
        if self.found and not self.ours:
            raise InputError(
                "path %s exists and does not belong to this role: it holds %s. Set it to a folder that does not exist, "
                "such as /etc/%s, or remove this one first"
                % (self.path, ", ".join("`%s`" % name for name in self.found[:5]), self.name)
            )

    def removals(self, kept: Container[str] = ()) -> list[files.FileEdit]:
        """Remove our files, except those in `kept`.

        The file `owner` goes last, so that a run that is cut short can be repeated.
        """
        paths = ["%s/%s" % (self.path, name) for name in reversed(FILES) if name in self.found]
        return [files.edit(path, None) for path in paths if path not in kept]

    def remove_empty(self) -> None:
        """Remove the folder, unless it has files of others."""
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


def look(path: str, name: str) -> Folder:
    """Read a folder, which need not exist."""
    try:
        found = tuple(sorted(os.listdir(path)))
    except FileNotFoundError:
        return Folder(path, name, (), "")
    except NotADirectoryError:
        raise InputError("path %s is a file: set it to a folder that does not exist" % path) from None
    owner = ""
    with contextlib.suppress(FileNotFoundError), open(path + "/owner", encoding="utf-8", errors="replace") as file:
        owner = file.read()
    return Folder(path, name, found, owner)


def named_namespace() -> str:
    """The name of the network namespace that this process is in, as `ip netns identify`; empty for the machine's."""
    own = os.stat("/proc/self/ns/net")
    with contextlib.suppress(FileNotFoundError), os.scandir(NAMESPACES) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if os.path.samestat(own, os.stat(entry.path)):
                    return entry.name
    return ""
