# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared HTTP routes, their refusals, and the HTTPRoute objects made of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._common.hostnames import parse_hostname
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute import input as declaration
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute.input import route_spec
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute.values import (
    METHODS,
    parse_header_changes,
)

PLAIN: dict[str, Any] = {"name": "web", "gateways": ["main"], "rules": [{"backends": ["web"]}]}
WEB = {"name": "web", "port": 80, "weight": 1}


def parse_routes(raw: Any) -> list[declaration.Route]:
    return declaration.parse_routes(raw, "httproute_routes")


def rule(**parts: Any) -> dict[str, Any]:
    """The rule of the HTTPRoute that one declared rule becomes."""
    (route,) = parse_routes([{**PLAIN, "rules": [parts]}])
    found: dict[str, Any] = route_spec(route)["rules"][0]
    return found


def test_short_forms_are_expanded() -> None:
    (route,) = parse_routes([{**PLAIN, "hostnames": ["web.k8s.local"]}])
    assert (route.namespace, route.name) == ("default", "web")
    assert route_spec(route) == {
        "parentRefs": [{"namespace": "default", "name": "main"}],
        "hostnames": ["web.k8s.local"],
        "rules": [{"backendRefs": [WEB]}],
    }


def test_gateways_and_backends_of_other_namespaces() -> None:
    gateway = {"name": "main", "namespace": "infra", "listener": "https"}
    backends = [{"service": "web", "namespace": "shop"}, {"service": "new", "namespace": "beta", "port": 81}]
    (route,) = parse_routes([{**PLAIN, "namespace": "shop", "gateways": [gateway], "rules": [{"backends": backends}]}])
    spec = route_spec(route)
    assert spec["parentRefs"] == [{"namespace": "infra", "name": "main", "sectionName": "https"}]
    # A namespace is named only where it is another one.
    assert spec["rules"][0]["backendRefs"] == [WEB, {"name": "new", "namespace": "beta", "port": 81, "weight": 1}]


@pytest.mark.parametrize(
    ("parts", "matches"),
    [
        ({"paths": ["/api"]}, [{"path": {"type": "PathPrefix", "value": "/api"}}]),
        ({"paths": [{"exact": "/"}, {"regex": "/v[0-9]+"}]},
         [{"path": {"type": "Exact", "value": "/"}}, {"path": {"type": "RegularExpression", "value": "/v[0-9]+"}}]),
        ({"methods": ["GET", "HEAD"]}, [{"method": "GET"}, {"method": "HEAD"}]),
        ({"headers": {"X-Canary": True, "X-Version": {"regex": "2.*"}}},
         [{"headers": [{"type": "Exact", "name": "X-Canary", "value": "true"},
                       {"type": "RegularExpression", "name": "X-Version", "value": "2.*"}]}]),
        ({}, None),
    ],
)  # fmt: skip
def test_matches(parts: dict[str, Any], matches: Any) -> None:
    assert rule(**parts, backends=["web"]).get("matches") == matches


@given(st.lists(st.sampled_from(["/", "/a", "/b/c"]), unique=True), st.lists(st.sampled_from(METHODS), unique=True))
def test_each_path_goes_with_each_method(paths: list[str], methods: list[str]) -> None:
    found = [
        (match.get("path", {}).get("value"), match.get("method"))
        for match in rule(paths=paths, methods=methods, backends=["web"]).get("matches", [{}])
    ]
    every: list[Any] = [None]  # what is left out takes all
    assert found == [(path, method) for path in paths or every for method in methods or every]


@pytest.mark.parametrize(
    ("parts", "filters"),
    [
        ({"request_headers": {"set": {"X-A": 1}, "add": {"X-B": "b"}, "remove": ["X-C"]}},
         [{"type": "RequestHeaderModifier",
           "requestHeaderModifier": {"set": [{"name": "X-A", "value": "1"}], "add": [{"name": "X-B", "value": "b"}],
                                     "remove": ["X-C"]}}]),
        ({"response_headers": {"remove": ["Server"]}, "rewrite": {"hostname": "inner.example", "path": "/index"}},
         [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["Server"]}},
          {"type": "URLRewrite",
           "urlRewrite": {"hostname": "inner.example",
                          "path": {"type": "ReplaceFullPath", "replaceFullPath": "/index"}}}]),
        ({"paths": ["/api"], "rewrite": {"prefix": "/"}},
         [{"type": "URLRewrite",
           "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]),
    ],
)  # fmt: skip
def test_filters(parts: dict[str, Any], filters: Any) -> None:
    made = rule(**parts, backends=["web"])
    assert made["filters"] == filters
    assert made["backendRefs"] == [WEB]


def test_a_redirect_and_a_timeout() -> None:
    everything = {"scheme": "https", "hostname": "new.example", "port": 8443, "prefix": "/v2", "status": 301}
    assert rule(paths=["/v1"], redirect=everything)["filters"] == [
        {
            "type": "RequestRedirect",
            "requestRedirect": {
                "scheme": "https",
                "hostname": "new.example",
                "port": 8443,
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v2"},
                "statusCode": 301,
            },
        }
    ]
    assert rule(redirect={"scheme": "https"})["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 302}
    assert rule(backends=["web"], timeout="10")["timeouts"] == {"request": "10s"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gateways": []}, "httproute_routes[0].gateways is empty: name the Gateway that is to serve the route"),
        ({"gateways": None}, "httproute_routes[0].gateways is missing"),
        ({"gateways": ["main", {"name": "main", "listener": "http"}]},
         "httproute_routes[0].gateways[1] names the Gateway of httproute_routes[0].gateways[0] again: give each "
         "another listener, or name it once"),
        ({"name": "Web"}, "httproute_routes[0].name Web is not the name of an object"),
        ({"hostname": ["a"]}, "httproute_routes[0].hostname is not a known key: the keys are name, namespace"),
        ({"hostnames": ["a.example", "a.example"]}, "httproute_routes[0].hostnames[1] a.example is there twice"),
        ({"hostnames": "a.example"}, "httproute_routes[0].hostnames must be a list, not str"),
        ({"rules": []}, "httproute_routes[0].rules is empty: give at least one, such as {backends: [web]}"),
    ],
)  # fmt: skip
def test_refused_routes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_routes([{**PLAIN, **change}])
    assert str(caught.value).startswith(message)


def test_duplicate_names_are_refused() -> None:
    parse_routes([PLAIN, {**PLAIN, "namespace": "shop"}])
    with pytest.raises(InputError, match=r"^httproute_routes\[1\]\.name web is already that of httproute_routes\[0\]$"):
        parse_routes([PLAIN, {**PLAIN, "namespace": "default"}])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, " has neither backends nor redirect: say what becomes of its requests"),
        ({"redirect": {"scheme": "https"}, "backends": ["web"]},
         " has redirect and backends: a redirect reaches no Service, give one of them"),
        ({"redirect": {}}, " has neither backends nor redirect"),
        ({"redirect": {"status": 301}}, ".redirect leads to where the request came from: give one of scheme"),
        ({"redirect": {"scheme": "ftp"}}, ".redirect.scheme ftp is not one of http, https"),
        ({"redirect": {"scheme": "https", "status": 308}}, ".redirect.status 308 is not one of 301, 302"),
        ({"redirect": {"hostname": "*.example"}}, ".redirect.hostname *.example is not a host name"),
        ({"backends": ["web"], "rewrite": {"path": "/", "prefix": "/"}}, ".rewrite has path and prefix: give one"),
        ({"backends": ["web"], "rewrite": {"prefix": "/"}}, ".rewrite.prefix replaces the prefix of the rule's path"),
        ({"backends": ["web"], "paths": [{"exact": "/a"}], "rewrite": {"prefix": "/"}}, ".rewrite.prefix replaces"),
        ({"backends": ["web"], "paths": ["/a"], "methods": ["GET", "PUT"], "rewrite": {"prefix": "/"}},
         ".rewrite.prefix replaces"),
        ({"backends": [{"service": "web", "weight": -1}]}, ".backends[0].weight -1 is not a number from 0 to 1000000"),
        ({"backends": [{"service": "web", "weight": 0}]}, ".backends have all the weight 0: no request would be"),
        ({"backends": [{"service": "web", "port": 0}]}, ".backends[0].port 0 is not a port from 1 to 65535"),
        ({"backends": ["Web"]}, ".backends[0].service Web is not a name"),
        ({"backends": [80]}, ".backends[0] must be a mapping with the keys service, namespace, port, weight"),
        ({"backends": ["web"], "paths": ["api"]}, ".paths[0] api is not a path: begin with a slash"),
        ({"backends": ["web"], "paths": ["/a/../b"]}, ".paths[0] /a/../b is not a path"),
        ({"backends": ["web"], "paths": ["/a b"]}, ".paths[0] /a b is not a path"),
        ({"backends": ["web"], "paths": [{"prefix": "/", "exact": "/"}]}, ".paths[0] must have exactly one of the"),
        ({"backends": ["web"], "methods": ["get"]}, ".methods[0] get is not one of GET, HEAD"),
        ({"backends": ["web"], "headers": {"X A": "b"}}, ".headers X A is not the name of a header"),
        ({"backends": ["web"], "headers": {"X-A": {"regexp": "b"}}}, ".headers.X-A.regexp is not a known key"),
        ({"backends": ["web"], "headers": {"X-A": ""}}, ".headers.X-A is not the value of a header"),
        ({"backends": ["web"], "request_headers": {"replace": {}}}, ".request_headers.replace is not a known key"),
        ({"backends": ["web"], "response_headers": {"remove": ["a:"]}}, ".response_headers.remove[0] a: is not the"),
        ({"backends": ["web"], "timeout": 0}, ".timeout 0 is not a number of seconds from 1 to 86400"),
        ({"backends": ["web"], "retries": 3}, ".retries is not a known key: the keys are paths, headers, methods"),
    ],
)  # fmt: skip
def test_refused_rules(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_routes([{**PLAIN, "rules": [{"backends": ["web"]}, parts]}])
    assert str(caught.value).startswith("httproute_routes[0].rules[1]" + message)


@pytest.mark.parametrize("name", ["web.k8s.local", "*.k8s.local", "localhost", "xn--nxasmq6b.example", "a" * 63 + ".b"])
def test_host_names(name: str) -> None:
    assert parse_hostname(name, "h", wildcard=True) == name


@pytest.mark.parametrize(
    "name",
    ["Web.k8s.local", "web_1.k8s.local", "web..local", "web.", ".web", "-a.b", "a" * 64 + ".b", "*", "*.*.b", "a.*.b",
     "10.0.0.1", "http://web", "web:80", "a b", "", 80, None, "a." * 127 + "b"],
)  # fmt: skip
def test_invalid_host_names_are_refused(name: Any) -> None:
    with pytest.raises(InputError, match=r"^h "):
        parse_hostname(name, "h", wildcard=True)


@given(st.text(alphabet=st.sampled_from("ab\r\n\x00\t é"), max_size=6))
def test_value_of_a_header_cannot_start_another_header(value: str) -> None:
    try:
        made = parse_header_changes({"set": {"X-A": value}}, "h")
    except InputError:
        assert not value or any(character in "\r\n\x00\t" for character in value)
    else:
        assert made == {"set": [{"name": "X-A", "value": value}]}
        assert len(value.splitlines()) == 1
