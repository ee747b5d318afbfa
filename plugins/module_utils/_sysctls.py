# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel parameters by way of /proc/sys, as sysctl(8) names them."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError

ROOT = "/proc/sys"


def path_of(name: str) -> str:
    """The file of a parameter. The first separator says which kind is used, so that net/ipv4/conf/eth0.10/… works."""
    dot, slash = name.find("."), name.find("/")
    parts = name.split("/") if slash >= 0 and (dot < 0 or slash < dot) else name.replace("/", "\0").split(".")
    parts = [part.replace("\0", ".") for part in parts]
    if not all(parts) or ".." in parts:
        raise InputError("values.%s is not the name of a kernel parameter: write it like net.ipv4.ip_forward" % name)
    return "/".join([ROOT, *parts])


def normal(value: Any) -> str:
    """One spelling: booleans as numbers, single spaces."""
    return " ".join(str(int(value) if isinstance(value, bool) else value).split())


def read(names: list[str]) -> dict[str, str]:
    """The parameters as they are. Raises InputError for one that this kernel does not have."""
    have = {}
    for name in names:
        try:
            with open(path_of(name), encoding="ascii") as file:
                have[name] = normal(file.read())
        except OSError as error:
            raise InputError(
                "values.%s cannot be read on this node (%s): is its kernel module loaded?" % (name, error.strerror)
            ) from error
    return have


def write(have: dict[str, str], want: dict[str, str]) -> None:
    """Set what differs. When the kernel refuses one value, those before it are put back."""
    done: list[str] = []
    try:
        for name, value in want.items():
            if value != have[name]:
                _put(name, value)
                done.append(name)
    except OSError as error:
        for earlier in reversed(done):
            _put(earlier, have[earlier])
        raise InputError("values.%s %s is refused by the kernel: %s" % (name, value, error.strerror)) from error


def show(values: dict[str, str]) -> str:
    """As `sysctl` lists them, and reads them from a file."""
    return "".join("%s = %s\n" % item for item in values.items())


def _put(name: str, value: str) -> None:
    descriptor = os.open(path_of(name), os.O_WRONLY)
    try:
        os.write(descriptor, value.encode("ascii") + b"\n")
    finally:
        os.close(descriptor)
