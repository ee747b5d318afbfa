# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site: applications, each with the host names at which Gateways serve it, and what that means to the roles. Pure."""

from __future__ import annotations

from typing import Any, Hashable, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._app import OPTIONS, App, parse_app
from ansible_collections.homelab.loadbalancer.plugins.module_utils._app_manifest import app_objects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._app_values import parse_label
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._httproute_values import parse_hostname
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import MANAGED_BY, MANAGER, PART_OF
from ansible_collections.homelab.loadbalancer.plugins.module_utils._values import check_keys, parse_list, value_or

_WHERE = "site_apps"
# What an entry has beside the options of app_manifest.
_OWN = ("name", "image", "hostnames")
# The namespace that every cluster has, and that cannot be removed.
_DEFAULT = "default"


class Site(NamedTuple):
    """What the roles are to declare.

    objects -- for the role `app`: namespaces, and after them what runs there
    routes -- for the role `httproute`
    urls -- what a client asks by name; names that begin with `*.` have none
    """

    objects: list[dict[str, Any]]
    routes: list[dict[str, Any]]
    urls: list[str]


class Entry(NamedTuple):
    """An application, and its names."""

    where: str
    app: App
    hostnames: list[str]


def plan(apps: Any, gateways: Sequence[Mapping[str, Any]], namespace: str, part_of: str) -> Site:
    """Check the applications, and say what they mean.

    gateways -- as the role `gateway` declares them; all of them serve all applications
    namespace -- that of Gateways that name none
    part_of -- the name of this declaration, by which objects that are declared no more are found

    Raises InputError that names the first wrong entry.
    """
    labels = {MANAGED_BY: MANAGER, PART_OF: parse_label(part_of, "site_part_of")}
    entries = [_parse(raw, "%s[%d]" % (_WHERE, at), part_of) for at, raw in enumerate(parse_list(apps, _WHERE))]
    _refuse_twins(((entry.app.namespace, entry.app.name), entry.where + ".name") for entry in entries)
    _refuse_twins(
        (name, "%s.hostnames[%d]" % (entry.where, at)) for entry in entries for at, name in enumerate(entry.hostnames)
    )
    # A claim or ConfigMap is called by its application and its volume: web-conf may be both.
    _refuse_twins(
        ((made["kind"], made["metadata"]["namespace"], made["metadata"]["name"]), entry.where)
        for entry in entries
        for made in app_objects(entry.app)
    )
    spaces = sorted({entry.app.namespace for entry in entries} - {_DEFAULT})
    parents = [{"name": one["name"], "namespace": one.get("namespace") or namespace} for one in gateways]
    suffix = _port(gateways)
    return Site(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name in spaces]
        + [made for entry in entries for made in app_objects(entry.app)],
        [_route(entry, parents) for entry in entries if entry.hostnames],
        ["http://%s%s/" % (name, suffix) for entry in entries for name in entry.hostnames if name[0] != "*"],
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
    if hostnames and not _tcp(app):
        raise InputError("%s.hostnames need a tcp port in %s.ports, which is what a Gateway talks to" % (where, where))
    return Entry(where, app, hostnames)


def _tcp(app: App) -> list[int]:
    return [port.port for port in app.ports if port.protocol == "tcp"]


def _refuse_twins(named: Iterable[tuple[Hashable, str]]) -> None:
    first: dict[Hashable, str] = {}
    for name, where in named:
        if name in first:
            shown = "/".join(name) if isinstance(name, tuple) else name
            raise InputError("%s: %s is already that of %s" % (where, shown, first[name]))
        first[name] = where


def _route(entry: Entry, parents: list[dict[str, str]]) -> dict[str, Any]:
    """All requests for the names go to the application's first tcp port."""
    return {
        "name": entry.app.name,
        "namespace": entry.app.namespace,
        "gateways": parents,
        "hostnames": entry.hostnames,
        "rules": [{"backends": [{"service": entry.app.name, "port": _tcp(entry.app)[0]}]}],
    }


def _port(gateways: Sequence[Mapping[str, Any]]) -> str:
    """The part of a URL for the first port that serves HTTP."""
    listeners = [one for gateway in gateways for one in gateway.get("listeners") or []]
    ports = [int(one.get("port") or 80) for one in listeners if one.get("protocol", "HTTP") == "HTTP"]
    return "" if (ports or [80])[0] == 80 else ":%d" % ports[0]
