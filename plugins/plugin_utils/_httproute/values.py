# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values for HTTPRoutes, checked before anything is sent; `where` is the place in messages.

The rules are those of the Gateway API (sigs.k8s.io/gateway-api, config/crd/standard and apis/v1). Where it has no rule,
those of DNS (RFC 1035) and HTTP (RFC 9110) apply.
"""

from __future__ import annotations

import re
from typing import Any

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list, value_or
from ...module_utils._k8s.values import parse_mapping, parse_pattern, parse_text

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
PATH_TYPES = {"prefix": "PathPrefix", "exact": "Exact", "regex": "RegularExpression"}
HEADER_CHANGES = ("set", "add", "remove")

_PATH = re.compile(r"(?=.{1,1024}\Z)(?!.*(//|/\.\.?(/|\Z)|%2[fF]))/([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*\Z")
_HEADER = re.compile(r"[-A-Za-z0-9!#$%&'*+.^_`|~]{1,256}\Z")
_LONGEST_VALUE = 4096  # characters


def parse_url_path(raw: Any, where: str) -> str:
    """Check the path of a URL."""
    return parse_pattern(
        raw, _PATH, where, "a path: begin with a slash, write special characters as %20, and no //, . or .. as a part"
    )


def parse_path_match(raw: Any, where: str) -> dict[str, str]:
    """Check the paths to match. A text is a prefix of whole parts, so that /api matches /api/v1 and not /apix."""
    if not isinstance(raw, dict):
        raw = {"prefix": raw}
    check_keys(raw, tuple(PATH_TYPES), (), where)
    if len(raw) != 1:
        raise InputError("%s must have exactly one of the keys %s" % (where, ", ".join(PATH_TYPES)))
    ((kind, value),) = raw.items()
    parse = _regex if kind == "regex" else parse_url_path
    return {"type": PATH_TYPES[kind], "value": parse(value, where)}


def parse_header_matches(raw: Any, where: str) -> list[dict[str, str]]:
    """Check the headers to match, by name. A text is the whole value, `{regex: TEXT}` a regular expression."""
    return [_header_match(name, value, where) for name, value in parse_mapping(raw, where).items()]


def parse_methods(raw: Any, where: str) -> list[str]:
    """Check a list of HTTP methods."""
    for index, entry in enumerate(parse_list(raw, where)):
        if entry not in METHODS:
            raise InputError("%s[%d] %s is not one of %s" % (where, index, entry, ", ".join(METHODS)))
    return list(raw)


def parse_header_changes(raw: Any, where: str) -> dict[str, Any]:
    """Check the changes of headers, and convert them to the format of an HTTPRoute's filter."""
    check_keys(raw, HEADER_CHANGES, (), where)
    made: dict[str, Any] = {}
    for key in ("set", "add"):
        place = "%s.%s" % (where, key)
        changes = parse_mapping(value_or(raw, key, {}), place)
        if changes:
            made[key] = [{"name": _name(name, place), "value": _value(changes[name], place, name)} for name in changes]
    removed = parse_list(value_or(raw, "remove", []), where + ".remove")
    if removed:
        made["remove"] = [_name(name, "%s.remove[%d]" % (where, index)) for index, name in enumerate(removed)]
    return made


def _header_match(name: Any, value: Any, where: str) -> dict[str, str]:
    _name(name, where)
    if not isinstance(value, dict):
        return {"type": "Exact", "name": name, "value": _value(value, where, name)}
    place = "%s.%s" % (where, name)
    check_keys(value, ("regex",), ("regex",), place)
    return {"type": "RegularExpression", "name": name, "value": _regex(value["regex"], place + ".regex")}


def _name(raw: Any, where: str) -> str:
    return parse_pattern(raw, _HEADER, where, "the name of a header: use letters, digits and - and _")


def _value(raw: Any, where: str, name: str) -> str:
    """Check a header's value. A line break in it would begin another header."""
    text = parse_text(raw, "%s.%s" % (where, name))
    if not text or len(text) > _LONGEST_VALUE or any(ord(character) < ord(" ") for character in text):
        raise InputError(
            "%s.%s is not the value of a header: one line, of 1 to %d characters" % (where, name, _LONGEST_VALUE)
        )
    return text


def _regex(raw: Any, where: str) -> str:
    """Check a regular expression. Its dialect depends on the controller."""
    if not isinstance(raw, str) or not raw:
        raise InputError("%s %s is not a regular expression: write it in quotes" % (where, raw))
    return raw
