# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and change one nftables table of a node, and try a content in an empty network namespace."""

from __future__ import annotations

import re
import socket

from .._common.command import CommandError, Completed, run
from .._common.errors import InputError, NodeError, NotInstalledError
from .._common.network import new_network
from .links import make_links
from .model import Table, parse_table

_PLACE = re.compile(r"^\S*?:(\d+):(\d+)-\d+: Error: (.*)", re.MULTILINE)
_NO_MODULE = ("No such file or directory", "not supported")


def read(family: str, name: str) -> Table | None:
    """A table of this network namespace; None if there is none."""
    done = _nft(["-a", "list", "table", family, name])
    if done.rc == 0:
        return parse_table(done.out)
    if "No such file or directory" in done.err:
        return None
    if "syntax error" in done.err:
        raise InputError("name %s is a word of the syntax of nft itself: choose another name" % name)
    raise NodeError(
        "the nftables of this node cannot be read: %s. Reading them needs root, and a kernel with nf_tables"
        % reason(done.err)
    )


def list_chains() -> str:
    """The chains of all tables, without their rules."""
    return _nft(["list", "chains"]).out


def list_chain(family: str, table: str, name: str) -> str:
    """One chain with its rules; empty if there is none."""
    return _nft(["list", "chain", family, table, name]).out


def version() -> str:
    """The version of nft, such as `nftables v1.0.6`. NotInstalledError without nft."""
    return " ".join(_nft(["--version"]).out.split()[:2])


def load(text: str) -> Completed:
    """Run a transaction. The caller checks the exit code."""
    return _nft(["-f", "-"], text)


def _nft(arguments: list[str], stdin: str | None = None) -> Completed:
    try:
        return run(["nft", *arguments], stdin, check=False)
    except CommandError as error:
        raise NotInstalledError("nft is not installed: install the package nftables", "nftables") from error


def wrapped(family: str, name: str, content: str) -> str:
    """The declared table in the syntax of nft."""
    return "table %s %s {\n%s\n}\n" % (family, name, content)


def try_out(family: str, name: str, content: str) -> Table:
    """The canonical form of the declared table. Raises InputError with the line that nft refuses."""
    # nft looks up the links that rules name, so the namespace gets links with the same names as on the node.
    names = {link for dummy, link in socket.if_nameindex() if link in content}
    with new_network():
        make_links(names - {"lo"})
        done = load(wrapped(family, name, content))
        if done.rc != 0:
            raise refusal(name, content, done.err)
        tables = _nft(["list", "tables"]).out.split("\n")
        made = read(family, name)
    others = [table for table in tables if table not in ("", "table %s %s" % (family, name))]
    if others or made is None:
        raise InputError("content makes %s: write the content of one table" % (" and ".join(others) or "no table"))
    return made


def refusal(name: str, content: str, said: str) -> InputError:
    """The error for a refused text, with the line of the user's content."""
    found = _PLACE.search(said)
    if not found:
        return InputError("content is refused by nft: %s" % reason(said))
    line, column, why = int(found.group(1)) - 1, int(found.group(2)), found.group(3)
    lines = content.split("\n")
    if why.startswith("Could not process rule") and why.endswith(_NO_MODULE):
        why += (
            ". If the text is right, this kernel lacks a module: install the package with its extra modules "
            "(kernel-modules-extra on Fedora and RHEL)"
        )
    if line == 0:
        return InputError("name %s or the content as a whole is refused by nft: %s" % (name, why))
    if line > len(lines):
        return InputError("content is refused by nft at its end: %s" % why)
    return InputError(
        "content line %d `%s` is refused by nft: %s (column %d)" % (line, lines[line - 1].strip(), why, column)
    )


def reason(said: str) -> str:
    """The error messages of nft, without the lines that show the place."""
    found = re.findall(r"Error: (.*)", said)
    return "; ".join(dict.fromkeys(found)) or said.strip() or "it gives no reason"
