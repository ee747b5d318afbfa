# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs of many containers as one text, in chronological order.

Pods may write anything, so each line passes `printable`.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.printable import printable
from ...module_utils._k8s.transport import Request, Response
from .._k8s.server import RefusalError, Server, check
from .._k8s_explain.times import Moment, parse_time
from .kinds import TEXTS, refuse_missing_namespace

ARGUMENTS: dict[str, dict[str, Any]] = {
    "names": TEXTS,
    "label_selectors": TEXTS,
    "namespace": {"type": "str", "default": ""},
    "container": {"type": "str", "default": ""},
    "since": {"type": "str", "default": ""},
    "tail": {"type": "int", "default": 100},
    "previous": {"type": "bool", "default": False},
}

# The size limit for reading a container's log: one line may be arbitrarily long.
MAX_BYTES = 4 * 1024 * 1024

_SINCE = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?\Z")
_UNITS = (86400, 3600, 60, 1)
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


class Line(NamedTuple):
    """A line of a log."""

    at: Moment
    text: str


def read_logs(server: Server, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The logs of all selected containers, both separately and as one text."""
    # Ansible turns an empty text into a list of one empty text.
    texts = {key: [text for text in raw[key] if text] for key in ("names", "label_selectors")}
    options = {**raw, **texts}
    if bool(options["names"]) == bool(options["label_selectors"]):
        raise InputError("select the pods by their names or by their labels, not by both")
    if options["namespace"]:
        refuse_missing_namespace(server, options["namespace"], options["prefix"] + "namespace")
    since = parse_since(options["since"], options["prefix"] + "since")
    pods = _found_pods(server, options)
    wanted = [(pod["metadata"], name) for pod in pods for name in containers_of(pod, options["container"])]
    if pods and not wanted:
        there = sorted({name for pod in pods for name in containers_of(pod)})
        raise InputError("no pod has a container %s: they have %s" % (options["container"], ", ".join(there)))
    requests = [
        Request(
            "GET", _path(metadata) + "/log", query_of(name, since, options["tail"], options["previous"]), accept="*/*"
        )
        for metadata, name in wanted
    ]
    read = [_log_of(response) for response in server.exchange(requests)]
    found: list[dict[str, Any]] = [
        {
            "namespace": metadata["namespace"],
            "pod": metadata["name"],
            "container": name,
            "lines": [line.text for line in lines],
            "note": printable(note),
        }
        for (metadata, name), (lines, note) in zip(wanted, read)
    ]
    text = merged(list(zip(full_names(found), [lines for lines, dummy in read])))
    return {"changed": False, "logs": found, "text": text}


def _found_pods(server: Server, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The selected pods. Pods that are named must exist."""
    if not options["names"]:
        inside = "/namespaces/" + options["namespace"] if options["namespace"] else ""
        query = [("labelSelector", ",".join(options["label_selectors"]))]
        return list(server.ask(Request("GET", "/api/v1%s/pods" % inside, query))["items"])
    namespace = options["namespace"] or "default"
    requests = [Request("GET", _path({"namespace": namespace, "name": name})) for name in options["names"]]
    pods = []
    for name, response in zip(options["names"], server.exchange(requests)):
        if response.status == 404:
            raise InputError("there is no pod %s in the namespace %s" % (name, namespace))
        pods.append(check(response))
    return pods


def _path(metadata: Mapping[str, Any]) -> str:
    return "/api/v1/namespaces/%s/pods/%s" % (metadata["namespace"], metadata["name"])


def _log_of(response: Response) -> tuple[list[Line], str]:
    """The lines of a container's log, or the reason for none. The pod may be deleted while other logs are read."""
    try:
        return parse_log(str(check(response))), ""
    except RefusalError as error:
        if error.status not in (400, 404, 500):
            raise
        return [], str(error)


def parse_since(raw: str, where: str) -> int:
    """The seconds in a text such as 90, 90s, 10m, 1h30m or 2d; 0 for an empty one."""
    found = _SINCE.match(raw)
    if not found or (raw and not found.group()):
        raise InputError("%s %s is not a span of time: write it like 90s, 10m, 1h30m or 2d" % (where, raw))
    return sum(int(number) * unit for number, unit in zip(found.groups("0"), _UNITS))


def containers_of(pod: Mapping[str, Any], wanted: str = "") -> list[str]:
    """The names of a pod's containers, with init containers first; or only the wanted one, if the pod has it."""
    spec = pod.get("spec") or {}
    names = [str(container["name"]) for key in _CONTAINERS for container in spec.get(key) or []]
    return [name for name in names if wanted in ("", name)]


def query_of(container: str, since: int, tail: int, previous: bool) -> list[tuple[str, str]]:
    """The parameters of a request for a log. The lines' timestamps are needed to merge several logs."""
    query = [("container", container), ("timestamps", "true"), ("limitBytes", str(MAX_BYTES))]
    if since:
        query.append(("sinceSeconds", str(since)))
    if tail >= 0:
        query.append(("tailLines", str(tail)))
    if previous:
        query.append(("previous", "true"))
    return query


def parse_log(log: str) -> list[Line]:
    """The lines of a log that was requested with timestamps."""
    lines: list[Line] = []
    at = Moment(0, 0)
    for raw in log.split("\n"):
        stamp, dummy, text = raw.partition(" ")
        moment = parse_time(stamp)
        if moment is None:
            # The kubelet's own messages have no timestamp: they keep their place.
            moment, text = at, raw
        # The order of a program's lines is kept even if the clock is set back.
        at = max(at, moment)
        lines.append(Line(at, printable(text.rstrip("\r").expandtabs()).rstrip()))
    if lines and not log.endswith("\n"):
        return lines if lines[-1].text else lines[:-1]
    return lines[:-1]


def merged(logs: Sequence[tuple[str, Sequence[Line]]]) -> str:
    """All lines in chronological order; each begins with the name of its log, padded to one width."""
    width = max((len(name) for name, lines in logs if lines), default=0)
    entries = [
        (line.at, number, place, name, line.text)
        for number, (name, lines) in enumerate(logs)
        for place, line in enumerate(lines)
    ]
    return "\n".join(("%s | %s" % (entry[3].ljust(width), entry[4])).rstrip() for entry in sorted(entries))


def full_names(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the logs: pod/container, preceded by the namespace if there are several."""
    several = len({log["namespace"] for log in logs}) > 1
    keys = ("namespace", "pod", "container") if several else ("pod", "container")
    return [printable("/".join(str(log[key]) for key in keys)) for log in logs]
