# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs of many containers as one text, in order of time.

Pods write what they like, so each line passes `printable`.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_time import Moment, parse_time
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable

# The most that is read of a container's log: one line of it may be as long as its program likes.
MAX_BYTES = 4 * 1024 * 1024

_SINCE = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?\Z")
_UNITS = (86400, 3600, 60, 1)
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


class Line(NamedTuple):
    """A line of a log."""

    at: Moment
    text: str


def parse_since(raw: str, where: str) -> int:
    """Seconds, of a text such as 90, 90s, 10m, 1h30m or 2d; 0 for an empty one."""
    found = _SINCE.match(raw)
    if not found or (raw and not found.group()):
        raise InputError("%s %s is not a span of time: write it like 90s, 10m, 1h30m or 2d" % (where, raw))
    return sum(int(number) * unit for number, unit in zip(found.groups("0"), _UNITS))


def containers_of(pod: Mapping[str, Any], wanted: str = "") -> list[str]:
    """The names of a pod's containers, those that come first at the head; or the one that is wanted, if it is there."""
    spec = pod.get("spec") or {}
    names = [str(container["name"]) for key in _CONTAINERS for container in spec.get(key) or []]
    return [name for name in names if wanted in ("", name)]


def query_of(container: str, since: int, tail: int, previous: bool) -> list[tuple[str, Any]]:
    """The parameters of a request for a log. The time of each line is needed to put those of several in order."""
    query: list[tuple[str, Any]] = [("container", container), ("timestamps", "true"), ("limitBytes", MAX_BYTES)]
    if since:
        query.append(("sinceSeconds", since))
    if tail >= 0:
        query.append(("tailLines", tail))
    if previous:
        query.append(("previous", "true"))
    return query


def parse_log(data: bytes) -> list[Line]:
    """The lines of a log that was asked for with the time of each."""
    lines: list[Line] = []
    at = Moment(0, 0)
    for raw in data.decode("utf-8", "replace").split("\n"):
        stamp, dummy, text = raw.partition(" ")
        moment = parse_time(stamp)
        if moment is None:
            # What the kubelet itself says has no time: it stays where it is.
            moment, text = at, raw
        # A clock that is set back does not change the order in which a program wrote.
        at = max(at, moment)
        lines.append(Line(at, printable(text.rstrip("\r").expandtabs()).rstrip()))
    if lines and not data.endswith(b"\n"):
        return lines if lines[-1].text else lines[:-1]
    return lines[:-1]


def merged(logs: Sequence[tuple[str, Sequence[Line]]]) -> str:
    """All lines in order of time, each behind the name of its log, which are set in one column."""
    width = max((len(name) for name, lines in logs if lines), default=0)
    entries = [
        (line.at, number, place, name, line.text)
        for number, (name, lines) in enumerate(logs)
        for place, line in enumerate(lines)
    ]
    return "\n".join(("%s | %s" % (entry[3].ljust(width), entry[4])).rstrip() for entry in sorted(entries))


def full_names(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the logs are called: pod/container, with the namespace before it where there are several."""
    several = len({log["namespace"] for log in logs}) > 1
    keys = ("namespace", "pod", "container") if several else ("pod", "container")
    return [printable("/".join(str(log[key]) for key in keys)) for log in logs]
