# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A zone: refusals, names of routes, and the answers of its Corefile."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._coredns_zone.corefile import (
    BEGIN,
    END,
    corefile,
    with_block,
    without_block,
)
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._coredns_zone.input import Record, Zone, parse_zone

ZONE = "k8s.local"
VIP, OTHER = "172.16.0.100", "172.16.0.101"


def record(name: Any = "web", *addresses: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "addresses": list(addresses) or [VIP], **more}


def zone(*records: dict[str, Any], routes: Any = (), gateways: Any = ()) -> Zone:
    return parse_zone(ZONE, 60, list(records), routes, gateways, prefix="coredns_zone_")


class Answer(NamedTuple):
    """The answers of CoreDNS, as far as the tests need them."""

    rcode: str
    data: tuple[str, ...] = ()
    soa: bool = False


class Template(NamedTuple):
    kind: str
    match: str
    lines: list[str]


def templates(text: str) -> list[Template]:
    """The templates of a Corefile, in its order."""
    found = re.findall(r'(?ms)^    template IN (\w+) \{\n        match "([^"]*)"\n(.*?)^    \}', text)
    return [Template(kind, match, lines.split("\n")) for kind, match, lines in found]


def ask(text: str, name: str, kind: str = "A") -> Answer:
    """The answer of the first template that fits, as the plugin `template` works."""
    for template in templates(text):
        if template.kind in (kind, "ANY") and re.search(template.match, name + "."):
            said = "\n".join(template.lines)
            data = re.findall(r'answer ".* IN %s (.*)"' % kind, said)
            return Answer("NXDOMAIN" if "NXDOMAIN" in said else "NOERROR", tuple(data), "authority" in said)
    return Answer("REFUSED")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("web", "web.k8s.local"),
        ("Web.K8s.Local", "web.k8s.local"),
        ("web.k8s.local.", "web.k8s.local"),
        ("url-shortener.staging", "url-shortener.staging.k8s.local"),
        ("*.staging", "*.staging.k8s.local"),
        ("*", "*.k8s.local"),
        ("@", "k8s.local"),
        ("web.example.org.k8s.local", "web.example.org.k8s.local"),
    ],
)
def test_names(name: str, full: str) -> None:
    assert [entry.name for entry in zone(record(name)).records] == [full]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (record("web.example.org"), "coredns_zone_records[0].name web.example.org is outside the zone k8s.local: "),
        (record("web.other.local"), "coredns_zone_records[0].name web.other.local is outside the zone"),
        (record("web.lab."), "coredns_zone_records[0].name web.lab. is outside the zone"),
        (record("notk8s.local"), "coredns_zone_records[0].name notk8s.local is outside the zone"),
        (record("we b"), "coredns_zone_records[0].name we b is not a host name"),
        (record('web" }'), 'coredns_zone_records[0].name web" } is not a host name'),
        (record("web\n"), "coredns_zone_records[0].name web\n is not a host name"),
        (record("a.*"), "coredns_zone_records[0].name a.* is not a host name"),
        (record(""), "coredns_zone_records[0].name  is not a host name"),
        (record("a" * 64), "coredns_zone_records[0].name aaa"),
        (record(".".join(["abcdefgh"] * 30)), "coredns_zone_records[0].name abcdefgh"),
        (record(None), "coredns_zone_records[0].name is missing"),
        (record("web", "172.16.0.300"), "coredns_zone_records[0].addresses[0] 172.16.0.300 is not an IP address"),
        (record("web", VIP, "::1"), "coredns_zone_records[0].addresses[1] ::1 is the loopback address"),
        ({"name": "web", "addresses": []}, "coredns_zone_records[0].addresses is empty: give at least one"),
        ({"name": "web", "addresses": VIP}, "coredns_zone_records[0].addresses must be a list, not str"),
        (record("web", ttl=-1), "coredns_zone_records[0].ttl -1 is not a number of seconds from 0 to 86400"),
        (record("web", ip=VIP), "coredns_zone_records[0].ip is not a known key"),
    ],
)
def test_invalid_records_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match="^" + re.escape(message)):
        zone(entry)


def test_duplicate_names_are_refused() -> None:
    with pytest.raises(
        InputError, match=re.escape("coredns_zone_records[1].name web.k8s.local is already that of coredns")
    ):
        zone(record(), record("web.k8s.local"))


@pytest.mark.parametrize("name", ["", "k8s_local!", "*.local", None, "k8s local"])
def test_invalid_zone_names_are_refused(name: Any) -> None:
    with pytest.raises(InputError, match="is not the name of a zone"):
        parse_zone(name, 60, [], [], [])


def test_invalid_ttl_is_refused() -> None:
    with pytest.raises(InputError, match="coredns_zone_ttl soon is not a number of seconds"):
        parse_zone(ZONE, "soon", [], [], [], prefix="coredns_zone_")


def route(*hosts: str, **parent: Any) -> dict[str, Any]:
    parents = [{"name": "gateway", **parent}]
    return {"metadata": {"name": "r", "namespace": "web"}, "spec": {"hostnames": list(hosts), "parentRefs": parents}}


def gateway(*addresses: str, namespace: str = "web", listeners: Any = ()) -> dict[str, Any]:
    return {
        "metadata": {"name": "gateway", "namespace": namespace},
        "spec": {"listeners": list(listeners)},
        "status": {"addresses": [{"value": value} for value in addresses]},
    }


LISTENERS = [{"name": "a", "hostname": "a.k8s.local"}, {"name": "b", "hostname": "b.k8s.local"}, {"name": "all"}]


@pytest.mark.parametrize(
    ("routes", "gateways", "names"),
    [
        ([route("web.k8s.local")], [gateway(VIP)], ["web.k8s.local"]),
        ([route("*.k8s.local", "k8s.local")], [gateway(VIP)], ["*.k8s.local", "k8s.local"]),
        ([route("web.example.org", "k8s.local.example")], [gateway(VIP)], []),
        ([route("web.k8s.local")], [], []),
        ([route("web.k8s.local")], [gateway()], []),
        ([route("web.k8s.local")], [gateway("lb.example.org")], []),
        ([route("web.k8s.local")], [gateway(VIP, namespace="infra")], []),
        ([route("web.k8s.local", namespace="infra")], [gateway(VIP, namespace="infra")], ["web.k8s.local"]),
        ([route("web.k8s.local", kind="Service")], [gateway(VIP)], []),
        ([route()], [gateway(VIP, listeners=LISTENERS)], ["a.k8s.local", "b.k8s.local"]),
        ([route(sectionName="b")], [gateway(VIP, listeners=LISTENERS)], ["b.k8s.local"]),
    ],
)
def test_names_of_routes(routes: Any, gateways: Any, names: list[str]) -> None:
    assert [entry.name for entry in zone(routes=routes, gateways=gateways).records] == names
    assert {entry.addresses for entry in zone(routes=routes, gateways=gateways).records} <= {(VIP,)}


def test_declared_name_takes_precedence_over_a_route() -> None:
    made = zone(record("web", OTHER, ttl=5), routes=[route("web.k8s.local", "git.k8s.local")], gateways=[gateway(VIP)])
    assert made.records == (Record("git.k8s.local", (VIP,), 60), Record("web.k8s.local", (OTHER,), 5))


def test_name_of_two_gateways_has_both_addresses() -> None:
    second = gateway(OTHER, VIP, namespace="infra")
    made = zone(routes=[route("k8s.local", namespace="infra"), route("k8s.local")], gateways=[gateway(VIP), second])
    assert made.records == (Record("k8s.local", (VIP, OTHER), 60),)


def test_the_serial_changes_with_the_records_alone() -> None:
    assert zone(record(), record("git")).serial == zone(record("git"), record("web.k8s.local")).serial
    others = [zone(), zone(record()), zone(record("web", OTHER)), zone(record(ttl=5)), parse_zone(ZONE, 61, [], [], [])]
    assert len({other.serial for other in others}) == len(others)
    assert all(0 < other.serial < 2**32 for other in others)


SERVED = corefile(
    zone(
        record("web", VIP, "fd00::1"),
        record("git", VIP),
        record("*.staging", OTHER),
        record("db.inner.staging", "172.16.0.102"),
    ),
    [53, 1053],
    ["ready"],
    "log\ncache 5",
)
PTR = "100.0.16.172.in-addr.arpa"


@pytest.mark.parametrize(
    ("name", "kind", "answer"),
    [
        ("web.k8s.local", "A", Answer("NOERROR", (VIP,))),
        ("web.k8s.local", "AAAA", Answer("NOERROR", ("fd00::1",))),
        ("git.k8s.local", "AAAA", Answer("NOERROR", soa=True)),
        ("web.k8s.local", "TXT", Answer("NOERROR", soa=True)),
        ("any.staging.k8s.local", "A", Answer("NOERROR", (OTHER,))),
        ("any.more.staging.k8s.local", "A", Answer("NOERROR", (OTHER,))),
        ("any.staging.k8s.local", "AAAA", Answer("NOERROR", soa=True)),
        # It is on the way to others.
        ("staging.k8s.local", "A", Answer("NOERROR", soa=True)),
        # A wildcard does not stand for what is below a name that is there.
        ("db.inner.staging.k8s.local", "A", Answer("NOERROR", ("172.16.0.102",))),
        ("inner.staging.k8s.local", "A", Answer("NOERROR", soa=True)),
        ("else.inner.staging.k8s.local", "A", Answer("NXDOMAIN", soa=True)),
        ("none.k8s.local", "A", Answer("NXDOMAIN", soa=True)),
        ("below.web.k8s.local", "A", Answer("NXDOMAIN", soa=True)),
        ("k8s.local", "A", Answer("NOERROR", soa=True)),
        ("k8sxlocal", "A", Answer("REFUSED")),
        (PTR, "PTR", Answer("NOERROR", ("git.k8s.local.", "web.k8s.local."))),
        (PTR, "A", Answer("NOERROR", soa=True)),
        ("1" + PTR, "PTR", Answer("REFUSED")),
        ("1.%s.ip6.arpa" % ".".join("0" * 29 + "df"), "PTR", Answer("NOERROR", ("web.k8s.local.",))),
    ],
)
def test_answers(name: str, kind: str, answer: Answer) -> None:
    assert ask(SERVED, name, kind) == answer


def test_the_soa_has_the_serial_and_the_ttl() -> None:
    (soa,) = ask(SERVED, ZONE, "SOA").data
    assert re.fullmatch(r"ns\.k8s\.local\. hostmaster\.k8s\.local\. \d+ 7200 1800 86400 60", soa)


def test_server_blocks() -> None:
    assert SERVED.startswith("k8s.local:53,\nk8s.local:1053 {\n    errors\n    ready\n    log\n    cache 5\n")
    # Only the addresses that names have: the rest of the network stays with others.
    assert re.findall(r"^\S+arpa:53\b", SERVED, re.MULTILINE) == [
        "%s:53" % pointer for pointer in ("102.0.16.172.in-addr.arpa", PTR, "1.%s.ip6.arpa" % ".".join("0" * 29 + "df"))
    ]


def expected(made: Zone, name: str) -> Answer:
    """By RFC 4592: the name itself, else the wildcard right below the closest name that is there."""
    data = {entry.name: entry.addresses for entry in made.records}
    there = {made.name}
    for entry in data:
        labels = entry.split(".")
        there |= {".".join(labels[i:]) for i in range(len(labels) - 1)}
    if name in data:
        return Answer("NOERROR", data[name])
    if name in there:
        return Answer("NOERROR", soa=True)
    closest = name
    while closest not in there:
        closest = closest.partition(".")[2]
    if "*." + closest in data:
        return Answer("NOERROR", data["*." + closest])
    return Answer("NXDOMAIN", soa=True)


# Few labels, so that names meet.
PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map(".".join)
NAMES = st.one_of(PATHS, PATHS.map("*.{}".format), st.just("*"), st.just("@"))


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.sampled_from([VIP, OTHER, "10.0.0.1"]), max_size=6), PATHS)
def test_any_zone_answers_any_name_as_the_standard_says(records: dict[str, str], path: str) -> None:
    made = zone(*(record(name, address) for name, address in records.items()))
    name = "%s.%s" % (path, ZONE)
    assert ask(corefile(made, [53]), name) == expected(made, name)


@given(st.text(alphabet="a{}# \n\r\t.:", max_size=60), st.sampled_from([SERVED, "x {\n}\n"]))
def test_the_rest_of_a_corefile_stays_byte_for_byte(text: str, before: str) -> None:
    once = with_block(text, SERVED)
    assert with_block(with_block(text, before), SERVED) == once
    assert without_block(once) == text
    assert once.endswith(text)


@pytest.mark.parametrize("text", [BEGIN + "\n.:53 {\n}\n", ".:53 {\n}\n" + END + "\n"])
def test_incomplete_block_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not its counterpart"):
        with_block(text, SERVED)
