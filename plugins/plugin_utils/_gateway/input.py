# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways of the Gateway API and their controller: what a user may declare, checked and brought to one spelling.

The rules are those of gateway.networking.k8s.io/v1, of which the API server tells the broken one only by a regular
expression, and those of the two controllers, which would tell it in the status of a Gateway that is changed already.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list, parse_number, value_or
from ...module_utils._k8s import values
from .._common.hostnames import parse_hostname

# Where Traefik answers the kubelet.
TRAEFIK_PORT = 9000
# Ports of a controller's own in the pods that serve the listeners.
RESERVED = {
    "nginx": {8081: "answers the kubelet", 9113: "shows its metrics"},
    "traefik": {TRAEFIK_PORT: "answers the kubelet"},
}
# The release of each controller that this project knows, and the namespace that it is in.
DEFAULTS = {
    "nginx": {"version": "2.1.4", "namespace": "nginx-gateway"},
    "traefik": {"version": "3.6.12", "namespace": "traefik"},
}
_GATEWAY = ("name", "namespace", "listeners", "address", "labels", "annotations")
_LISTENER = ("name", "protocol", "port", "hostname", "tls", "from", "selector")
_TLS = ("secret", "certificate_file", "key_file")


class Files(NamedTuple):
    """Paths of a certificate and its key on the control node."""

    certificate: str
    key: str


class Listener(NamedTuple):
    """Where a Gateway takes connections."""

    where: str  # how messages call it
    name: str
    protocol: str  # HTTP | HTTPS
    port: int
    hostname: str  # empty: any
    secret: str  # of the certificate, also where it comes from files
    files: Files | None
    routes: dict[str, Any]  # from which namespaces, as Kubernetes has it


class Gateway(NamedTuple):
    """A Gateway and the addresses it is to have."""

    where: str
    name: str
    namespace: str
    listeners: list[Listener]
    addresses: list[str]  # empty: any
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def key(self) -> str:
        return "%s/%s" % (self.namespace, self.name)


class Options(NamedTuple):
    """What the user says of the controller."""

    prefix: str  # before the names of options, in messages
    controller: str  # nginx | traefik
    version: str
    gateway_class: str
    namespace: str
    replicas: int  # of what passes requests on


def parse_options(raw: Mapping[str, Any]) -> Options:
    """Check the options of the module that say what the controller is, and fill in those that depend on it."""
    prefix, controller = value_or(raw, "prefix", ""), value_or(raw, "controller", "nginx")
    default = DEFAULTS[controller]
    return Options(
        prefix,
        controller,
        value_or(raw, "version", default["version"]),
        values.parse_label(value_or(raw, "class", controller), prefix + "class"),
        values.parse_label(value_or(raw, "namespace", default["namespace"]), prefix + "namespace"),
        parse_number(value_or(raw, "replicas", 2), 1, 1000, prefix + "replicas"),
    )


def parse_gateways(raw: Any, controller: str, namespace: str, prefix: str = "") -> list[Gateway]:
    """Check declared Gateways.

    controller -- nginx or traefik
    namespace -- of Gateways that name none
    prefix -- before the names of options, in messages
    Raises InputError, which names the entry.
    """
    where = prefix + "gateways"
    gateways = [
        _gateway(entry, controller, namespace, "%s[%d]" % (where, index))
        for index, entry in enumerate(parse_list(raw, where))
    ]
    if not gateways:
        raise InputError(
            "%s is empty: declare a Gateway, or remove the controller by %sstate: absent" % (where, prefix)
        )
    _check_unique([(gateway.key, gateway.where) for gateway in gateways], "is declared twice, by %s as well")
    if controller == "traefik":
        _check_shared(gateways)
    return gateways


def _gateway(raw: Any, controller: str, namespace: str, where: str) -> Gateway:
    check_keys(raw, _GATEWAY, ("name", "listeners"), where)
    name = values.parse_name(raw["name"], where + ".name")
    listeners = [
        _listener(entry, controller, name, "%s.listeners[%d]" % (where, index))
        for index, entry in enumerate(parse_list(raw["listeners"], where + ".listeners"))
    ]
    if not listeners:
        raise InputError("%s.listeners is empty: a Gateway has one at least, such as {name: http, port: 80}" % where)
    _check_unique([(entry.name, entry.where + ".name") for entry in listeners], "is the name of %s, too")
    _check_ports(listeners)
    return Gateway(
        where,
        name,
        values.parse_label(value_or(raw, "namespace", namespace), where + ".namespace"),
        listeners,
        _addresses(value_or(raw, "address", []), where + ".address"),
        values.parse_labels(value_or(raw, "labels", {}), where + ".labels"),
        values.parse_annotations(value_or(raw, "annotations", {}), where + ".annotations"),
    )


def _listener(raw: Any, controller: str, gateway: str, where: str) -> Listener:
    check_keys(raw, _LISTENER, ("name", "port"), where)
    name = values.parse_label(raw["name"], where + ".name")
    protocol = value_or(raw, "protocol", "HTTP")
    if protocol not in ("HTTP", "HTTPS"):
        raise InputError("%s.protocol %s is neither HTTP nor HTTPS" % (where, protocol))
    port = parse_number(raw["port"], 1, 65535, where + ".port", "a port")
    if port in RESERVED[controller]:
        why = RESERVED[controller][port]
        raise InputError("%s.port %d cannot be served: %s %s there. Choose another" % (where, port, controller, why))
    secret, files = _tls(raw.get("tls"), protocol, "%s-%s" % (gateway, name), where + ".tls")
    hostname = raw.get("hostname")
    hostname = "" if hostname is None else parse_hostname(hostname, where + ".hostname", wildcard=True)
    return Listener(where, name, protocol, port, hostname, secret, files, _routes(raw, where))


def _tls(raw: Any, protocol: str, made: str, where: str) -> tuple[str, Files | None]:
    """The name of the Secret, which is `made` where the certificate comes from files, and those."""
    if protocol == "HTTP":
        if raw is not None:
            raise InputError("%s belongs to HTTPS: leave it out, or set protocol: HTTPS" % where)
        return "", None
    if not raw:
        raise InputError(
            "%s is missing: HTTPS needs {secret: NAME} or {certificate_file: PATH, key_file: PATH}" % where
        )
    check_keys(raw, _TLS, (), where)
    if raw.get("secret") is not None:
        if raw.get("certificate_file") is not None or raw.get("key_file") is not None:
            raise InputError("%s names a secret and files: leave one of them out" % where)
        return values.parse_subdomain(raw["secret"], where + ".secret"), None
    check_keys(raw, _TLS, ("certificate_file", "key_file"), where)
    for key in ("certificate_file", "key_file"):
        if not isinstance(raw[key], str) or not raw[key]:
            raise InputError("%s.%s %s is not the path of a file" % (where, key, raw[key]))
    return made + "-tls", Files(raw["certificate_file"], raw["key_file"])


def _routes(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Whose routes may attach."""
    source, selector = value_or(raw, "from", "same"), raw.get("selector")
    if source not in ("all", "same", "selector"):
        raise InputError("%s.from %s is none of all, same, selector" % (where, source))
    if (source == "selector") != (selector is not None) or selector == {}:
        raise InputError(
            "%s.selector and from: selector belong together: write {from: selector, selector: {matchLabels: {...}}}"
            % where
        )
    routes: dict[str, Any] = {"from": source.capitalize()}
    if selector is not None:
        routes["selector"] = values.parse_mapping(selector, where + ".selector")
    return routes


def _addresses(raw: Any, where: str) -> list[str]:
    found = []
    for text in [raw] if isinstance(raw, str) else parse_list(raw, where):
        try:
            found.append(ipaddress.ip_address(str(text)))
        except ValueError:
            raise InputError("%s %s is not an IP address" % (where, text)) from None
    if len({address.version for address in found}) != len(found):
        raise InputError("%s has two addresses of one family: a Gateway has one of each at most" % where)
    return [str(address) for address in found]


def _check_unique(found: Sequence[tuple[str, str]], what: str) -> None:
    seen: dict[str, str] = {}
    for key, where in found:
        if key in seen:
            raise InputError("%s %s %s" % (where, key, what % seen[key]))
        seen[key] = where


def _check_ports(listeners: Sequence[Listener]) -> None:
    """Of listeners that share a port, a connection must tell which one is meant."""
    _check_unique(
        [("%d of %s" % (entry.port, entry.hostname or "any host"), entry.where + ".port") for entry in listeners],
        "is served by %s, too: give one of them another hostname or port",
    )
    protocols: dict[int, Listener] = {}
    for entry in listeners:
        first = protocols.setdefault(entry.port, entry)
        if first.protocol != entry.protocol:
            raise InputError(
                "%s.port %d cannot be served: it is %s there and %s by %s. Choose another"
                % (entry.where, entry.port, entry.protocol, first.protocol, first.where)
            )


def _check_shared(gateways: Sequence[Gateway]) -> None:
    """Traefik serves all Gateways by the same ports and has one address."""
    protocols: dict[int, Listener] = {}
    fixed = [gateway for gateway in gateways if gateway.addresses]
    for gateway in gateways:
        for entry in gateway.listeners:
            first = protocols.setdefault(entry.port, entry)
            if first.protocol != entry.protocol:
                raise InputError(
                    "%s.port %d cannot be served: Traefik serves all Gateways by the same ports, and %s has %s there"
                    % (entry.where, entry.port, first.where, first.protocol)
                )
    for gateway in fixed:
        if gateway.addresses != fixed[0].addresses:
            raise InputError(
                "%s.address %s is not that of %s: Traefik has one address for all Gateways of a class. Set the same, "
                "or leave it out" % (gateway.where, ", ".join(gateway.addresses), fixed[0].where)
            )
