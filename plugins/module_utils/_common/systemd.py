# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in systemd units: each argument arrives unchanged (systemd.service(5), "Command lines")."""

from __future__ import annotations

import re
from typing import Sequence

_SPECIAL = re.compile(r"[\x00-\x1f\x7f\"\\]")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def exec_start(argv: Sequence[str], may_fail: bool = False) -> str:
    """The value of ExecStart= that runs argv."""
    # systemd does not expand variables in the name of the program.
    words = [_quote(argv[0]), *(word(argument) for argument in argv[1:])]
    return ("-" if may_fail else "") + " ".join(words)


def word(argument: str) -> str:
    """One argument, escaped so that its quotes, `%` specifiers and `$` variables have no meaning."""
    return _quote(argument.replace("$", "$$"))


def _quote(text: str) -> str:
    text = text.replace("%", "%%")
    if re.match(r"[\w@%$+=:,./!-]+\Z", text, re.ASCII):
        return text
    return '"%s"' % _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\\x%02x" % ord(found[0])), text)
