# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for the boot, which restores virtual servers where nothing of Ansible is: a zip file that Python runs."""

from __future__ import annotations

import inspect
import io
import zipfile

from ansible_collections.homelab.loadbalancer.plugins.module_utils import (
    _command,
    _errors,
    _ipvs,
    _ipvs_boot,
    _ipvs_drain,
    _ipvs_kernel,
    _ipvs_model,
    _ipvs_netlink,
    _netlink,
)

_PARTS = (_command, _errors, _ipvs, _ipvs_boot, _ipvs_drain, _ipvs_kernel, _ipvs_model, _ipvs_netlink, _netlink)


def program() -> bytes:
    """The same bytes from the same sources, so that a file that holds them is left alone."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name), text)

        folders = _ipvs_boot.__name__.split(".")[:-1]
        for depth in range(1, len(folders) + 1):
            add("/".join([*folders[:depth], "__init__.py"]), "")
        for part in _PARTS:
            add(part.__name__.replace(".", "/") + ".py", inspect.getsource(part))
        add("__main__.py", "from %s import main\n\nmain()\n" % _ipvs_boot.__name__)
    return content.getvalue()
