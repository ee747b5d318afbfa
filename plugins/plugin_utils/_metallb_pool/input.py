# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the declaration of `metallb_pool`, and turn it into MetalLB's objects (API group metallb.io).

Everything here is pure. `effects` checks the declaration against other pools, nodes and Services. `prefix` is
always that of the variables' names in messages.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import Any, Callable, Mapping, NamedTuple

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_boolean, parse_list, parse_number, value_or
from .._common.objects import MANAGED_BY, MANAGER
from .ranges import Range, parse_range

LABELS = {MANAGED_BY: MANAGER}
LISTS = ("pools", "l2_advertisements", "bgp_advertisements", "bgp_peers", "communities")
SECRET_PREFIX = "bgp-peer-"  # noqa: S105 -- the name of an object
COMMUNITIES = "homelab-loadbalancer"  # the only Community object, with all communities

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
_COMMUNITY = re.compile(r"(\d{1,5}:\d{1,5}|large:\d{1,10}:\d{1,10}:\d{1,10})\Z", re.ASCII)
_SECONDS = 2**16 - 1

# Checks a value at a place in the declaration: `parse(raw, where)`.
Parse = Callable[[Any, str], Any]


class Field(NamedTuple):
    """One key of an entry, and the corresponding field of the object's spec."""

    key: str
    field: str  # nested fields have dots
    parse: Parse


class Pool(NamedTuple):
    """A pool with its ranges, each with its name for messages."""

    name: str
    ranges: tuple[tuple[str, Range], ...]


def parse_pools(raw: Any, prefix: str = "") -> list[Pool]:
    """Check the pools' names and ranges, and that no address is declared twice."""
    pools: list[Pool] = []
    seen: list[tuple[str, Range]] = []
    for place, entry in _entries(raw, prefix + "pools", POOL_FIELDS):
        ranges = []
        for index, text in enumerate(parse_list(entry.get("addresses"), place + ".addresses")):
            name = "%s.addresses[%d]" % (place, index)
            found = parse_range(text, name)
            for other, taken in seen:
                if found.overlaps(taken):
                    raise InputError("%s %s overlaps %s: an address is in one pool only" % (name, text, other))
            ranges.append(("%s %s" % (name, text), found))
            seen.append(ranges[-1])
        if not ranges:
            raise InputError("%s.addresses is empty: give at least one range" % place)
        pools.append(Pool(entry["name"], tuple(ranges)))
    return pools


def objects(declared: Mapping[str, Any], namespace: str, prefix: str = "") -> list[dict[str, Any]]:
    """The objects of a declaration, in the order of application.

    declared -- the lists in `LISTS`, by name
    namespace -- MetalLB's namespace
    Raises InputError, which names the entry.
    """
    parse_pools(declared["pools"], prefix)
    made = _communities(declared["communities"], namespace, prefix + "communities")
    made += _made("IPAddressPool", declared["pools"], POOL_FIELDS, namespace, prefix + "pools")
    for place, entry in _entries(declared["bgp_peers"], prefix + "bgp_peers", PEER_FIELDS):
        made += _secret(entry, place, namespace)
    made += _made("BGPPeer", declared["bgp_peers"], PEER_FIELDS, namespace, prefix + "bgp_peers")
    for kind, key, fields in (
        ("L2Advertisement", "l2_advertisements", L2_FIELDS),
        ("BGPAdvertisement", "bgp_advertisements", BGP_FIELDS),
    ):
        made += _made(kind, declared[key], fields, namespace, prefix + key)
    return made


def _made(kind: str, raw: Any, fields: tuple[Field, ...], namespace: str, where: str) -> list[dict[str, Any]]:
    result = []
    for place, entry in _entries(raw, where, fields):
        spec: dict[str, Any] = {}
        for known in fields:
            if entry.get(known.key) is not None:
                _put(spec, known.field, known.parse(entry[known.key], "%s.%s" % (place, known.key)))
        if kind == "BGPPeer":
            spec.update(_password(entry, place))
        version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
        result.append(_object("metallb.io/" + version, kind, entry["name"], namespace, spec=spec))
    return result


def _entries(raw: Any, where: str, fields: tuple[Field, ...]) -> list[tuple[str, dict[str, Any]]]:
    """The checked entries, each with its name for messages."""
    known = ("name", *(field.key for field in fields), *(EXTRA_KEYS if fields is PEER_FIELDS else ()))
    required = {POOL_FIELDS: ("name", "addresses"), PEER_FIELDS: ("name", "my_asn", "peer_asn", "address")}
    found: list[tuple[str, dict[str, Any]]] = []
    for index, entry in enumerate(parse_list(raw, where)):
        place = "%s[%d]" % (where, index)
        check_keys(entry, known, required.get(fields, ("name",)), place)
        _name(entry["name"], place + ".name")
        if entry["name"] in [other["name"] for dummy, other in found]:
            raise InputError("%s.name %s is there twice" % (place, entry["name"]))
        found.append((place, entry))
    return found


def _communities(raw: Any, namespace: str, where: str) -> list[dict[str, Any]]:
    """All communities in one object."""
    made: list[dict[str, str]] = []
    for index, entry in enumerate(parse_list(raw, where)):
        place = "%s[%d]" % (where, index)
        check_keys(entry, ("name", "value"), ("name", "value"), place)
        if not isinstance(entry["value"], str) or not _COMMUNITY.match(entry["value"]):
            raise InputError('%s.value %s is no community: write "65535:65281", in quotes' % (place, entry["value"]))
        if entry["name"] in [other["name"] for other in made]:
            raise InputError("%s.name %s is there twice" % (place, entry["name"]))
        made.append({"name": entry["name"], "value": entry["value"]})
    spec = {"communities": made}
    return [_object("metallb.io/v1beta1", "Community", COMMUNITIES, namespace, spec=spec)] if made else []


def _secret(entry: Mapping[str, Any], place: str, namespace: str) -> list[dict[str, Any]]:
    """The Secret of a peer's password."""
    if entry.get("password") is None:
        return []
    if entry.get("password_secret") is not None:
        raise InputError("%s has password and password_secret: give one of them" % place)
    # Not checked with isinstance: a value encrypted by Ansible Vault has its own class.
    if isinstance(entry["password"], (bool, int, float, dict, list)) or not str(entry["password"]):
        raise InputError("%s.password is not a text, or empty: leave it out for a peer without one" % place)
    # In `data`, because with `stringData` server-side apply loses track of the declared values.
    password = base64.b64encode(str(entry["password"]).encode()).decode()
    made = _object("v1", "Secret", _secret_name(entry), namespace, data={"password": password})
    return [{**made, "type": "kubernetes.io/basic-auth"}]


def _secret_name(entry: Mapping[str, Any]) -> str:
    return SECRET_PREFIX + str(entry["name"])


def _password(entry: Mapping[str, Any], place: str) -> dict[str, Any]:
    name = value_or(entry, "password_secret", None if entry.get("password") is None else _secret_name(entry))
    return {} if name is None else {"passwordSecret": {"name": _name(name, place + ".password_secret")}}


def _object(version: str, kind: str, name: str, namespace: str, **content: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": dict(LABELS)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _put(spec: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        spec = spec.setdefault(parent, {})
    spec[last] = value


def _name(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not _NAME.match(raw):
        raise InputError(
            "%s %s is no name of an object: lower-case letters, digits, - and ., at most 253" % (where, raw)
        )
    return raw


def _names(raw: Any, where: str) -> list[str]:
    return [_name(entry, "%s[%d]" % (where, index)) for index, entry in enumerate(parse_list(raw, where))]


def _texts(raw: Any, where: str) -> list[str]:
    for index, entry in enumerate(parse_list(raw, where)):
        if not isinstance(entry, str) or not entry:
            raise InputError("%s[%d] %s must be text: write it in quotes" % (where, index, entry))
    return list(raw)


def _selectors(raw: Any, where: str) -> list[dict[str, Any]]:
    """Label selectors in Kubernetes' format. The API server checks their content."""
    for index, entry in enumerate(parse_list(raw, where)):
        check_keys(entry, ("matchLabels", "matchExpressions"), (), "%s[%d]" % (where, index))
    return list(raw)


def _address(raw: Any, where: str) -> str:
    try:
        return str(ipaddress.ip_address(raw if isinstance(raw, str) else ""))
    except ValueError:
        raise InputError("%s %s is not an IP address" % (where, raw)) from None


def _number(low: int, high: int) -> Parse:
    return lambda raw, where: parse_number(raw, low, high, where)


def _hold_time(raw: Any, where: str) -> str:
    seconds = parse_number(raw, 0, _SECONDS, where, "a number of seconds")
    if seconds in (1, 2):
        raise InputError("%s %d is too short: BGP wants 0, which is none, or 3 seconds and more" % (where, seconds))
    return "%ds" % seconds


POOL_FIELDS = (
    Field("addresses", "addresses", _texts),
    Field("auto_assign", "autoAssign", parse_boolean),
    Field("avoid_buggy_ips", "avoidBuggyIPs", parse_boolean),
    Field("priority", "serviceAllocation.priority", _number(0, 2**31 - 1)),
    Field("namespaces", "serviceAllocation.namespaces", _names),
    Field("namespace_selectors", "serviceAllocation.namespaceSelectors", _selectors),
    Field("service_selectors", "serviceAllocation.serviceSelectors", _selectors),
)
L2_FIELDS = (
    Field("pools", "ipAddressPools", _names),
    Field("interfaces", "interfaces", _texts),
    Field("node_selectors", "nodeSelectors", _selectors),
)
BGP_FIELDS = (
    Field("pools", "ipAddressPools", _names),
    Field("peers", "peers", _names),
    Field("node_selectors", "nodeSelectors", _selectors),
    Field("communities", "communities", _texts),
    Field("local_pref", "localPref", _number(0, 2**32 - 1)),
    Field("aggregation_length", "aggregationLength", _number(1, 32)),
    Field("aggregation_length_v6", "aggregationLengthV6", _number(1, 128)),
)
PEER_FIELDS = (
    Field("my_asn", "myASN", _number(1, 2**32 - 1)),
    Field("peer_asn", "peerASN", _number(1, 2**32 - 1)),
    Field("address", "peerAddress", _address),
    Field("port", "peerPort", _number(1, 16384)),  # as in the BGPPeer's schema
    Field("source_address", "sourceAddress", _address),
    Field("router_id", "routerID", _address),
    Field("hold_time", "holdTime", _hold_time),
    Field("ebgp_multi_hop", "ebgpMultiHop", parse_boolean),
    Field("node_selectors", "nodeSelectors", _selectors),
)
EXTRA_KEYS = ("password", "password_secret")
