# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Markup that untrusted text cannot break out of, and access to untrusted JSON that never fails.

An inspected node may be hostile: its report is JSON, and nothing else about it is certain. Every part of the page goes
through `element`, which escapes all text that is not its own markup.
"""

from __future__ import annotations

import html
import json
from typing import Any, Dict

from ...module_utils._common.printable import printable

Json = Dict[str, Any]

VOID = frozenset({"br", "input", "meta"})


class Html(str):
    """Text that is already markup. Every string operation returns a plain str, which is escaped again: that is safe."""

    __slots__ = ()


def shown(text: str) -> str:
    """The text in one line; control and format characters (such as those that reverse its direction) become \\x1b."""
    return text if text.isprintable() else printable(text).replace("\n", "\\x0a")


def escaped(text: str) -> str:
    """The text, escaped for an element or an attribute.

    Braces are escaped too, so that no template engine, such as Ansible's, finds a template in the page.
    """
    return html.escape(shown(text)).replace("{", "&#123;").replace("}", "&#125;")


def element(tag: str, /, *children: str, **attributes: str | float | None) -> Html:
    """An element; children that are not Html are text. The result is well-formed XML and HTML.

    An attribute with the value None is left out. A Python keyword as name gets an underscore at the end (class_), and a
    dash in a name is written as an underscore (aria_label).
    """
    given = "".join(
        ' %s="%s"' % (key.rstrip("_").replace("_", "-"), escaped(str(value)))
        for key, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Html("<%s%s/>" % (tag, given))
    return Html("<%s%s>%s</%s>" % (tag, given, joined(*children), tag))


def joined(*children: str) -> Html:
    """Several pieces of markup as one."""
    return Html("".join(child if isinstance(child, Html) else escaped(child) for child in children))


def items(value: Any, key: str) -> list[Json]:
    """The mappings in the list under this key; other entries are left out."""
    found = value.get(key) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def mapping(value: Any, key: str) -> Json:
    """The mapping under this key, or an empty one."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def words(value: Any, key: str) -> list[str]:
    """The entries of the list under this key, as text."""
    found = value.get(key) if isinstance(value, dict) else None
    return [as_text(one) for one in found] if isinstance(found, list) else []


def word(value: Any, key: str) -> str:
    """The value under this key, as text; empty if there is none."""
    return as_text(value.get(key)) if isinstance(value, dict) else ""


def as_text(value: Any) -> str:
    """Any JSON in a readable form: lists with commas, mappings as key=value, true as yes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_flat(one) for one in value)
    if isinstance(value, dict):
        return ", ".join("%s=%s" % (key, _flat(value[key])) for key in sorted(value, key=str))
    return str(value)


def _flat(value: Any) -> str:
    """A nested value, protected so that its commas differ from those of the outer value."""
    if not isinstance(value, (dict, list)):
        return as_text(value)
    try:
        return json.dumps(value, sort_keys=True, default=str)
    except RecursionError:
        return "(nested too deep)"
