# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out which parts of IPVS the node's kernel has, without loading them."""

from __future__ import annotations

import contextlib
import os
import re

from .._common.command import CommandError, run
from .._common.errors import NodeError

_MISSING = (
    "this kernel (%(release)s) has no IPVS. It is in its module `ip_vs` (try: modprobe ip_vs), which some packages "
    "leave out: Debian has it in linux-image-amd64 but not in linux-image-cloud-amd64, Ubuntu in "
    "linux-modules-extra-%(release)s, Fedora and RHEL in kernel-modules-core or kernel-modules; a container uses the "
    "kernel of its host, where it must be loaded"
)


class NoIpvsError(NodeError):
    """The node's kernel has no IPVS; the text names the module and the packages."""

    def __init__(self) -> None:
        super().__init__(_MISSING % {"release": os.uname().release})


def is_loaded() -> bool:
    return os.path.exists("/proc/net/ip_vs")


def require() -> None:
    """Raise NoIpvsError if IPVS is neither loaded nor loadable."""
    if not is_loaded() and "ip_vs" not in (_listed() or ()):
        raise NoIpvsError


def load() -> None:
    """Load IPVS if it is not loaded yet."""
    if not is_loaded():
        with contextlib.suppress(CommandError):
            run(["modprobe", "--quiet", "ip_vs"], check=False)
        if not is_loaded():
            raise NoIpvsError


def missing(kind: str, names: set[str]) -> tuple[list[str], list[str]]:
    """The names that the kernel lacks, and the names that it has.

    kind -- the prefix of their modules: ip_vs_ for schedulers, ip_vs_pe_ for persistence engines

    Nothing is reported missing if it cannot be known, as in a container without the modules of its host's kernel.
    """
    listed = _listed()
    if listed is None:
        return [], []
    known = {name[len(kind) :] for name in listed | set(_folder("/sys/module")) if name.startswith(kind)}
    known = {name for name in known if not name.startswith("pe_") and name != "ftp"}
    return sorted(names - known), sorted(known)


def _listed() -> set[str] | None:
    """The IPVS modules that are loadable or built in; None if the kernel has no list of modules."""
    folder = "/lib/modules/%s" % os.uname().release
    texts = [_text("%s/%s" % (folder, name)) for name in ("modules.dep", "modules.builtin")]
    if not any(texts):
        return None
    # Paths such as kernel/net/netfilter/ipvs/ip_vs_rr.ko.xz; modules.dep appends a colon and their dependencies.
    found = re.findall(r"^(?:\S*/)?(ip_vs\w*)\.ko", "\n".join(texts), re.MULTILINE)
    return set(found)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _folder(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
