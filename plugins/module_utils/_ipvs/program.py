# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that restores virtual servers at boot without Ansible: a zip file that Python runs."""

from __future__ import annotations

import inspect
import io
import zipfile
from pathlib import PurePosixPath

from .._common import command, errors
from .._common import netlink as common_netlink
from . import boot, drain, kernel, model, netlink, plan

_PARTS = (command, errors, common_netlink, boot, drain, kernel, model, netlink, plan)


def program() -> bytes:
    """The program's bytes: the same for the same sources, so that an unchanged file is left alone."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name), text)

        paths = [PurePosixPath(*part.__name__.split(".")) for part in _PARTS]
        for folder in sorted({folder for path in paths for folder in path.parents if folder.name}):
            add("%s/__init__.py" % folder, "")
        for path, part in zip(paths, _PARTS):
            add("%s.py" % path, inspect.getsource(part))
        add("__main__.py", "from %s import main\n\nmain()\n" % boot.__name__)
    return content.getvalue()
