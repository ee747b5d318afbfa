# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and change one nftables table of a node, and try a content in an empty network namespace."""

from __future__ import annotations

import re
import socket
from typing import Mapping

from .._common.command import CommandError, Completed, run
from .._common.errors import InputError, NodeError, NotInstalledError
from .._common.network import new_network
from .elements import Elements, UnknownError
from .links import make_links
from .model import Block, Element, Table, parse_table

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


def read_rules(family: str, name: str) -> Table | None:
    """A table without the elements of its sets, which takes nft little time; None if there is none."""
    listed = _nft(["-a", "-t", "list", "ruleset", family]).out
    found = re.search(r"^table %s %s \{.*?^\}$" % (family, re.escape(name)), listed, re.MULTILINE | re.DOTALL)
    return parse_table(found.group()) if found else None


def fill(table: Table, protocols: Mapping[int, str]) -> Table:
    """A table of read_rules() with the elements that its sets have now, without those that packets have added.

    protocols -- their numbers, as the node's nft writes them
    """
    elements = Elements(table.family, table.name, protocols)
    blocks = {
        key: block._replace(elements=_read_set(table, block, elements))
        for key, block in table.blocks.items()
        if block.kind in ("set", "map") and "dynamic" not in block.flags
    }
    return table._replace(blocks={**table.blocks, **blocks})


def _read_set(table: Table, block: Block, elements: Elements) -> dict[str, Element]:
    try:
        return elements.read(block)
    except (UnknownError, OSError):
        listed = _nft(["list", block.kind, table.family, table.name, block.name]).out
        return parse_table(listed).blocks[block.kind, block.name].elements


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
