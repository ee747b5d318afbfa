# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared table as the node's nft would list it.

Only the static part is tried, in a throw-away network namespace: chains, rules, and sets without elements. Elements are
written as nft lists them, which takes a hundredth of the time.
"""

from __future__ import annotations

import socket
from typing import Mapping, NamedTuple, Sequence

from .._nftables import node
from .._nftables.model import Block, Element, Table
from .._services.model import PROTOCOLS, Service
from .._services.planes import NFTABLES_FAMILY as FAMILY
from . import layout
from .layout import Blocks, Options

_SPELLED = "spelled-"  # sets of the trial, each with one protocol


class Declared(NamedTuple):
    """The declared table; None for no table.

    blocks -- its blocks, as they are written
    spelled -- the protocols as the node's nft writes them
    """

    table: Table | None
    blocks: Blocks
    spelled: Mapping[str, str]

    @property
    def content(self) -> str:
        """Its text between the braces."""
        return text(self.blocks)

    @property
    def protocols(self) -> dict[int, str]:
        """The numbers of protocols, as the node's nft writes them."""
        numbers = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
        return {numbers[protocol]: name for protocol, name in self.spelled.items()}


def declared(name: str, services: Sequence[Service], options: Options) -> Declared:
    """Find the canonical form of the declared services."""
    spelled = {protocol: protocol for protocol in PROTOCOLS}
    blocks = layout.layout(services, options, spelled)
    if not blocks:
        return Declared(None, {}, spelled)
    tried = node.try_out(FAMILY, name, text(blocks, elements=False) + _protocols())
    listed = {protocol: next(iter(tried.blocks["set", _SPELLED + protocol].elements)) for protocol in PROTOCOLS}
    if listed != spelled:
        blocks = layout.layout(services, options, listed)
    made = {key: _block(tried.blocks[key], block) for key, block in blocks.items()}
    return Declared(tried._replace(blocks=made), blocks, listed)


def _protocols() -> str:
    sets = "set %s%s {\n\ttype inet_proto\n\telements = { %s }\n}\n"
    return "".join(sets % (_SPELLED, protocol, protocol) for protocol in PROTOCOLS)


def _block(tried: Block, source: layout.Block) -> Block:
    """The block as listed, with its elements. Its rules are loaded as they were written: not every listing loads."""
    rules = tuple(rule._replace(full=written) for rule, written in zip(tried.rules, source.rules))
    listed = zip(source.elements.items(), _listed(source))
    elements = {key: Element(key, value, text_, text_) for (key, value), text_ in listed}
    return tried._replace(rules=rules, elements=elements)


def _listed(source: layout.Block) -> list[str]:
    """The elements as nft lists them."""
    return [key + " : " + value if value else key for key, value in source.elements.items()]


def text(blocks: Blocks, elements: bool = True) -> str:
    """The blocks in the syntax of nft."""
    lines = []
    for (kind, name), block in blocks.items():
        lines += ["%s %s {" % (kind, name), *("\t" + line for line in block.lines + block.rules)]
        if elements and block.elements:
            lines.append("\telements = { %s }" % ",\n\t\t".join(_listed(block)))
        lines.append("}")
    return "\n".join([*lines, ""])
