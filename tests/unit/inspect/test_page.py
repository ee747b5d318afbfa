# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of an inspection: all that was found is on it, in its place, and nothing in it can be more than text."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import os
import re
import subprocess
import sys
from typing import Any, Iterator, NamedTuple
from xml.etree import ElementTree

import pytest

from ansible_collections.homelab.loadbalancer.plugins.filter.inspect_page import inspect_page
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._inspect.hosts import anchors
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._inspect.html import shown
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._inspect.shapes import LARGE, SMALL, cells
from ansible_collections.homelab.loadbalancer.tests.unit.inspect import inspect_dom, inspect_reports

Element = ElementTree.Element
SVG = "{http://www.w3.org/2000/svg}"
SAMPLES = {
    "host": ([inspect_reports.plain()], {}),
    "routed": inspect_reports.cluster_of(3, 10),
    "bridged": inspect_reports.cluster_of(3, 6, bridge=True),
    "many": inspect_reports.cluster_of(10, 15, bridge=True),
    "tangled": inspect_reports.tangled(),
    "hostile": inspect_reports.hostile(),
    "failed": ([{"host": "x", "error": "no route to host " * 40}, inspect_reports.plain()], {}),
    "bare": ([{"host": "x"}, {}], {}),
    "nothing": ([], {}),
}
sample = pytest.mark.parametrize("name", sorted(SAMPLES))


class Rect(NamedTuple):
    """A rectangle of the picture."""

    css: str
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: Rect) -> bool:
        """Whether another one is inside."""
        beside = self.left <= other.left and other.right <= self.right
        return beside and self.top <= other.top and other.bottom <= self.bottom

    def meets(self, other: Rect) -> bool:
        """Whether they have a point in common."""
        beside = self.left < other.right and other.left < self.right
        return beside and self.top < other.bottom and other.top < self.bottom


def made(name: str) -> str:
    documents, cluster = SAMPLES[name]
    return inspect_page(documents, cluster)


def tree(page: str) -> Element:
    """The page as XML, which is stricter than any browser."""
    assert page.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(page.split("\n", 1)[1])  # noqa: S314 -- made by what is tested


def picture(page: str) -> Element:
    found = tree(page).find(".//%ssvg" % SVG)
    assert found is not None
    return found


def rect(element: Element) -> Rect:
    x, y, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
    return Rect(element.get("class", ""), x, y, x + width, y + height)


def text_rect(element: Element) -> Rect:
    """Where a text is, as wide as the widest of the fonts makes it."""
    assert element.text is not None
    x, y = float(element.attrib["x"]), float(element.attrib["y"])
    width = cells(element.text) * (LARGE if element.get("class") == "title" else SMALL)
    left = x - width if element.get("text-anchor") == "end" else x
    return Rect(element.text, left, y - 9, left + width, y + 2)


def whole_texts(page: str) -> str:
    """All that the picture says, with what shows when it is pointed at."""
    return "\n".join(picture(page).itertext())


@sample
def test_the_page_is_well_formed_and_loads_nothing(name: str) -> None:
    page = made(name)
    root = tree(page)
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch("find|cluster|(picture-)?host-[0-9a-f]{8}(-[0-9]+)?", one) for one in ids)
    links = [element.attrib["href"] for element in root.iter() if "href" in element.attrib]
    assert {link[1:] for link in links} <= set(ids)
    assert {link[:1] for link in links} <= {"#"}
    assert root.get("lang") == "en"
    assert len(root.findall(".//h1")) == 1
    for table in root.iter("table"):
        assert "".join(table.findall("caption")[0].itertext()).strip()
        assert all(cell.get("scope") in ("row", "col") for cell in table.iter("th"))
    said = inspect_dom.read(page)
    assert not said.tags & {"img", "link", "iframe", "object", "embed", "base", "image", "use", "foreignobject"}
    assert not [key for key in said.attributes if key.startswith("on") or key in ("src", "style", "srcset")]


def test_the_policy_allows_this_script_and_style_only() -> None:
    root = tree(made("host"))
    policy = next(meta.attrib["content"] for meta in root.iter("meta") if "http-equiv" in meta.attrib)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("script", "style"):
        (element,) = root.iter(tag)
        digest = base64.b64encode(hashlib.sha256((element.text or "").encode()).digest()).decode()
        assert "%s-src 'sha256-%s';" % (tag, digest) in policy
    assert "unsafe" not in policy


# Keys of the reports that have other names in the tables.
FIELDS = {
    "Links": {"Index": "index", "Name": "name", "Kind": "kind", "State": "state", "MTU": "mtu", "MAC": "mac",
              "Master": "master", "Addresses": "addresses"},
    "Routes": {"Destination": "destination", "Gateway": "gateway", "Device": "device", "Protocol": "protocol",
               "Scope": "scope", "Source": "source", "Metric": "metric", "Table": "table", "Type": "type"},
    "Neighbours": {"Address": "address", "Device": "device", "MAC": "mac", "State": "state"},
    "iptables": {"Table": "table", "Variant": "variant", "Family": "family", "Chains": "chains", "Rules": "rules"},
    "nftables": {"Table": "table", "Family": "family", "Chains": "chains", "Rules": "rules", "Owner": "owner"},
    "ipset": {"Set": "name", "Type": "type", "Entries": "entries", "Owner": "owner"},
    "IPVS": {"Address": "address", "Port": "port", "Protocol": "protocol", "Scheduler": "scheduler",
             "Real servers": "servers", "Owner": "owner"},
    "Containers": {"Name": "name", "Namespace": "namespace", "Pod": "pod", "State": "state", "Image": "image",
                   "PID": "pid", "Id": "id"},
    "Images": {"Names": "names", "Bytes": "size", "Id": "id"},
    "Nodes": {"Name": "name", "Roles": "roles", "Version": "version", "Addresses": "addresses"},
    "Pods": {"Name": "name", "Namespace": "namespace", "Phase": "phase", "Ready": "ready", "Restarts": "restarts",
             "Node": "node", "Address": "ip"},
    "Services": {"Name": "name", "Namespace": "namespace", "Type": "type", "Cluster addresses": "cluster_ips",
                 "External addresses": "external_ips", "Ports": "ports", "Endpoints": "endpoints"},
    "MetalLB's pools": {"Name": "name", "Addresses": "addresses"},
    "Announced by MetalLB": {"Service": "service", "Address": "address", "Node": "node"},
    "Events": {"Time": "time", "Namespace": "namespace", "Object": "object", "Type": "type", "Reason": "reason",
               "Message": "message"},
}  # fmt: skip


def listed(document: Any) -> Iterator[tuple[str, list[Any]]]:
    """The entries of a report, by the caption of their table."""
    spaces = document.get("namespaces", [])
    for caption, key in (("Links", "links"), ("Routes", "routes"), ("Neighbours", "neighbors")):
        yield caption, [entry for space in spaces for entry in space[key]]
    firewall = document.get("firewall", {})
    for caption, key in (("iptables", "iptables"), ("nftables", "nftables"), ("ipset", "ipset"), ("IPVS", "ipvs")):
        yield caption, firewall.get(key, [])
    yield "Containers", document.get("containers", [])
    yield "Images", document.get("images", [])


def listed_of_cluster(cluster: Any) -> Iterator[tuple[str, list[Any]]]:
    for caption, key in (("Nodes", "nodes"), ("Pods", "pods"), ("Services", "services"), ("Events", "events")):
        yield caption, cluster.get(key, [])
    metallb = cluster.get("metallb", {})
    yield "MetalLB's pools", metallb.get("pools", [])
    yield "Announced by MetalLB", metallb.get("leaders", [])


def as_shown(value: Any) -> str:
    return ", ".join(map(shown, value)) if isinstance(value, list) else "" if value is None else shown(str(value))


def check_tables(page: str, documents: list[Any], cluster: Any) -> None:
    """The tables and the reports have the same values."""
    tables = inspect_dom.read(page).tables
    wanted = [(anchor, listed(document)) for anchor, document in zip(anchors(documents), documents)]
    for where, entries in [*wanted, ("cluster", listed_of_cluster(cluster))]:
        for caption, rows in entries:
            fields = FIELDS[caption]
            seen = [{key: row[key] for key in fields} for row in tables.get(where, {}).get(caption, [])]
            assert seen == [{key: as_shown(row.get(field)) for key, field in fields.items()} for row in rows], caption


@sample
def test_tables_contain_the_data_of_the_reports(name: str) -> None:
    check_tables(made(name), *SAMPLES[name])


def test_each_namespace_has_its_owner_and_numbers() -> None:
    (report,) = SAMPLES["host"][0]
    tables = inspect_dom.read(made("host")).tables[anchors([report])[0]]
    assert [tuple(row.values()) for row in tables["Network namespaces"]] == [
        ("initial namespace", "host", "4026531840", "", "1", "6", "2", "1"),
        ("grafana (container)", "container", "4026532001", "cni-9e3779b1", "4242", "2", "2", "1"),
        ("lab-client (no owner)", "none", "4026532007", "lab-client", "", "2", "0", "0"),
        ("lab-server (no owner)", "none", "4026532008", "lab-server", "", "2", "0", "0"),
    ]
    peers = {(row["Namespace"], row["Name"]): row["Peer"] for row in tables["Links"] if row["Peer"]}
    assert peers["initial namespace", "veth1a2b3c4"] == "eth0 in grafana (container)"
    assert peers["lab-client (no owner)", "eth0"] == "eth0 in lab-server (no owner)"


def test_the_firewall_is_summed_up_by_owner() -> None:
    documents, dummy = SAMPLES["routed"]
    rows = inspect_dom.read(made("routed")).tables[anchors(documents)[0]]["Firewall by owner"]
    assert [tuple(row.values()) for row in rows] == [
        ("administrator", "3", "0", "0", "0"),
        ("calico", "240", "0", "1", "0"),
        ("firewalld", "0", "88", "0", "0"),
        ("homelab", "0", "0", "0", "1"),
        ("kube-proxy", "118", "0", "0", "0"),
    ]


def test_notes_and_failures_are_seen_without_unfolding_anything() -> None:
    documents: list[Any] = [*copy.deepcopy(SAMPLES["bridged"][0]), {"host": "gone", "error": "no route to host"}]
    documents[0]["notes"] = ["ipvsadm is not installed"]
    root = tree(inspect_page(documents, {"notes": ["the events cannot be read"], "nodes": []}))
    folded = {text for details in root.iter("details") for text in details.itertext()}
    seen = set(root.itertext()) - folded
    assert {"ipvsadm is not installed", "the events cannot be read"} <= seen
    assert "The inspection failed: no route to host" in seen
    assert "no route to host" in whole_texts(inspect_page(documents))


@sample
def test_picture_shows_all_objects(name: str) -> None:
    documents, cluster = SAMPLES[name]
    said = whole_texts(made(name))
    for document in documents:
        assert shown(document.get("host", "a host without a name")) in said
        for space in document.get("namespaces", []):
            assert space["host"] or shown(space["owner"].get("name", space["name"])) in said or name == "hostile"
            for link in space["links"]:
                assert link["name"].startswith("lo") or shown(link["name"]) in said
                assert name == "hostile" or link["name"] == "lo" or all(one in said for one in link["addresses"])
    for leader in cluster.get("metallb", {}).get("leaders", []):
        assert shown("VIP %(address)s \u00b7 %(service)s" % leader) in said


@sample
def test_nothing_overlaps_or_is_cut(name: str) -> None:
    drawing = picture(made(name))
    size = Rect("", 0, 0, float(drawing.attrib["width"]), float(drawing.attrib["height"]))
    hosts = {}
    for group in drawing.findall(SVG + "g"):
        host, *others = [rect(one) for one in group.iter(SVG + "rect")]
        hosts[host] = others
        assert size.holds(host)
        assert all(host.holds(one) for one in others)
        assert all(host.holds(text_rect(one)) for one in group.iter(SVG + "text"))
        apart = [one for one in others if one.css != "space"]
        assert not [pair for pair in itertools.combinations(apart, 2) if pair[0].meets(pair[1])]
        for inner in group.iter(SVG + "g"):
            check_texts(inner)
    assert not [pair for pair in itertools.combinations(hosts, 2) if pair[0].meets(pair[1])]
    labels = [text_rect(one) for one in drawing.findall(SVG + "text")]
    assert all(size.holds(label) for label in labels)
    assert not [(host, label) for host in hosts for label in labels if host.meets(label)]


def check_texts(group: Element) -> None:
    """The texts of one box are inside it, and none is on another one."""
    found = group.find(SVG + "rect")
    inside = [text_rect(one) for one in group.findall(SVG + "text")]
    if found is not None:
        assert all(rect(found).holds(text) for text in inside), [rect(found), inside]
        assert not [pair for pair in itertools.combinations(inside, 2) if pair[0].meets(pair[1])]


def wires(drawing: Element, css: str) -> list[list[tuple[float, float]]]:
    """The lines of one kind, each a list of points."""
    found = [path.attrib["d"] for path in drawing.iter(SVG + "path") if path.get("class") == css]
    return [[(float(x), float(y)) for x, y in re.findall(r"(\d+) (\d+)", one)] for one in found]


def test_each_veth_pair_is_a_line_between_its_ends() -> None:
    drawing = picture(made("routed"))
    rects = [rect(one) for one in drawing.iter(SVG + "rect")]
    lines = wires(drawing, "veth")
    assert len(lines) == 30
    for (left, y), (right, same) in lines:
        assert y == same
        assert [one.css for one in rects if one.right == left and one.top < y < one.bottom] == ["end"]
        assert [one.css for one in rects if one.left == right and one.top < y < one.bottom] == ["pod netns"]


def test_each_port_of_a_bridge_is_joined_to_it() -> None:
    drawing = picture(made("bridged"))
    rects = [rect(one) for one in drawing.iter(SVG + "rect")]
    lines = wires(drawing, "member")
    touched = [
        one.css for one in rects for line in lines for x, y in [line[0]]
        if x in (one.left, one.right) and one.top < y < one.bottom and one.css in ("bridge", "end")
    ]  # fmt: skip
    assert (touched.count("bridge"), touched.count("end")) == (3, 18)


def test_links_of_a_complex_host_are_joined_correctly() -> None:
    drawing = picture(made("tangled"))
    ends = {}
    for group in drawing.iter(SVG + "g"):
        frame = group.find(SVG + "rect")
        text = group.find(SVG + "text")
        if frame is not None and text is not None:
            ends[text.text] = rect(frame)
    lines = wires(drawing, "member") + wires(drawing, "veth")

    def lanes(name: str) -> set[float]:
        """Where the wires go that begin at a box."""
        box = ends[name]
        return {
            line[1][0] for line in lines
            if line[0][1] == line[1][1] and line[0][0] in (box.left, box.right) and box.top < line[0][1] < box.bottom
        }  # fmt: skip

    (bridged,) = lanes("br0")
    (stored,) = lanes("br-storage")
    assert bridged != stored
    assert lanes("veth20") - lanes("docker0") >= {bridged}
    assert stored in lanes("veth21") & lanes("veth22") & lanes("vxlan100")
    assert bridged in lanes("bond0") & lanes("veth23")
    assert lanes("eno1") == lanes("eno2") < lanes("bond0")
    assert lanes("in-a") == lanes("in-b") != set()
    assert lanes("r1") == lanes("r2") | lanes("r3")
    assert lanes("docker0") == set()
    assert len(wires(drawing, "vip")) == 2


def test_hosts_of_one_network_are_joined_and_vips_are_where_they_are_announced() -> None:
    drawing = picture(made("routed"))
    labels = ["".join(text.itertext()) for text in drawing.findall(SVG + "text")]
    assert labels == ["172.16.0.0/24 \u00b7 gateway 172.16.0.254", "10.0.0.0/24"]
    groups = drawing.findall(SVG + "g")
    for css in ("net0", "net1"):
        ends = [line[-1] for line in wires(drawing, css)]
        for group in groups:
            ports = [rect(one) for one in group.iter(SVG + "rect") if one.get("class") == "link"]
            assert [(x, y) for x, y in ends for port in ports if x == port.left and port.top < y < port.bottom]
    assert [("VIP 172.16.0.100" in "".join(group.itertext())) for group in groups] == [False, False, True]


def test_a_network_of_one_host_is_drawn_for_its_gateway_only() -> None:
    labels = picture(made("host")).findall(SVG + "text")
    assert ["".join(text.itertext()) for text in labels] == ["172.16.0.0/24 \u00b7 gateway 172.16.0.254"]


def test_a_vip_of_a_node_that_was_not_inspected_has_a_host_of_its_own() -> None:
    reports, said = copy.deepcopy(SAMPLES["routed"])
    last = picture(inspect_page(reports[:-1], said)).findall(SVG + "g")[-1]
    assert {"worker3.home.local", "not inspected", "VIP 172.16.0.100"} <= set(last.itertext())


def test_pods_on_the_network_of_their_node_are_there() -> None:
    reports, said = copy.deepcopy(SAMPLES["routed"])
    pod = {**said["pods"][0], "namespace": "kube-system", "name": "calico-node-7lw6s", "ip": "172.16.0.12",
           "node": "worker2.home.local"}  # fmt: skip
    said["pods"].append(pod)
    groups = picture(inspect_page(reports, said)).findall(SVG + "g")
    assert ["calico-node-7lw6s" in "".join(group.itertext()) for group in groups] == [False, True, False]
    assert all("speaker-n7prq" in "".join(group.itertext()) for group in groups)


def test_the_same_reports_give_the_same_page() -> None:
    code = (
        "import hashlib; from ansible_collections.homelab.loadbalancer.tests.unit.inspect import test_page as t;"
        "print(hashlib.sha256(''.join(map(t.made, sorted(t.SAMPLES))).encode()).hexdigest())"
    )
    path = os.pathsep.join([".collections", *filter(None, sys.path)])
    pages = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            check=True, capture_output=True, timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(pages) == 1


def test_an_id_stays_when_another_host_is_added() -> None:
    first, *others = anchors([{"host": "a"}, {"host": "b"}, {"host": "a"}])
    assert anchors([{"host": "c"}, {"host": "a"}])[1] == first
    assert others[1] == first + "-2"
