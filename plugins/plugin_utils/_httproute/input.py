# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared routes, checked and converted to the format of HTTPRoutes (sigs.k8s.io/gateway-api, apis/v1).

Everything here is pure. `cluster` compares them with Gateways and Services.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list, parse_number, value_or
from ...module_utils._k8s.values import parse_label, parse_name, parse_subdomain
from .._common.hostnames import parse_hostname
from .values import parse_header_changes, parse_header_matches, parse_methods, parse_path_match, parse_url_path

ROUTE_KEYS = ("name", "namespace", "gateways", "hostnames", "rules")
GATEWAY_KEYS = ("name", "namespace", "listener")
RULE_KEYS = (
    "paths", "headers", "methods", "backends", "redirect", "rewrite", "request_headers", "response_headers", "timeout",
)  # fmt: skip
BACKEND_KEYS = ("service", "namespace", "port", "weight")
REDIRECT_KEYS = ("scheme", "hostname", "port", "path", "prefix", "status")
REWRITE_KEYS = ("hostname", "path", "prefix")
SCHEMES = ("http", "https")
STATUSES = (301, 302)
MOST_WEIGHT = 1000000
MOST_SECONDS = 86400

# The features in the status of a GatewayClass that stand for parts of a rule. The other parts are core.
FEATURES = {
    "methods": "HTTPRouteMethodMatching",
    "redirect.scheme": "HTTPRouteSchemeRedirect",
    "redirect.port": "HTTPRoutePortRedirect",
    "redirect.path": "HTTPRoutePathRedirect",
    "redirect.prefix": "HTTPRoutePathRedirect",
    "rewrite.hostname": "HTTPRouteHostRewrite",
    "rewrite.path": "HTTPRoutePathRewrite",
    "rewrite.prefix": "HTTPRoutePathRewrite",
    "response_headers": "HTTPRouteResponseHeaderModification",
    "timeout": "HTTPRouteRequestTimeout",
}


class GatewayRef(NamedTuple):
    """A Gateway, or one of its listeners, that should serve a route."""

    where: str  # its name in messages
    namespace: str
    name: str
    listener: str  # empty: all listeners that accept the route


class Backend(NamedTuple):
    """A port of a Service."""

    where: str
    namespace: str
    service: str
    port: int


class Rule(NamedTuple):
    """A checked rule: which requests it matches, and how they are handled."""

    where: str
    spec: dict[str, Any]  # in the format of the HTTPRoute
    backends: list[Backend]
    features: list[tuple[str, str]]  # that the controller must support, each after its place in messages
    scheme: str  # the target of a redirect that changes only the scheme; empty: there is no such redirect


class Route(NamedTuple):
    """A checked route."""

    where: str
    namespace: str
    name: str
    gateways: list[GatewayRef]
    hostnames: list[str]
    rules: list[Rule]


def parse_routes(raw: Any, where: str = "routes") -> list[Route]:
    """Check the declared routes; `where` is the list's name in messages.

    Raises InputError, which names the first wrong entry.
    """
    routes: list[Route] = []
    for index, entry in enumerate(parse_list(raw, where)):
        route = _route(entry, "%s[%d]" % (where, index))
        for other in routes:
            if (route.namespace, route.name) == (other.namespace, other.name):
                raise InputError("%s.name %s is already that of %s" % (route.where, route.name, other.where))
        routes.append(route)
    return routes


def route_spec(route: Route) -> dict[str, Any]:
    """The spec of the HTTPRoute."""
    parents = [
        {"namespace": ref.namespace, "name": ref.name, **({"sectionName": ref.listener} if ref.listener else {})}
        for ref in route.gateways
    ]
    return _filled(parentRefs=parents, hostnames=route.hostnames, rules=[rule.spec for rule in route.rules])


def _route(raw: Any, where: str) -> Route:
    check_keys(raw, ROUTE_KEYS, ("name", "gateways", "rules"), where)
    namespace = parse_label(value_or(raw, "namespace", "default"), where + ".namespace")
    hostnames = [
        parse_hostname(entry, "%s.hostnames[%d]" % (where, index), wildcard=True)
        for index, entry in enumerate(parse_list(value_or(raw, "hostnames", []), where + ".hostnames"))
    ]
    for index, hostname in enumerate(hostnames):
        if hostname in hostnames[:index]:
            raise InputError("%s.hostnames[%d] %s is there twice" % (where, index, hostname))
    rules = _entries(raw["rules"], where + ".rules", "give at least one, such as {backends: [web]}")
    return Route(
        where,
        namespace,
        parse_subdomain(raw["name"], where + ".name"),
        _gateways(raw["gateways"], namespace, where + ".gateways"),
        hostnames,
        [_rule(entry, namespace, place) for place, entry in rules],
    )


def _gateways(raw: Any, namespace: str, where: str) -> list[GatewayRef]:
    refs: list[GatewayRef] = []
    for place, entry in _entries(raw, where, "name the Gateway that is to serve the route"):
        given = entry if isinstance(entry, dict) else {"name": entry}
        check_keys(given, GATEWAY_KEYS, ("name",), place)
        ref = GatewayRef(
            place,
            parse_label(value_or(given, "namespace", namespace), place + ".namespace"),
            parse_subdomain(given["name"], place + ".name"),
            "" if given.get("listener") is None else parse_subdomain(given["listener"], place + ".listener"),
        )
        for other in refs:
            same = (ref.namespace, ref.name) == (other.namespace, other.name)
            if same and (not ref.listener or not other.listener or ref.listener == other.listener):
                raise InputError(
                    "%s names the Gateway of %s again: give each another listener, or name it once"
                    % (place, other.where)
                )
        refs.append(ref)
    return refs


def _rule(raw: Any, namespace: str, where: str) -> Rule:
    check_keys(raw, RULE_KEYS, (), where)
    given = {key: _without_nulls(value) if key in ("redirect", "rewrite") else value for key, value in raw.items()}
    given = {key: value for key, value in given.items() if value is not None and value != _EMPTY.get(key)}
    made = {key: parse(given[key], "%s.%s" % (where, key)) for key, parse in _PARSERS.items() if key in given}
    backends, refs = _backends(given.get("backends", []), namespace, where + ".backends")
    _refuse_what_does_not_fit(given, where)
    filters = [{"type": kind, field: made[key]} for key, kind, field in _FILTERS if made.get(key)]
    spec = _filled(
        matches=_matches(made),
        filters=filters,
        backendRefs=refs,
        timeouts={"request": "%ds" % made["timeout"]} if "timeout" in made else {},
    )
    return Rule(where, spec, backends, _features(given, where), _only_scheme(given))


def _matches(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The matches: each path combined with each method and with all headers."""
    return [
        match
        for path in made.get("paths") or [None]
        for method in made.get("methods") or [None]
        for match in [_filled(path=path, method=method, headers=made.get("headers"))]
        if match
    ]


def _backends(raw: Any, namespace: str, where: str) -> tuple[list[Backend], list[dict[str, Any]]]:
    """The backends, and the same in the format of the HTTPRoute."""
    backends: list[Backend] = []
    refs: list[dict[str, Any]] = []
    for index, entry in enumerate(parse_list(raw, where)):
        place = "%s[%d]" % (where, index)
        given = {"service": entry} if isinstance(entry, str) else entry
        check_keys(given, BACKEND_KEYS, ("service",), place)
        values = {key: value for key, value in given.items() if value is not None}
        backend = Backend(
            place,
            parse_label(values.get("namespace", namespace), place + ".namespace"),
            parse_name(values["service"], place + ".service"),
            parse_number(values.get("port", 80), 1, 65535, place + ".port", "a port"),
        )
        weight = parse_number(values.get("weight", 1), 0, MOST_WEIGHT, place + ".weight")
        ref = {"name": backend.service, "port": backend.port, "weight": weight}
        backends.append(backend)
        refs.append({**ref, "namespace": backend.namespace} if backend.namespace != namespace else ref)
    if refs and not any(ref["weight"] for ref in refs):
        raise InputError("%s have all the weight 0: no request would be answered" % where)
    return backends, refs


def _refuse_what_does_not_fit(given: Mapping[str, Any], where: str) -> None:
    """Refuse parts of a rule that are valid alone, but not in combination."""
    if "redirect" in given:
        for key in ("backends", "rewrite", "timeout"):
            if key in given:
                raise InputError(
                    "%s has redirect and %s: a redirect reaches no Service, give one of them" % (where, key)
                )
    elif "backends" not in given:
        raise InputError("%s has neither backends nor redirect: say what becomes of its requests" % where)
    paths = given.get("paths") or []
    one_prefix = len(paths) == 1 and (not isinstance(paths[0], dict) or "prefix" in paths[0])
    for key in ("redirect", "rewrite"):
        if "prefix" in (given.get(key) or {}) and not (one_prefix and len(given.get("methods") or []) < 2):
            raise InputError(
                "%s.%s.prefix replaces the prefix of the rule's path: give exactly one path, a prefix, and one method "
                "at most" % (where, key)
            )


def _only_scheme(given: Mapping[str, Any]) -> str:
    """The scheme of a redirect that changes only the scheme.

    Empty if the rule has headers, because the redirected request may have different ones and not match again.
    """
    redirect = given.get("redirect") or {}
    return "" if set(redirect) - {"scheme", "status"} or "headers" in given else str(redirect.get("scheme", ""))


def _features(given: Mapping[str, Any], where: str) -> list[tuple[str, str]]:
    found = []
    for path, feature in FEATURES.items():
        key, dot, part = path.partition(".")
        if key in given and (not dot or part in given[key]):
            found.append(("%s.%s" % (where, path), feature))
    return found


def _redirect(raw: Any, where: str) -> dict[str, Any]:
    check_keys(raw, REDIRECT_KEYS, (), where)
    made = _rewrite({key: raw[key] for key in REWRITE_KEYS if key in raw}, where)
    for key, choices in (("scheme", SCHEMES), ("status", STATUSES)):
        if raw.get(key) is not None and raw[key] not in choices:
            raise InputError("%s.%s %s is not one of %s" % (where, key, raw[key], ", ".join(map(str, choices))))
    if raw.get("port") is not None:
        made["port"] = parse_number(raw["port"], 1, 65535, where + ".port", "a port")
    made.update(_filled(scheme=raw.get("scheme")))
    if not made:
        raise InputError("%s leads to where the request came from: give one of %s" % (where, ", ".join(REDIRECT_KEYS)))
    return {**made, "statusCode": raw.get("status") or 302}


def _rewrite(raw: Any, where: str) -> dict[str, Any]:
    """The changes of host name and path, which a redirect and a rewrite have in common."""
    check_keys(raw, REWRITE_KEYS, (), where)
    made: dict[str, Any] = {}
    if raw.get("hostname") is not None:
        made["hostname"] = parse_hostname(raw["hostname"], where + ".hostname")
    if raw.get("path") is not None and raw.get("prefix") is not None:
        raise InputError("%s has path and prefix: give one of them" % where)
    for key, field in (("path", "replaceFullPath"), ("prefix", "replacePrefixMatch")):
        if raw.get(key) is not None:
            path = parse_url_path(raw[key], "%s.%s" % (where, key))
            made["path"] = {"type": field[0].upper() + field[1:], field: path}
    return made


def _timeout(raw: Any, where: str) -> int:
    return parse_number(raw, 1, MOST_SECONDS, where, "a number of seconds")


def _paths(raw: Any, where: str) -> list[dict[str, str]]:
    return [parse_path_match(entry, "%s[%d]" % (where, index)) for index, entry in enumerate(parse_list(raw, where))]


def _entries(raw: Any, where: str, remedy: str) -> list[tuple[str, Any]]:
    """The entries of a list that must not be empty, each after its name in messages."""
    entries = [("%s[%d]" % (where, index), entry) for index, entry in enumerate(parse_list(raw, where))]
    if not entries:
        raise InputError("%s is empty: %s" % (where, remedy))
    return entries


def _without_nulls(raw: Any) -> Any:
    return {key: value for key, value in raw.items() if value is not None} if isinstance(raw, dict) else raw


def _filled(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


_PARSERS: dict[str, Callable[[Any, str], Any]] = {
    "paths": _paths,
    "headers": parse_header_matches,
    "methods": parse_methods,
    "redirect": _redirect,
    "rewrite": _rewrite,
    "request_headers": parse_header_changes,
    "response_headers": parse_header_changes,
    "timeout": _timeout,
}
# An empty part of a rule counts as left out.
_EMPTY: dict[str, Any] = {
    "paths": [],
    "headers": {},
    "methods": [],
    "backends": [],
    "redirect": {},
    "rewrite": {},
    "request_headers": {},
    "response_headers": {},
}
# In the order of the filters in the rule.
_FILTERS = (
    ("request_headers", "RequestHeaderModifier", "requestHeaderModifier"),
    ("response_headers", "ResponseHeaderModifier", "responseHeaderModifier"),
    ("redirect", "RequestRedirect", "requestRedirect"),
    ("rewrite", "URLRewrite", "urlRewrite"),
)
