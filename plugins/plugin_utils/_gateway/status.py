# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Gateways work, and why not, according to the conditions that their controller sets."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Sequence

from ...module_utils._common.printable import printable

# Conditions that are faults if they are true.
_BAD = ("Conflicted",)


def addresses(gateways: Sequence[Mapping[str, Any]], expected: Iterable[str]) -> dict[str, list[str]]:
    """The addresses of the expected Gateways, by namespace/name."""
    keys = set(expected)
    return {_key(entry): _addresses(entry) for entry in gateways if _key(entry) in keys}


def waiting(
    gateways: Sequence[Mapping[str, Any]], expected: Mapping[str, Sequence[str]], gateway_class: str
) -> list[str]:
    """Sentences about each Gateway that does not work as declared; empty if all work.

    gateways -- the Gateways of the cluster
    expected -- the addresses that a Gateway must have, by namespace/name; empty: any
    """
    found = {_key(entry): entry for entry in gateways}
    lines = []
    for key, wanted in expected.items():
        if key not in found:
            lines.append("Gateway %s is not in the cluster" % key)
        else:
            lines += ["Gateway %s: %s" % (key, why) for why in _faults(found[key], wanted, gateway_class)]
    return [printable(line) for line in lines]


def _faults(gateway: Mapping[str, Any], wanted: Sequence[str], gateway_class: str) -> Iterator[str]:
    status = gateway.get("status") or {}
    conditions = {entry["type"]: entry for entry in status.get("conditions") or []}
    programmed = conditions.get("Programmed")
    if not _current(gateway, conditions.values()):
        yield "no controller has taken it up: see that the controller of GatewayClass %s runs" % gateway_class
        return
    if programmed is None or programmed["status"] != "True":
        told = [_told(entry) for entry in conditions.values() if _is_bad(entry)]
        yield from told or ["it is not Programmed, and its controller does not say why"]
        for listener in status.get("listeners") or []:
            for entry in listener.get("conditions") or []:
                if _is_bad(entry):
                    yield "listener %s: %s" % (listener["name"], _told(entry))
        return
    found = _addresses(gateway)
    if not found:
        yield "it has no address"
    elif wanted and sorted(wanted) != sorted(found):
        yield "it has the address %s, and not %s" % (", ".join(found), ", ".join(wanted))


def _current(gateway: Mapping[str, Any], conditions: Any) -> bool:
    """Whether a controller has evaluated the current generation. The initial Unknown comes from Kubernetes itself."""
    generation = gateway["metadata"].get("generation", 0)
    return any(
        entry["status"] != "Unknown" and entry.get("observedGeneration", generation) >= generation
        for entry in conditions
    )


def _is_bad(condition: Mapping[str, Any]) -> bool:
    return bool((condition["status"] == "True") == (condition["type"] in _BAD))


def _told(condition: Mapping[str, Any]) -> str:
    return "%s is %s (%s): %s" % (
        condition["type"],
        condition["status"],
        condition.get("reason", ""),
        condition.get("message", ""),
    )


def _addresses(gateway: Mapping[str, Any]) -> list[str]:
    return [str(entry["value"]) for entry in (gateway.get("status") or {}).get("addresses") or []]


def _key(gateway: Mapping[str, Any]) -> str:
    return "%s/%s" % (gateway["metadata"]["namespace"], gateway["metadata"]["name"])
