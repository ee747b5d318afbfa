# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Markup that text of others cannot break out of, and a way into JSON of others that never fails.

A node that is inspected may be hostile: its report is JSON, and nothing else is sure of it. Whatever becomes part of
the page goes through `element`, which escapes all that is not of its own making.
"""

from __future__ import annotations

import html
import json
from typing import Any, Dict

from ...module_utils._common.printable import printable

Json = Dict[str, Any]

VOID = frozenset({"br", "input", "meta"})


class Html(str):
    """What is markup already. Whatever is done to it gives a plain str, which is escaped again: that side is safe."""

    __slots__ = ()


def shown(text: str) -> str:
    """The text in one line, its control and format characters (such as those that turn its direction) as \\x1b."""
    return text if text.isprintable() else printable(text).replace("\n", "\\x0a")


def escaped(text: str) -> str:
    """The text as it stands in an element or in an attribute.

    Braces are escaped too, so that the page is no template to anything that it is given to, such as Ansible.
    """
    return html.escape(shown(text)).replace("{", "&#123;").replace("}", "&#125;")


def element(tag: str, /, *children: str, **attributes: str | float | None) -> Html:
    """An element; children that are no Html are text. It is well-formed XML as well as HTML.

    An attribute that is None is left out; one whose name is a word of Python ends with an underscore (class_), and
    one with a dash has an underscore in its place (aria_label).
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
    """Several pieces as one."""
    return Html("".join(child if isinstance(child, Html) else escaped(child) for child in children))


def items(value: Any, key: str) -> list[Json]:
    """The mappings of the list that is found by this key; what is none is left out."""
    found = value.get(key) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def mapping(value: Any, key: str) -> Json:
    """The mapping that is found by this key, or an empty one."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def words(value: Any, key: str) -> list[str]:
    """The entries of the list that is found by this key, as text."""
    found = value.get(key) if isinstance(value, dict) else None
    return [as_text(one) for one in found] if isinstance(found, list) else []


def word(value: Any, key: str) -> str:
    """What is found by this key, as text; empty where there is nothing."""
    return as_text(value.get(key)) if isinstance(value, dict) else ""


def as_text(value: Any) -> str:
    """Any JSON as a person writes it: lists with commas, mappings as key=value, true as yes."""
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
    """A value inside another one, whose commas would be taken for those of the outer one."""
    if not isinstance(value, (dict, list)):
        return as_text(value)
    try:
        return json.dumps(value, sort_keys=True, default=str)
    except RecursionError:
        return "(nested too deep)"
