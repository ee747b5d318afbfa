# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of declarations for a cluster, as models.py has those for hosts."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app import input as _app
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app import volumes as _app_volumes
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._coredns_zone import input as dns_zone
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._endpoints import input as _endpoints
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway import input as _gateway
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute import input as routes
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute import values as routes_values
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s import sources as k8s_sources
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb_pool import input as _metallb_pool
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._network_policy import input as _network_policy
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._site import plan as site
from ansible_collections.homelab.loadbalancer.tests.unit.models import BOOL, LIST, MAP, NONE, TEXT, ZERO, Model

ROUTE = {"name": "web", "gateways": ["public"], "rules": [{"backends": ["web"]}]}
LISTENER = {"name": "http", "port": 80}
POLICY = {"name": "web", "namespace": "web", "ingress": "deny"}
POOLS: dict[str, Any] = {
    "pools": [],
    "l2_advertisements": [],
    "bgp_advertisements": [],
    "bgp_peers": [],
    "communities": [],
}


def _rule(rule: dict[str, Any]) -> Any:
    return routes.parse_routes([{**ROUTE, "rules": [rule]}])


def _pools(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda entry: _metallb_pool.objects({**POOLS, key: [entry]}, "metallb-system")


def _listener(entry: dict[str, Any]) -> Any:
    return _gateway.parse_gateways([{"name": "public", "listeners": [entry]}], "traefik", "gateway")


def _keys(fields: tuple[Any, ...], *more: str) -> tuple[str, ...]:
    return ("name", *(field.key for field in fields), *more)


CLUSTER_MODELS = {
    "application": Model(
        lambda entry: _app.parse_app("web", "web", entry),
        {"replicas": 1},  # null leaves them alone
        {
            "namespace": NONE,
            "replicas": (ZERO,),
            "strategy": NONE,
            "ports": (LIST,),
            "command": (LIST,),
            "args": (LIST,),
            "env": (MAP,),
            "config": (MAP,),
            "config_path": (TEXT,),
            "writable_paths": (LIST,),
            "volumes": (LIST,),
            "readiness_probe": (MAP,),
            "liveness_probe": (MAP,),
            "startup_probe": (MAP,),
            "drain": (ZERO,),
            "resources": (MAP,),
            "security_context": (MAP,),
            "service_account": (TEXT,),
            "image_pull_secrets": (LIST,),
            "node_selector": (MAP,),
            "tolerations": (LIST,),
            "labels": (MAP,),
            "annotations": (MAP,),
            "service_type": NONE,
            "load_balancer_ips": (LIST,),
            "load_balancer_class": (TEXT,),
            "load_balancer_source_ranges": (LIST,),
            "external_traffic_policy": NONE,
        },
        _app.OPTIONS,
    ),
    "application's port": Model(
        lambda entry: _app.parse_app("web", "web", {"ports": [entry], "service_type": "NodePort"}),
        {"port": 80},
        {"target_port": NONE, "name": NONE, "protocol": NONE, "node_port": NONE},
        _app.PORT_KEYS,
    ),
    "probe": Model(
        lambda entry: _app.parse_app("web", "web", {"readiness_probe": entry}),
        {"type": "http"},
        {
            "port": NONE,
            "path": NONE,
            "command": NONE,
            "delay": (ZERO,),
            "interval": NONE,
            "timeout": NONE,
            "retries": NONE,
        },
        _app.PROBE_KEYS,
    ),
    "volume": Model(
        lambda entry: _app_volumes.parse_volumes([entry], "volumes"),
        {"name": "a", "path": "/a", "existing_claim": "a"},
        {"read_only": (BOOL,), "sub_path": (BOOL, ZERO), **dict.fromkeys(_app_volumes.SOURCES, NONE)},
        _app_volumes.KEYS,
    ),
    "site's application": Model(
        lambda entry: site.plan([entry], [{"name": "public"}], "gateway", "site"),
        {"name": "web", "image": "web"},
        {"hostnames": (LIST,), "http_port": NONE, "labels": (MAP,)},
        site._OWN,
    ),
    "gateway": Model(
        lambda entry: _gateway.parse_gateways([entry], "traefik", "gateway"),
        {"name": "public", "listeners": [LISTENER]},
        {"namespace": NONE, "address": (LIST,), "labels": (MAP,), "annotations": (MAP,)},
        _gateway._GATEWAY,
    ),
    "listener": Model(
        _listener,
        LISTENER,
        {"protocol": NONE, "hostname": NONE, "tls": NONE, "from": NONE, "selector": NONE},
        _gateway._LISTENER,
    ),
    "listener for a selector": Model(
        _listener, {**LISTENER, "from": "selector", "selector": {"matchLabels": {"a": "b"}}}, {"selector": NONE}
    ),
    "certificate": Model(
        lambda entry: _listener({**LISTENER, "protocol": "HTTPS", "tls": entry}),
        {"certificate_file": "a", "key_file": "b"},
        {"secret": NONE, "certificate_file": NONE, "key_file": NONE},
        _gateway._TLS,
    ),
    "route": Model(
        lambda entry: routes.parse_routes([entry]),
        ROUTE,
        {"namespace": NONE, "hostnames": (LIST,)},
        routes.ROUTE_KEYS,
    ),
    "route's gateway": Model(
        lambda entry: routes.parse_routes([{**ROUTE, "gateways": [entry]}]),
        {"name": "public"},
        {"namespace": NONE, "listener": NONE},
        routes.GATEWAY_KEYS,
    ),
    "rule": Model(
        _rule,
        {"backends": ["web"]},
        {
            "paths": (LIST,),
            "headers": (MAP,),
            "methods": (LIST,),
            "redirect": (MAP,),
            "rewrite": (MAP,),
            "request_headers": (MAP,),
            "response_headers": (MAP,),
            "timeout": NONE,
        },
        routes.RULE_KEYS,
    ),
    "rule without a Service": Model(_rule, {"redirect": {"scheme": "https"}}, {"backends": (LIST,)}),
    "backend": Model(
        lambda entry: _rule({"backends": [{"service": "other"}, entry]}),
        {"service": "web"},
        {"namespace": NONE, "port": NONE, "weight": (ZERO,)},
        routes.BACKEND_KEYS,
    ),
    "redirect": Model(
        lambda entry: _rule({"paths": ["/a"], "redirect": entry}),
        {"scheme": "https"},
        {"hostname": NONE, "port": NONE, "path": NONE, "prefix": NONE, "status": NONE, "scheme": NONE},
        routes.REDIRECT_KEYS,
    ),
    "changes of headers": Model(
        lambda entry: _rule({"backends": ["web"], "request_headers": entry}),
        {"add": {"a": "b"}},
        {"set": (MAP,), "add": (MAP,), "remove": (LIST,)},
        routes_values.HEADER_CHANGES,
    ),
    "record": Model(
        lambda entry: dns_zone.parse_zone("k8s.local", 60, [entry], [], []),
        {"name": "web", "addresses": ["192.0.2.1"]},
        {"ttl": (ZERO,)},
    ),
    "endpoints": Model(
        lambda entry: _endpoints.parse_endpoints([entry]),
        {"name": "web", "ports": [{"port": 80}], "addresses": ["192.0.2.1"]},
        {"namespace": NONE, "addresses": (LIST,), "selector": NONE, "manage_service": (BOOL,)},
        _endpoints.KEYS,
    ),
    "endpoints of a selector": Model(
        lambda entry: _endpoints.parse_endpoints([entry]),
        {"name": "web", "ports": [{"port": 80}], "selector": {"a": "b"}},
        {"selector": NONE},
    ),
    "port of endpoints": Model(
        lambda entry: _endpoints.parse_endpoints([{"name": "web", "ports": [entry], "addresses": []}]),
        {"port": 80},
        {"name": (TEXT,), "target_port": NONE, "protocol": NONE},
        _endpoints.PORT_KEYS,
    ),
    "policy": Model(
        lambda entry: _network_policy.objects([entry]),
        POLICY,
        {"pods": (MAP,), "ingress": NONE, "egress": NONE},
        _network_policy.POLICY_KEYS,
    ),
    "policy's rule": Model(
        lambda entry: _network_policy.objects([{**POLICY, "ingress": [entry]}]), {}, {"from": NONE, "ports": NONE}
    ),
    "policy's peer": Model(
        lambda entry: _network_policy.objects([{**POLICY, "ingress": [{"from": [entry]}]}]),
        {"pods": {"a": "b"}},
        {"pods": (MAP,), "namespace": NONE, "namespaces": (MAP,), "network": NONE, "except": NONE},
        _network_policy.PEER_KEYS,
    ),
    "policy's network": Model(
        lambda entry: _network_policy.objects([{**POLICY, "ingress": [{"from": [entry]}]}]),
        {"network": "192.0.2.0/24"},
        {"except": (LIST,)},
    ),
    "policy's port": Model(
        lambda entry: _network_policy.objects([{**POLICY, "ingress": [{"ports": [entry]}]}]),
        {"port": 80},
        {"end_port": NONE, "protocol": NONE},
        _network_policy.PORT_KEYS,
    ),
    "pool": Model(
        _pools("pools"),
        {"name": "a", "addresses": ["192.0.2.8/29"]},
        {
            "auto_assign": (BOOL,),
            "avoid_buggy_ips": (BOOL,),
            "priority": (ZERO,),
            "namespaces": (LIST,),
            "namespace_selectors": (LIST,),
            "service_selectors": (LIST,),
        },
        _keys(_metallb_pool.POOL_FIELDS),
    ),
    "advertisement on a link": Model(
        _pools("l2_advertisements"),
        {"name": "a"},
        {"pools": (LIST,), "interfaces": (LIST,), "node_selectors": (LIST,)},
        _keys(_metallb_pool.L2_FIELDS),
    ),
    "advertisement by BGP": Model(
        _pools("bgp_advertisements"),
        {"name": "a"},
        {
            "pools": (LIST,),
            "peers": (LIST,),
            "node_selectors": (LIST,),
            "communities": (LIST,),
            "local_pref": (ZERO,),
            "aggregation_length": NONE,
            "aggregation_length_v6": NONE,
        },
        _keys(_metallb_pool.BGP_FIELDS),
    ),
    "BGP peer": Model(
        _pools("bgp_peers"),
        {"name": "a", "my_asn": 64500, "peer_asn": 64501, "address": "192.0.2.1"},
        {
            "port": NONE,
            "source_address": NONE,
            "router_id": NONE,
            "hold_time": (ZERO,),
            "ebgp_multi_hop": (BOOL,),
            "node_selectors": (LIST,),
            "password": NONE,
            "password_secret": NONE,
        },
        _keys(_metallb_pool.PEER_FIELDS, *_metallb_pool.EXTRA_KEYS),
    ),
    "manifest": Model(
        lambda entry: k8s_sources.parse_sources([entry], "", "src"), {"src": "a.yml"}, {"checksum": NONE}
    ),
}
