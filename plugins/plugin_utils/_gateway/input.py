# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared Gateways and the options of their controller, checked and normalised.

The rules are those of gateway.networking.k8s.io/v1 and of the two controllers. For a broken rule, the API server's
message shows only a regular expression, and a controller reports it only in the status of the changed Gateway.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list, parse_number, value_or
from ...module_utils._k8s import values
from .._common.hostnames import parse_hostname

# The port on which Traefik answers the kubelet's probes.
TRAEFIK_PORT = 9000
# Ports that the controller itself uses in the pods that serve the listeners.
RESERVED = {
    "nginx": {8081: "answers the kubelet", 9113: "shows its metrics"},
    "traefik": {TRAEFIK_PORT: "answers the kubelet"},
}
# The default release and namespace of each controller.
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
    """A listener of a Gateway."""

    where: str  # its name in messages
    name: str
    protocol: str  # HTTP | HTTPS
    port: int
    hostname: str  # empty: any
    secret: str  # the name of the Secret with the certificate, also if it is made from files
    files: Files | None
    routes: dict[str, Any]  # the namespaces of routes that may attach, in Kubernetes's format


class Gateway(NamedTuple):
    """A declared Gateway and its requested addresses."""

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
    """The options of the controller."""

    prefix: str  # of option names in messages
    controller: str  # nginx | traefik
    version: str
    gateway_class: str
    namespace: str
    replicas: int  # of the pods that forward requests


def parse_options(raw: Mapping[str, Any]) -> Options:
    """Check the module's options for the controller, and fill in the defaults that depend on the controller."""
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

    controller -- nginx | traefik
    namespace -- the default namespace of Gateways
    prefix -- prefix of option names in messages
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
    """The name of the Secret, and the certificate's files. With files, the name begins with `made`."""
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
    """The namespaces of the routes that may attach."""
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
    """Refuse listeners that share a port if a connection does not tell which one is meant."""
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
    """Refuse Gateways that Traefik cannot serve together, because all share its ports and its one address."""
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
