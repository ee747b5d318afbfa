# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands and files of a page, in the order in which a reader meets them."""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

# The first words of a line of commands. Blocks of other lines are pictures and output.
PROGRAMS = {"ansible-builder", "ansible-galaxy", "ansible-playbook", "cd", "git", "make", "python3", "source", "sudo"}
BLOCK = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
FILE = re.compile(r"# ([\w./-]+[.]\w+)")


class Step(NamedTuple):
    """A command to type, or a file to write if it has content."""

    name: str
    content: str = ""


def steps(page: str) -> Iterator[Step]:
    """A command without the comment at its end, or a file that is named by the comment in its first line."""
    for language, block in BLOCK.findall(page):
        first = block.splitlines()[0]
        named = FILE.fullmatch(first)
        if language == "yaml" and named:
            yield Step(named.group(1), block)
        elif language in ("", "sh", "bash", "shell", "console") and first.split(" ")[0] in PROGRAMS:
            for line in block.replace("\\\n", "").splitlines():
                yield Step(re.sub(r"\s+#.*", "", line))
