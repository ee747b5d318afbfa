# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of values in options. `where` is the name of the place in messages."""

from __future__ import annotations

import re
from typing import Any, Mapping

from .errors import InputError

# Not str.isdigit(), which accepts characters that int() rejects, such as a superscript two.
DIGITS = re.compile(r"[0-9]{1,10}\Z")


def parse_list(raw: Any, where: str) -> list[Any]:
    """Check that the value is a list."""
    if not isinstance(raw, (list, tuple)):
        raise InputError("%s must be a list, not %s" % (where, type(raw).__name__))
    return list(raw)


def value_or(raw: Mapping[str, Any], key: str, default: Any) -> Any:
    """The value of an optional key; null means left out. An empty text, false and 0 are ordinary values."""
    value = raw.get(key)
    return default if value is None else value


def check_keys(raw: Any, known: tuple[str, ...], required: tuple[str, ...], where: str) -> None:
    """Check that the value is a mapping with the required keys and no unknown ones."""
    if not isinstance(raw, dict):
        raise InputError("%s must be a mapping with the keys %s" % (where, ", ".join(known)))
    for key in raw:
        if key not in known:
            raise InputError("%s.%s is not a known key: the keys are %s" % (where, key, ", ".join(known)))
    for key in required:
        if raw.get(key) is None:
            raise InputError("%s.%s is missing" % (where, key))


def parse_number(raw: Any, low: int, high: int, where: str, what: str = "a number") -> int:
    """Check a whole number; `what` is its name in messages."""
    # Jinja may pass a number as text.
    number = int(raw) if isinstance(raw, str) and DIGITS.match(raw) else raw
    # To Python a boolean is an int, but here it is never meant as a number.
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        raise InputError("%s %s is not %s from %d to %d" % (where, raw, what, low, high))
    return number


def check_within(value: float, low: float, high: float, where: str) -> None:
    """Check a value of type int or float."""
    if not low <= value <= high:
        raise InputError("%s %g is not a number from %g to %g" % (where, value, low, high))


def parse_boolean(raw: Any, where: str) -> bool:
    """Check a boolean. None is false."""
    if raw is None or isinstance(raw, bool):
        return bool(raw)
    raise InputError("%s %s is neither true nor false" % (where, raw))
