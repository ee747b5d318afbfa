# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel parameters in /proc/sys, with the names of sysctl(8).

Some parameters change others: `ip_forward` sets the forwarding of every link, and `default` sets the links that have no
value of their own (Documentation/networking/ip-sysctl.rst). So parameters that change others are written first, and
parameters that were changed in the process are written again.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from typing import Any, Iterable, Mapping

from .._common.errors import InputError

ROOT = "/proc/sys"
# Maximum number of rounds. Parameters that still change each other after that are incompatible.
ROUNDS = 5

_PORTS = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")


def parts_of(name: str) -> list[str]:
    """The folders and the file of a parameter. The first `.` or `/` is the separator: net/ipv4/conf/eth0.10/…"""
    dot, slash = name.find("."), name.find("/")
    parts = name.split("/") if slash >= 0 and (dot < 0 or slash < dot) else name.replace("/", "\0").split(".")
    return [part.replace("\0", ".") for part in parts]


def path_of(name: str) -> str:
    """The file of a parameter."""
    parts = parts_of(name)
    if not all(parts) or ".." in parts:
        raise InputError("values.%s is not the name of a kernel parameter: write it like net.ipv4.ip_forward" % name)
    return "/".join([ROOT, *parts])


def normal(value: Any) -> str:
    """A uniform spelling: booleans as numbers, single spaces."""
    return " ".join(str(int(value) if isinstance(value, bool) else value).split())


def canonical(text: str) -> str:
    """A value in the kernel's spelling, for comparison: numbers in base 10, ports in order."""
    ports = _ports(text) if _PORTS.fullmatch(text) and not text.isdigit() else []
    if ports:
        return ",".join("%d" % low if low == high else "%d-%d" % (low, high) for low, high in ports)
    return " ".join(map(_number, text.split()))


def same(one: str, other: str) -> bool:
    """Whether two texts are the same value to the kernel."""
    return canonical(one) == canonical(other)


def _ports(text: str) -> list[tuple[int, int]]:
    """Port ranges in order, with adjacent ranges merged. Empty if the text does not list ports."""
    ranges = sorted((int(part.split("-")[0]), int(part.split("-")[-1])) for part in text.split(","))
    merged: list[tuple[int, int]] = []
    for low, high in ranges:
        if high > 65535 or low > high:
            return []
        if merged and low <= merged[-1][1] + 1:
            low, high = merged[-1][0], max(high, merged.pop()[1])
        merged.append((low, high))
    return merged


def _number(text: str) -> str:
    """A number in base 10. The prefix 0x means base 16, and 0 means base 8. Other text stays unchanged."""
    try:
        return str(int(text, 8 if re.fullmatch("-?0[0-7]+", text) else 0))
    except ValueError:
        return text


def rank(name: str) -> int:
    """The place in the order of writing: ip_forward, forwarding of all links, all links, future links, others."""
    parts = parts_of(name)
    if parts[-1] == "ip_forward":
        return 0
    scope = parts[-2] if len(parts) > 1 else ""
    if scope == "all":
        return 1 if parts[-1] == "forwarding" else 2
    return 3 if scope == "default" else 4


def ordered(values: Mapping[str, str]) -> dict[str, str]:
    """The values in the order of writing, now and at boot."""
    return {name: values[name] for name in sorted(values, key=rank)}


def read(names: Iterable[str], some: bool = False) -> dict[str, str]:
    """The current values of the parameters. Raises InputError for one that this kernel does not have.

    some -- leave out parameters that the kernel does not have
    """
    have = {}
    for name in names:
        try:
            have[name] = _get(path_of(name))
        except OSError as error:
            if some:
                continue
            raise InputError(
                "values.%s cannot be read on this node (%s): is its kernel module loaded?" % (name, error.strerror)
            ) from error
    return have


def predicted(have: Mapping[str, str], want: Mapping[str, str]) -> dict[str, str]:
    """The values that the kernel would have after write()."""
    return {name: have[name] if _stands(have, name, value) else canonical(value) for name, value in want.items()}


def _stands(have: Mapping[str, str], name: str, value: str) -> bool:
    return name in have and same(have[name], value)


def write(have: Mapping[str, str], want: Mapping[str, str]) -> dict[str, str]:
    """Write the differing values until all are in effect, and return the kernel's values.

    If the kernel refuses a value, or some parameters undo each other, all parameters that were changed are restored.
    """
    want, names = ordered(want), list(want)
    before = reached(have, want)
    # The kernel's own spelling of each value that it has accepted.
    stands = {name: have[name] for name in want if same(have[name], want[name])}
    now = dict(have)
    unsteady: set[str] = set()
    for turn in range(ROUNDS):
        moved = [name for name in want if name not in stands or now[name] != stands[name]]
        if not moved:
            return now
        unsteady.update(moved if turn > 1 else ())
        for name in moved:
            try:
                _put(path_of(name), want[name])
            except OSError as error:
                put_back(before)
                said = "values.%s %s is refused by the kernel: %s" % (name, want[name], error.strerror)
                raise InputError(said) from error
            stands[name] = _get(path_of(name))
        now = read(names)
    put_back(before)
    raise InputError(
        "%s do not stand together, for writing one changes another: leave one out (all were put back)"
        % ", ".join("values.%s %s" % (name, want[name]) for name in want if name in unsteady)
    )


def reached(have: Mapping[str, str], want: Mapping[str, str]) -> dict[str, str]:
    """The files that write() may change, and their values now, in the order of restoring them."""
    changed = [name for name in ordered(want) if not same(have[name], want[name])]
    return {path: _get(path) for name in changed for path in _reached(name)}


def show(values: Mapping[str, str]) -> str:
    """The format in which `sysctl` lists values, and reads them from a file."""
    return "".join("%s = %s\n" % item for item in values.items())


def _reached(name: str) -> list[str]:
    """The files that writing a parameter may change, in the order of restoring them."""
    path = path_of(name)
    folder, leaf = os.path.split(path)
    if rank(name) == 4:
        return [path]
    if leaf == "ip_forward":
        folder, leaf = os.path.join(folder, "conf", "all"), "forwarding"
    leaves = [leaf, "accept_redirects"] if leaf == "forwarding" else [leaf]
    conf = glob.escape(os.path.dirname(folder))
    beside = [found for each in leaves for found in glob.glob(os.path.join(conf, "*", each))]
    return [path, *sorted(beside, key=lambda each: rank(each[len(ROOT) + 1 :]))]


def put_back(before: Mapping[str, str]) -> None:
    """Restore the values of files, as reached() has returned them."""
    for _round in range(2):
        for path, value in before.items():
            # A link may have been removed in the meantime.
            with contextlib.suppress(FileNotFoundError):
                if _get(path) != value:
                    _put(path, value)


def _get(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return normal(file.read())


def _put(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode() + b"\n")
    finally:
        os.close(descriptor)
