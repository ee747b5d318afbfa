# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare times in Kubernetes' format, RFC 3339 with any number of digits."""

from __future__ import annotations

import calendar
import re
import time
from typing import NamedTuple

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))\Z"
)


class Moment(NamedTuple):
    """Time since 1970, in UTC."""

    seconds: int
    nanoseconds: int


def parse_time(text: str) -> Moment | None:
    """Parse a time; None for other text. A node may use its own time zone."""
    found = _TIME.match(text)
    if not found:
        return None
    seconds = calendar.timegm((*(int(found.group(number)) for number in range(1, 7)), 0, 0, 0))
    if found.group("sign"):
        offset = 3600 * int(found.group("hours")) + 60 * int(found.group("minutes"))
        seconds -= offset if found.group("sign") == "+" else -offset
    return Moment(seconds, int((found.group(7) or "0").ljust(9, "0")))


def spoken_time(moment: Moment) -> str:
    """A readable time, to the second, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment.seconds))
