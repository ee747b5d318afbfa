# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application model: the options of an application, checked and normalised.

It knows the rules of the Kubernetes API that can be checked without a cluster. `objects` makes objects of it.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list, parse_number, value_or
from ...module_utils._k8s.values import (
    ENVIRONMENT,
    PORT_NAME,
    parse_annotations,
    parse_files,
    parse_image,
    parse_label,
    parse_labels,
    parse_mapping,
    parse_name,
    parse_path,
    parse_pattern,
    parse_qualified,
    parse_quantity,
    parse_subdomain,
    parse_text,
    parse_texts,
)
from ...module_utils._services.model import PROTOCOLS, parse_address, parse_network, spoken
from .._common.objects import MANAGED_BY
from .volumes import Volume, parse_volumes

SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")
TRAFFIC_POLICIES = ("Cluster", "Local")
STRATEGIES = ("auto", "RollingUpdate", "Recreate")
# The label that identifies an application's objects and pods, in addition to the project's own label.
LABEL_NAME = "app.kubernetes.io/name"

PORT_KEYS = ("port", "target_port", "name", "protocol", "node_port")
PROBE_TYPES = ("tcp", "http", "exec", "none")
PROBE_KEYS = ("type", "port", "path", "command", "delay", "interval", "timeout", "retries")
RESOURCE_KEYS = ("requests", "limits")
SOURCE_KEYS = ("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef")


class Port(NamedTuple):
    """A port of the Service, and the port of its pods."""

    name: str
    port: int
    target: int
    protocol: str  # tcp | udp | sctp
    node_port: int  # 0: the cluster chooses one if the type of Service has node ports


class Probe(NamedTuple):
    """How the kubelet probes a container. None means Kubernetes's default."""

    type: str  # tcp | http | exec | none
    port: int
    path: str
    command: list[str]
    delay: int | None  # seconds, as are the next two
    interval: int | None
    timeout: int | None
    retries: int | None


class App(NamedTuple):
    """A checked application."""

    name: str
    image: str
    namespace: str
    replicas: int | None  # None: another controller sets them, such as an autoscaler
    strategy: str
    ports: list[Port]
    command: list[str]
    args: list[str]
    env: list[dict[str, Any]]
    config: dict[str, str]
    config_path: str
    writable_paths: list[str]
    volumes: list[Volume]
    readiness_probe: Probe
    liveness_probe: Probe
    startup_probe: Probe
    drain: int  # seconds
    resources: dict[str, dict[str, str]]
    security_context: dict[str, Any]
    service_account: str
    image_pull_secrets: list[str]
    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]
    labels: dict[str, str]
    annotations: dict[str, str]
    service_type: str
    load_balancer_ips: list[str]
    load_balancer_class: str
    load_balancer_source_ranges: list[str]
    external_traffic_policy: str


OPTIONS = App._fields[2:]


def parse_app(name: Any, image: Any, options: dict[str, Any], prefix: str = "") -> App:
    """Check and normalise an application.

    options -- values by the names in OPTIONS; a missing or null one gets its default
    prefix -- prefix of option names in messages

    Raises InputError, which names the first wrong option.
    """
    name = parse_name(name, prefix + "name")
    image = parse_image(image, prefix + "image")
    given = {key: value for key, value in options.items() if value is not None or key == "replicas"}
    for key in given:
        if key not in OPTIONS:
            raise InputError("%s%s is not an option: the options are %s" % (prefix, key, ", ".join(OPTIONS)))
    values = {key: parse(given.get(key, default), prefix + key) for key, (parse, default) in _PARSERS.items()}
    values["config_path"] = values["config_path"] or "/etc/" + name
    tcp = next((port.target for port in values["ports"] if port.protocol == "tcp"), 0)
    # Without a readiness probe, a rollout would complete before the program listens.
    defaults = {"readiness_probe": {"type": "tcp" if tcp else "none"}}
    for key in PROBES:
        probe = given.get(key, {})
        values[key] = _probe(defaults.get(key, {"type": "none"}) if probe == {} else probe, tcp, prefix + key)
    app = App(name, image, **values)
    _refuse_what_does_not_fit(app, prefix)
    return app


def _ports(raw: Any, where: str) -> list[Port]:
    ports = [_port(entry, "%s[%d]" % (where, i)) for i, entry in enumerate(parse_list(raw, where))]
    taken: dict[tuple[Any, ...], int] = {}
    for i, port in enumerate(ports):
        keys: list[tuple[Any, ...]] = [("port", port.port, port.protocol), ("name", port.name)]
        keys += [("node_port", port.node_port, port.protocol)] if port.node_port else []
        for key in keys:
            first = taken.setdefault(key, i)
            if first != i:
                raise InputError("%s[%d].%s %s is already that of %s[%d]" % (where, i, *key[:2], where, first))
    return ports


def _port(raw: Any, where: str) -> Port:
    if not isinstance(raw, dict):
        raw = {"port": raw}
    check_keys(raw, PORT_KEYS, ("port",), where)

    def number(key: str, default: int) -> int:
        value = raw.get(key)
        return default if value is None else parse_number(value, 1, 65535, "%s.%s" % (where, key), "a port")

    protocol = value_or(raw, "protocol", "tcp")
    if protocol not in PROTOCOLS:
        raise InputError("%s.protocol %s is not one of %s" % (where, protocol, ", ".join(PROTOCOLS)))
    port = number("port", 0)
    name = value_or(raw, "name", "%s-%d" % (protocol, port))
    parse_pattern(
        name,
        PORT_NAME,
        where + ".name",
        "the name of a port: use lower-case letters, at least one, digits and single inner hyphens, 15 at most",
    )
    return Port(name, port, number("target_port", port), protocol, number("node_port", 0))


def _probe(raw: Any, tcp_port: int, where: str) -> Probe:
    check_keys(raw, PROBE_KEYS, ("type",), where)
    kind = raw["type"]
    if kind not in PROBE_TYPES:
        raise InputError("%s.type %s is not one of %s" % (where, kind, ", ".join(PROBE_TYPES)))
    for key, owner in (("path", "http"), ("command", "exec")):
        if raw.get(key) is not None and kind != owner:
            raise InputError("%s.%s is for the type %s, and the type is %s" % (where, key, owner, kind))

    def number(key: str, low: int, high: int) -> int | None:
        value = raw.get(key)
        return None if value is None else parse_number(value, low, high, "%s.%s" % (where, key))

    port = number("port", 1, 65535) or tcp_port
    path = parse_text(value_or(raw, "path", "/"), where + ".path")
    command = parse_texts(value_or(raw, "command", []), where + ".command")
    if kind in ("tcp", "http") and not port:
        raise InputError("%s.port is missing: the application has no tcp port to take instead" % where)
    if not path.startswith("/"):
        raise InputError("%s.path %s does not begin with a slash" % (where, path))
    if kind == "exec" and not command:
        raise InputError("%s.command is missing: name the program and its arguments" % where)
    return Probe(
        kind,
        port,
        path,
        command,
        number("delay", 0, 3600),
        number("interval", 1, 3600),
        number("timeout", 1, 3600),
        number("retries", 1, 1000),
    )


def _env(raw: Any, where: str) -> list[dict[str, Any]]:
    return [_variable(name, value, where) for name, value in parse_mapping(raw, where).items()]


def _variable(name: Any, value: Any, where: str) -> dict[str, Any]:
    parse_pattern(name, ENVIRONMENT, where, "the name of a variable: use letters, digits and - _ . inside it")
    where = "%s.%s" % (where, name)
    if not isinstance(value, dict):
        return {"name": name, "value": parse_text(value, where)}
    check_keys(value, SOURCE_KEYS, (), where)
    if len(value) != 1:
        raise InputError("%s must have exactly one of the keys %s" % (where, ", ".join(SOURCE_KEYS)))
    return {"name": name, "valueFrom": value}


def _resources(raw: Any, where: str) -> dict[str, dict[str, str]]:
    check_keys(raw, RESOURCE_KEYS, (), where)
    return {
        kind: {
            parse_qualified(name, "%s.%s" % (where, kind)): parse_quantity(amount, "%s.%s.%s" % (where, kind, name))
            for name, amount in parse_mapping(amounts, "%s.%s" % (where, kind)).items()
        }
        for kind, amounts in raw.items()
    }


def _labels(raw: Any, where: str) -> dict[str, str]:
    labels = parse_labels(raw, where)
    for key in (LABEL_NAME, MANAGED_BY):
        if key in labels:
            raise InputError("%s.%s cannot be set: the application's objects are found by it" % (where, key))
    return labels


def _addresses(raw: Any, where: str) -> list[str]:
    addresses: list[str] = []
    families: list[str] = []
    for i, entry in enumerate(parse_list(raw, where)):
        address, family = parse_address(entry, "%s[%d]" % (where, i))
        if family in families:
            raise InputError("%s[%d] %s is a second %s address: one a family" % (where, i, entry, spoken(family)))
        addresses.append(address)
        families.append(family)
    return addresses


def _each(parse: Callable[[Any, str], Any]) -> Callable[[Any, str], list[Any]]:
    def parse_each(raw: Any, where: str) -> list[Any]:
        return [parse(entry, "%s[%d]" % (where, i)) for i, entry in enumerate(parse_list(raw, where))]

    return parse_each


def _optional(parse: Callable[[Any, str], str]) -> Callable[[Any, str], str]:
    def parse_optional(raw: Any, where: str) -> str:
        return "" if raw == "" else parse(raw, where)

    return parse_optional


def _one_of(choices: tuple[str, ...]) -> Callable[[Any, str], str]:
    def parse_choice(raw: Any, where: str) -> str:
        if raw not in choices:
            raise InputError("%s %s is not one of %s" % (where, raw, ", ".join(choices)))
        return str(raw)

    return parse_choice


def _replicas(raw: Any, where: str) -> int | None:
    return None if raw is None else parse_number(raw, 0, 10000, where)


def _drain(raw: Any, where: str) -> int:
    return parse_number(raw, 0, 3600, where, "a number of seconds")


def _network(raw: Any, where: str) -> str:
    return parse_network(raw, where)[0]


PROBES = ("readiness_probe", "liveness_probe", "startup_probe")
# The check and the default of each other option.
_PARSERS: dict[str, tuple[Callable[[Any, str], Any], Any]] = {
    "namespace": (parse_label, "default"),
    "replicas": (_replicas, 1),
    "strategy": (_one_of(STRATEGIES), "auto"),
    "ports": (_ports, [{"port": 80, "target_port": 8080}]),
    "command": (parse_texts, []),
    "args": (parse_texts, []),
    "env": (_env, {}),
    "config": (parse_files, {}),
    "config_path": (_optional(parse_path), ""),
    "writable_paths": (_each(parse_path), ["/tmp"]),  # noqa: S108 a folder of the container
    "volumes": (parse_volumes, []),
    "drain": (_drain, 5),
    "resources": (_resources, {}),
    "security_context": (parse_mapping, {}),
    "service_account": (_optional(parse_subdomain), ""),
    "image_pull_secrets": (_each(parse_subdomain), []),
    "node_selector": (parse_labels, {}),
    "tolerations": (_each(parse_mapping), []),
    "labels": (_labels, {}),
    "annotations": (parse_annotations, {}),
    "service_type": (_one_of(SERVICE_TYPES), "ClusterIP"),
    "load_balancer_ips": (_addresses, []),
    "load_balancer_class": (_optional(parse_qualified), ""),
    "load_balancer_source_ranges": (_each(_network), []),
    "external_traffic_policy": (_one_of(TRAFFIC_POLICIES), "Cluster"),
}


def _refuse_what_does_not_fit(app: App, prefix: str) -> None:
    """Refuse options that are valid alone, but useless or forbidden in combination with others."""
    external = app.service_type != "ClusterIP"
    balanced = app.service_type == "LoadBalancer"
    for option, given, fits, wanted in (
        ("load_balancer_ips", app.load_balancer_ips, balanced, "LoadBalancer"),
        ("load_balancer_class", app.load_balancer_class, balanced, "LoadBalancer"),
        ("load_balancer_source_ranges", app.load_balancer_source_ranges, balanced, "LoadBalancer"),
        ("external_traffic_policy", app.external_traffic_policy == "Local", external, "NodePort or LoadBalancer"),
        ("ports: a node_port", any(port.node_port for port in app.ports), external, "NodePort or LoadBalancer"),
    ):
        if given and not fits:
            raise InputError(
                "%s%s needs %sservice_type %s, which is %s" % (prefix, option, prefix, wanted, app.service_type)
            )
    if external and not app.ports:
        raise InputError("%sports is empty: a Service of type %s needs one" % (prefix, app.service_type))
    mounts = [*app.writable_paths, *([app.config_path] if app.config else [])]
    for path in mounts:
        if mounts.count(path) > 1:
            raise InputError("%swritable_paths %s is there twice, or is %sconfig_path" % (prefix, path, prefix))
    _refuse_volumes(app, prefix, mounts)


def _refuse_volumes(app: App, prefix: str, mounts: list[str]) -> None:
    taken = dict.fromkeys(mounts, "%swritable_paths or %sconfig_path: take it out there" % (prefix, prefix))
    for volume in app.volumes:
        if volume.path in taken:
            raise InputError("%s.path %s is already in %s" % (volume.where, volume.path, taken[volume.path]))
        taken[volume.path] = volume.where
        alone = volume.claim.get("accessModes") == ["ReadWriteOncePod"]
        if alone and app.replicas is not None and app.replicas > 1:
            raise InputError(
                "%sreplicas %d need a volume that several pods may use, and %s.claim.access_modes is ReadWriteOncePod: "
                "take ReadWriteMany, or one replica" % (prefix, app.replicas, volume.where)
            )
        if alone and app.strategy == "RollingUpdate":
            raise InputError(
                "%sstrategy RollingUpdate has two pods at a time, and %s.claim.access_modes is ReadWriteOncePod: "
                "take Recreate, or ReadWriteMany" % (prefix, volume.where)
            )
