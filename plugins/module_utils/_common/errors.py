# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that the modules report: refused declarations, and faults of the node."""

from __future__ import annotations

import re
from typing import Mapping


class InputError(Exception):
    """A declared value that is refused before anything changes.

    Its text names the entry and what to do: `lb_services[2].address 10.0.0.300 is not an IP address`.
    """


class NodeError(Exception):
    """A fault of the node, not of the declaration."""


class NotInstalledError(NodeError):
    """The node lacks programs.

    packages -- the packages to install
    """

    def __init__(self, said: str, *packages: str) -> None:
        super().__init__(said)
        self.packages = list(packages)


# An option's name in a message: at the beginning, as "the option NAME", or with an index or a key. Names of files stand
# in a path or in quotes.
_OPTION = re.compile(r"\A(\w+)(?=[\[. :])|the option (\w+)|(?<![\w.\]/`'\"-])(\w+)(?=\[\d|\.\w)")


def named(error: Exception, variables: Mapping[str, str]) -> str:
    """An error's text, with the names of options replaced by those of a role's variables.

    variables -- maps each option to the role's variable that sets it
    """
    return _OPTION.sub(lambda found: variables.get(found[found.lastindex or 0], found[0]), str(error))
