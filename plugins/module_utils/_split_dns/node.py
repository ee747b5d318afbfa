# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read how a client resolves names, write its resolver's files, and have the resolver read them."""

from __future__ import annotations

import glob
import os
import re
import stat
import time
from typing import Any, Mapping, Sequence

from .._common import files
from .._common.command import CommandError, find, run
from .plan import SERVICES, Client, Plan, asking, parse_client

FOLDERS = (
    "/etc/systemd/resolved.conf.d",
    "/etc/systemd/dns-delegate.d",
    "/etc/dnsmasq.d",
    "/etc/NetworkManager/conf.d",
    "/etc/NetworkManager/dnsmasq.d",
    "/etc/resolver",
)
MODE = 0o644  # resolvers read the files as their own users, not as root
TRIES = 3


def read_client() -> Client:
    """The resolvers of this client, and its configuration. Changes nothing."""
    return parse_client(read_sections())


def read_sections() -> dict[str, str]:
    """The same information, as text from programs and files."""
    active = [name for name in SERVICES if _said("systemctl", "is-active", name + ".service").strip() == "active"]
    resolved = SERVICES[0] in active
    paths = [path for folder in FOLDERS for path in sorted(glob.glob(folder + "/*")) if os.path.isfile(path)]
    return {
        "system": _said("uname", "-s"),
        "systemd": _found(r"^systemd (\d+)", _said("systemctl", "--version")),
        "active": " ".join(active),
        "programs": find("dnsmasq") or "",
        "servers": _said("resolvectl", "dns") if resolved else "",
        "domains": _said("resolvectl", "domain") if resolved else "",
        "network-manager": _found(r"^dns=(.*)", _said("NetworkManager", "--print-config")),
        "hosts": _found(r"^hosts: *(.*)", _content("/etc/nsswitch.conf")),
        "nameservers": _found(r"^nameserver *(.*)", _content("/etc/resolv.conf")),
        "files": "\n".join(paths),
        "ours": "\n".join(file for file in paths if "# Managed by homelab.loadbalancer" in _starts(file)),
        "drop-ins": "\n".join(
            "%s:%s" % (file, line)
            for file in paths
            if file.startswith(FOLDERS[0] + "/homelab-loadbalancer-")
            for line in _content(file).splitlines()
            if line.startswith("DNS=")
        ),
    }


class Edit:
    """A file of the plan, with its content and mode before and after."""

    def __init__(self, path: str, text: str | None) -> None:
        self.file = files.edit(path, text)
        self.mode = stat.S_IMODE(os.stat(path).st_mode) if self.file.before is not None else MODE

    @property
    def changed(self) -> bool:
        return self.file.changed or self.mode != MODE

    def write(self) -> None:
        os.makedirs(os.path.dirname(self.file.path), mode=0o755, exist_ok=True)
        self._put(self.file.after, MODE)

    def restore(self) -> None:
        self._put(self.file.before, self.mode)

    def _put(self, content: bytes | None, mode: int) -> None:
        files.write(self.file.path, content, mode)


def edits_of(made: Plan) -> list[Edit]:
    """The files of a plan that need a change."""
    edits = [Edit(path, text) for path, text in made.write.items()] + [Edit(path, None) for path in made.remove]
    return [edit for edit in edits if edit.changed]


def apply(edits: Sequence[Edit], readers: Mapping[str, str]) -> None:
    """Write the files and have their services read them. If one fails, restore all files and raise CommandError."""
    services = list(dict.fromkeys(readers[edit.file.path] for edit in edits if edit.file.path in readers))
    try:
        for edit in edits:
            edit.write()
        _reload(services)
    except (CommandError, OSError):
        for edit in edits:
            edit.restore()
        _reload(services, check=False)
        raise


def _reload(services: Sequence[str], check: bool = True) -> None:
    for service in services:
        if service == "NetworkManager":  # a restart would take the links down
            run(["nmcli", "general", "reload", "conf"], check=check)
            run(["nmcli", "general", "reload", "dns-full"], check=check)
        else:
            run(["systemctl", "restart", service + ".service"], check=check)


def look_up(resolver: str, name: str) -> list[str]:
    """The lines that a lookup of the name prints. Repeats the lookup if it finds nothing."""
    for turn in range(TRIES):
        if turn:
            time.sleep(1)
        done: Any = run(asking(resolver, name), check=False)
        if done.rc == 0 and done.out.strip():
            break
    return done.out.splitlines() if done.rc == 0 else []


def _said(*argv: str) -> str:
    """The output of a program. Empty if the program is not installed."""
    try:
        return run(argv, check=False).out
    except CommandError:
        return ""


def _found(pattern: str, text: str) -> str:
    return "\n".join(re.findall(pattern, text, re.MULTILINE))


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _starts(path: str) -> str:
    """The lines of a file that may be our mark."""
    return "\n".join(line for line in _content(path).splitlines() if line.startswith("# Managed by"))
