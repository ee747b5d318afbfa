# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the callback plugin `steps` says about a step and about a failed task. No terminal, no Ansible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils._common.printable import printable
from .._common.columns import padded

# The column in which the seconds start: an 80-column terminal has room for the number of changes after them.
TITLE = 56
DETAIL = "    "
# The texts of a failed result, in the order in which they explain it.
TEXTS = ("msg", "reason", "stderr", "module_stderr", "stdout", "module_stdout")
# Ansible writes these as the message when a more exact text stands beside it.
VAGUE = ("non-zero return code", "One or more items failed", "All items completed")


@dataclass
class Step:
    """A step that runs, or has run.

    start -- seconds of a clock that never goes back
    changed -- the number of results that changed something
    ran -- whether a task ran; a step whose tasks were all skipped gets no line
    """

    title: str
    start: float
    changed: int = 0
    ran: bool = False
    failed: bool = False

    def line(self, end: float, check_mode: bool) -> str:
        """The step's line, without its mark."""
        changes = "changed=%d%s" % (self.changed, " (check mode)" if check_mode else "")
        return "%s %6.1f s   %s" % (padded(printable(self.title), TITLE), end - self.start, changes)


def explanation(result: Mapping[str, Any]) -> list[str]:
    """The lines that explain a failed result."""
    return [DETAIL + line.rstrip() for line in _lines(result)]


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The texts of the result, or of each failed item of a loop; none of them twice."""
    if "censored" in result:
        yield from _text(result["censored"])
        return
    failed = [item for item in result.get("results") or [] if _is_failed(item)]
    for item in failed:
        label = item.get("_ansible_item_label", item.get(str(item.get("ansible_loop_var", "item")), ""))
        yield from _text("(%s)" % (label,))
        yield from _lines(item)
    if failed:
        return
    said: list[str] = []
    for key in TEXTS:
        text = "\n".join(_text(result.get(key) or ""))
        if text and not any(text in other for other in said):
            said.append(text)
    more_exact = [text for text in said if not text.startswith(VAGUE)]
    for text in more_exact or said or ["no message"]:
        yield from text.split("\n")


def _is_failed(item: Any) -> bool:
    """Whether an item of a loop failed, or did not reach its host."""
    return isinstance(item, Mapping) and bool(item.get("failed") or item.get("unreachable"))


def _text(value: Any) -> list[str]:
    """The lines of a value. Blank lines and control characters, which a node may have sent, do not stay."""
    text = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
    lines = [line.expandtabs() for line in text.replace("\r\n", "\n").split("\n")]
    return [printable(line) for line in lines if line.strip()]
