# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site: applications, the host names at which Gateways serve them, and the resulting input of the roles. Pure."""

from __future__ import annotations

import difflib
from typing import Any, Collection, Hashable, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list, parse_number, value_or
from ...module_utils._k8s.values import parse_label
from .._app.input import OPTIONS, App, Port, parse_app
from .._app.objects import app_objects
from .._common.hostnames import meet, parse_hostname
from .._common.objects import MANAGED_BY, MANAGER, PART_OF

_WHERE = "site_apps"
# The keys of an entry besides the options of app_manifest.
_OWN = ("name", "image", "hostnames", "http_port")
# The port that speaks HTTP, among several: it has one of these names, or else one of these numbers.
_HTTP_NAMES = ("http", "web")
_HTTP_PORTS = (80, 8080)
# This namespace exists in every cluster, and cannot be removed.
_DEFAULT = "default"


class Site(NamedTuple):
    """The declarations for the roles.

    objects -- for the role `app`: namespaces, followed by the objects in them
    routes -- for the role `httproute`
    urls -- the URLs that a client requests; a name that begins with `*.` has none
    verify_name -- a name that the zone must answer; empty for none
    notes -- the names that are not in the zone, and remedies
    """

    objects: list[dict[str, Any]]
    routes: list[dict[str, Any]]
    urls: list[str]
    verify_name: str
    notes: list[str]


class Entry(NamedTuple):
    """An application and its host names."""

    where: str
    app: App
    hostnames: list[str]
    http_port: int  # 0 without host names


def plan(
    apps: Any,
    gateways: Sequence[Mapping[str, Any]],
    namespace: str,
    part_of: str,
    *,
    zone: str = "",
    broken: Collection[str] = (),
) -> Site:
    """Check the applications, and return their site.

    gateways -- as declared for the role `gateway`; all of them serve all applications
    namespace -- the namespace of Gateways that name none
    part_of -- the name of this declaration, which identifies its undeclared objects later
    zone -- the DNS zone that serves the names; if empty, clients may request any name
    broken -- Deployments that do not work, as `Deployment NAMESPACE/NAME`: they get no route, and no request

    Raises InputError, which names the first wrong entry.
    """
    labels = {MANAGED_BY: MANAGER, PART_OF: parse_label(part_of, "site_part_of")}
    entries = [_parse(raw, "%s[%d]" % (_WHERE, at), part_of) for at, raw in enumerate(parse_list(apps, _WHERE))]
    _refuse_all_twins(entries)
    spaces = sorted({entry.app.namespace for entry in entries} - {_DEFAULT})
    parents = [{"name": one["name"], "namespace": one.get("namespace") or namespace} for one in gateways]
    zone = zone.lower().strip(".")
    served = [entry for entry in entries if "Deployment %s/%s" % (entry.app.namespace, entry.app.name) not in broken]
    names = [name for entry in served for name in entry.hostnames if name[0] != "*"]
    return Site(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name in spaces]
        + [made for entry in entries for made in app_objects(entry.app)],
        [_route(entry, parents) for entry in served if entry.hostnames],
        [url for name in names for url in _urls(name, gateways)],
        next((name for name in names if _within(name, zone)), ""),
        [note for entry in entries for note in _notes(entry, zone)],
    )


def _parse(raw: Any, where: str, part_of: str) -> Entry:
    check_keys(raw, (*_OWN, *OPTIONS), ("name", "image"), where)
    options = {key: value for key, value in raw.items() if key not in _OWN}
    labels = value_or(options, "labels", {})
    if isinstance(labels, dict):
        options["labels"] = {**labels, PART_OF: part_of}
    app = parse_app(raw.get("name"), raw.get("image"), options, where + ".")
    listed = parse_list(value_or(raw, "hostnames", []), where + ".hostnames")
    hostnames = [
        parse_hostname(name, "%s.hostnames[%d]" % (where, at), wildcard=True) for at, name in enumerate(listed)
    ]
    tcp = [port for port in app.ports if port.protocol == "tcp"]
    if hostnames and not tcp:
        raise InputError("%s.hostnames need a tcp port in %s.ports, which is what a Gateway talks to" % (where, where))
    wanted = raw.get("http_port")
    if hostnames or wanted is not None:
        return Entry(where, app, hostnames, _http_port(tcp, wanted, where))
    return Entry(where, app, hostnames, 0)


def _http_port(tcp: Sequence[Port], wanted: Any, where: str) -> int:
    """The port that receives a Gateway's requests for the host names."""
    listed = ", ".join(str(port.port) for port in tcp) or "none"
    if wanted is not None:
        number: int = parse_number(wanted, 1, 65535, where + ".http_port", "a port")
        if number not in [port.port for port in tcp]:
            raise InputError(
                "%s.http_port %d is not a tcp port of %s.ports, which has %s" % (where, number, where, listed)
            )
        return number
    by_name = {port.name: port.port for port in tcp}
    numbers = [port.port for port in tcp]
    found: list[int] = [
        *(by_name[name] for name in _HTTP_NAMES if name in by_name),
        *(number for number in _HTTP_PORTS if number in numbers),
        *(numbers if len(numbers) == 1 else ()),
    ]
    if not found:
        raise InputError(
            "%s.hostnames may mean each of the tcp ports %s of %s.ports: set %s.http_port to the one that speaks HTTP, "
            "or name it http" % (where, listed, where, where)
        )
    return found[0]


def _within(name: str, zone: str) -> bool:
    return not zone or name in (zone, "*." + zone) or name.endswith("." + zone)


def _notes(entry: Entry, zone: str) -> Iterator[str]:
    """The host names of an application that are not in the zone, and remedies."""
    for at, name in enumerate(entry.hostnames):
        if not _within(name, zone):
            near = _nearest(name, zone)
            yield (
                "%s.hostnames[%d] %s is not in the zone %s (coredns_zone_name), which does not answer it: %shave the "
                "DNS of its own zone give it the address of the Gateway"
                % (entry.where, at, name, zone, "did you mean %s? Otherwise " % near if near else "")
            )


def _nearest(name: str, zone: str) -> str:
    """The name in the zone that a misspelt name probably means, or an empty text."""
    if "." not in name:
        return "%s.%s" % (name, zone)
    labels, size = name.split("."), zone.count(".") + 1
    tail = ".".join(labels[-size:])
    near = difflib.SequenceMatcher(None, tail, zone).ratio() >= 0.8  # k8s.lcoal has 0.89, k8s.lan 0.75
    return ".".join([*labels[:-size], zone]) if near else ""


def _refuse_all_twins(entries: Sequence[Entry]) -> None:
    _refuse_twins(((entry.app.namespace, entry.app.name), entry.where + ".name") for entry in entries)
    _refuse_twins(
        (name, "%s.hostnames[%d]" % (entry.where, at)) for entry in entries for at, name in enumerate(entry.hostnames)
    )
    # A claim or ConfigMap is named after its application and its volume, so web-conf may come from either.
    _refuse_twins(
        ((made["kind"], made["metadata"]["namespace"], made["metadata"]["name"]), entry.where)
        for entry in entries
        for made in app_objects(entry.app)
    )


def _refuse_twins(named: Iterable[tuple[Hashable, str]]) -> None:
    first: dict[Hashable, str] = {}
    for name, where in named:
        if name in first:
            shown = "/".join(name) if isinstance(name, tuple) else name
            raise InputError("%s: %s is already that of %s" % (where, shown, first[name]))
        first[name] = where


def _route(entry: Entry, parents: list[dict[str, str]]) -> dict[str, Any]:
    """The route of all requests for the host names to one port of the application."""
    return {
        "name": entry.app.name,
        "namespace": entry.app.namespace,
        "gateways": parents,
        "hostnames": entry.hostnames,
        "rules": [{"backends": [{"service": entry.app.name, "port": entry.http_port}]}],
    }


def _urls(name: str, gateways: Sequence[Mapping[str, Any]]) -> list[str]:
    """The URLs of a host name: the first matching listener for HTTP, and the first for HTTPS."""
    listeners = [one for gateway in gateways for one in gateway.get("listeners") or []] or [{}]
    found: dict[str, str] = {}
    for scheme, usual in (("http", 80), ("https", 443)):
        for one in listeners:
            if (one.get("protocol") or "HTTP").lower() == scheme and meet(one.get("hostname") or "", name):
                port = int(one.get("port") or usual)
                found.setdefault(scheme, "%s://%s%s/" % (scheme, name, "" if port == usual else ":%d" % port))
    return list(found.values())
