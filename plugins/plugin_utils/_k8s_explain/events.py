# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of a cluster in chronological order, in both of their formats.

Older ones have `lastTimestamp` and `count`; newer ones have `eventTime` and, if they repeat, `series`.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ...module_utils._common.printable import printable
from .times import Moment, parse_time, spoken_time


def in_order(events: Sequence[Mapping[str, Any]], kind: str = "", name: str = "") -> list[dict[str, Any]]:
    """The events in a readable form, the newest last.

    kind, name -- only events of this object; the kind may be plural
    """
    ordered = sorted(
        (event for event in events if _about(event.get("involvedObject") or {}, kind, name)),
        key=lambda event: (last_seen(event), str((event.get("metadata") or {}).get("name"))),
    )
    return [_event(event) for event in ordered]


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    thing, series = event.get("involvedObject") or {}, event.get("series") or {}
    source = event.get("source") or {}
    texts = {
        "type": event.get("type"),
        "reason": event.get("reason"),
        "kind": thing.get("kind"),
        "namespace": thing.get("namespace"),
        "name": thing.get("name"),
        "message": " ".join(str(event.get("message") or "").split()),
        "source": event.get("reportingComponent") or source.get("component"),
    }
    said = {key: printable(str(value or "")) for key, value in texts.items()}
    whole = "/".join(part for part in (said["namespace"], said["name"]) if part)
    return {
        **said,
        "object": "%s %s" % (said["kind"], whole),
        "last_seen": spoken_time(last_seen(event)),
        "count": int(series.get("count") or event.get("count") or 1),
    }


def last_seen(event: Mapping[str, Any]) -> Moment:
    """The time of the last occurrence, or else the time of creation."""
    candidates = (
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
        (event.get("metadata") or {}).get("creationTimestamp"),
    )
    moments = (parse_time(str(text)) for text in candidates if text)
    return next((moment for moment in moments if moment is not None), Moment(0, 0))


def _about(thing: Mapping[str, Any], kind: str, name: str) -> bool:
    singular = str(thing.get("kind")).lower()
    plurals = (singular + "s", singular + "es", singular[:-1] + "ies")
    return kind.lower() in ("", singular, *plurals) and name in ("", thing.get("name"))
