# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes tools without a cluster: hidden secrets, sources of objects, and the order of logs and events."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s.options import check_numbers
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._common.redact import (
    HIDDEN,
    LAST_APPLIED,
    leaves,
    redact,
    scrub,
    secret_values,
)
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s import sources
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.discovery import Kind
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_explain.events import in_order
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_explain.times import Moment, parse_time
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools import manage
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools.kinds import choose, unknown_kind
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools.listing import listing, query_of
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools.logs import (
    containers_of,
    merged,
    parse_log,
    parse_since,
)

VALUE = "aHVudGVyMg=="  # hunter2
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": {"password": VALUE}}
WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        (SECRET, ""),
        ({key: value for key, value in SECRET.items() if key != "kind"}, "Secret"),
        ({**SECRET, "data": None, "stringData": {"password": "hunter2"}}, ""),
        ({**SECRET, "data": VALUE}, ""),
        ({"kind": "List", "items": [SECRET]}, ""),
        ({"kind": "SecretList", "items": [{"data": {"password": VALUE}}]}, ""),
        ([[SECRET]], ""),
        ({"kind": "Template", "spec": {"objects": [SECRET]}}, ""),
        ({"kind": "Secret", "metadata": {"annotations": {LAST_APPLIED: json.dumps(SECRET)}}}, ""),
        ({"kind": "Secret", "metadata": {"annotations": {LAST_APPLIED: "{hunter2"}}}, ""),
        ({**SECRET, "metadata": {"annotations": {"backup": "it was hunter2"}}}, ""),
        ({"kind": "Secret", "metadata": {"managedFields": [{"fieldsV1": {"f:data": {"f:hunter2": {}}}}]}}, ""),
    ],
)
def test_all_forms_of_secrets_are_hidden(thing: Any, kind: str) -> None:
    shown = json.dumps(redact(thing, kind))
    assert VALUE not in shown
    assert "hunter2" not in shown


def test_other_data_is_shown() -> None:
    config = {"kind": "ConfigMap", "metadata": {"annotations": {LAST_APPLIED: "{}"}}, "data": {"a": "b"}}
    assert redact(config) == config
    assert redact(SECRET)["data"] == {"password": HIDDEN}


def test_secrets_in_messages_are_hidden() -> None:
    values = list(secret_values([{**SECRET, "stringData": {"pin": 123456, "short": "ab", "lines": "one\ntwo two"}}]))
    text = scrub(r"cab: hunter2 aHVudGVyMg== {Value:123456} 'one\ntwo two' two two", values)
    assert "hunter2" not in text and VALUE not in text and "123456" not in text and "two two" not in text
    assert text.startswith("cab: ")
    assert scrub("a /data/x of hunter2", leaves([{"op": "add", "value": VALUE}])) == "a /data/x of " + HIDDEN


def read(*places: Any, checksum: str = "", inline: Any = None) -> list[dict[str, Any]]:
    """The objects of files."""
    given = sources.parse_sources(list(places), checksum, "src")
    return sources.read_objects(given, inline, str, lambda path: Path(path).read_bytes())


def test_files_of_a_folder_are_read_in_order(tmp_path: Path) -> None:
    for number, suffix in ((10, "yml"), (9, "json"), (20, "yaml"), (1, "txt")):
        text = json.dumps({**WEB, "metadata": {"name": "web-%d" % number}})
        (tmp_path / ("%02d.%s" % (number, suffix))).write_text(text)
    inline = "---\n---\n" + json.dumps({"kind": "List", "items": [WEB]})
    names = [one["metadata"]["name"] for one in read(str(tmp_path), inline=inline)]
    assert names == ["web-9", "web-10", "web-20", "web"]


def test_checksum_of_a_file_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(json.dumps(WEB))
    right = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest().upper()
    assert read(str(path), checksum=right) == read({"src": str(path), "checksum": right}) == [WEB]
    for checksum, said in (("sha256:" + "0" * 64, "and not sha256:000"), ("sha256:0", "is not a checksum")):
        with pytest.raises(InputError, match=said):
            read(str(path), checksum=checksum)
    with pytest.raises(InputError, match="checksum is that of a single src"):
        read(str(path), str(path), checksum=right)
    with pytest.raises(InputError, match="is a folder"):
        read(str(tmp_path), checksum=right)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: hunter2: c", r"x.yml line 2, column \d+ is not YAML: mapping values"),
        ("a: 1\n---\na: *hunter2", "x.yml line 3, column 4 is not YAML: found undefined alias"),
        ("a: !hunter2 1", r"x.yml line 1, column 4 is not YAML: could not determine a constructor"),
        ("hunter2: 1\nhunter2: 2", "x.yml line 2, column 1 is not YAML: a key is given twice"),
        ("a: \x01hunter2", "x.yml is not YAML"),
        ("[[hunter2]: 1}", "x.yml line 1, column"),
    ],
)
def test_bad_yaml_is_named_by_its_line_and_not_quoted(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        sources.load_documents(text.encode(), "x.yml")
    assert "hunter2" not in str(caught.value)


def test_scalars_are_those_of_kubernetes() -> None:
    text = b"{a: 2026-01-01, b: 22:30, c: 0644, d: 1.5, e: 1e3, f: yes, g: -7, h: 1.2.3, i: 0x1f, j: 0, k: 08}"
    (read_as,) = sources.load_documents(text, "x")
    values = ["2026-01-01", "22:30", 420, 1.5, 1000.0, True, -7, "1.2.3", 31, 0, "08"]
    assert read_as == dict(zip("abcdefghijk", values))


@pytest.mark.parametrize(
    ("inline", "said"),
    [
        ([], "there are no objects to apply"),
        ([{"kind": "Secret"}], r"definitions\[0\].apiVersion is missing"),
        ("hunter2", r"definitions\[0\] must be a mapping, not str"),
        ([WEB, WEB], "Deployment web is given twice"),
    ],
)
def test_invalid_objects_are_refused(inline: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(inline=inline)


def test_file_urls_are_refused_and_passwords_in_urls_hidden() -> None:
    with pytest.raises(InputError, match="only URLs of http and https"):
        read("file:///etc/passwd")
    assert sources.shown_url("https://user:word@example.org/a?token=1#b") == "https://example.org/a"


def test_objects_get_the_default_namespace() -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "lamps.example.org"},
        "spec": {"group": "example.org", "names": {"kind": "Lamp"}, "scope": "Cluster"},
    }
    lamp = {"apiVersion": "example.org/v1", "kind": "Lamp", "metadata": {"name": "one"}}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}}
    there = {**WEB, "metadata": {"name": "web", "namespace": "there"}}
    scopes = {"v1": {"Node": {"namespaced": False}}, "apps/v1": {"Deployment": {"namespaced": True}}}

    def spaces(default: str, override: str) -> list[Any]:
        objects = sources.placed([crd, lamp, node, WEB, there], default, override, scopes)
        return [one["metadata"].get("namespace") for one in objects]

    assert spaces("here", "") == [None, None, None, "here", "there"]
    with pytest.raises(InputError, match="Deployment all/web is given twice"):
        spaces("", "all")
    assert not sources.needs_scopes([crd, there], "here", "")
    assert sources.needs_scopes([WEB], "here", "") and sources.needs_scopes([there], "", "all")


def kind(name: str, group: str = "", version: str = "v1", short_names: tuple[str, ...] = ()) -> Kind:
    """A kind as discovery has it."""
    whole = "%s/%s" % (group, version) if group else version
    verbs, singular = ("get", "list"), name.lower()
    return Kind(whole, name, singular + "s", True, verbs, singular, short_names, version == "v1")


KNOWN = [
    kind("Pod", "metrics.k8s.io", "v1beta1"),
    kind("Pod"),
    kind("Service", "serving.example.org"),
    kind("Service", short_names=("svc",)),
    kind("Gateway", "gateway.networking.k8s.io", "v1beta1"),
    kind("Gateway", "gateway.networking.k8s.io"),
]


@pytest.mark.parametrize(
    ("asked", "version", "found"),
    [
        ("pods", "", "v1"),
        ("Pod", "metrics.k8s.io/v1beta1", "metrics.k8s.io/v1beta1"),
        ("svc", "", "v1"),
        ("services.serving.example.org", "", "serving.example.org/v1"),
        ("gateway", "", "gateway.networking.k8s.io/v1"),
    ],
)
def test_kinds_are_found_as_by_kubectl(asked: str, version: str, found: str) -> None:
    chosen = choose(KNOWN, asked, version, "list")
    assert chosen and chosen.api_version == found


def test_unknown_kind_is_refused() -> None:
    assert choose(KNOWN, "pods", "v2", "list") is None
    assert unknown_kind(KNOWN, "pods", "v2", "list").endswith("its api_version is metrics.k8s.io/v1beta1 or v1")
    assert unknown_kind(KNOWN, "servces", "", "list").endswith("did you mean Service?")
    assert unknown_kind(KNOWN, "Pod", "", "delete").endswith("it has no verb delete")
    assert "install its CustomResourceDefinition" in unknown_kind(KNOWN, "Xyzzy", "", "list")


def test_a_list_has_the_columns_of_kubectl() -> None:
    pod = {"metadata": {"name": "a", "namespace": "b", "managedFields": []}}
    columns = [{"name": "Name", "priority": 0}, {"name": "Restarts"}, {"name": "Node", "priority": 1}]
    table = {"kind": "Table", "columnDefinitions": columns, "rows": [{"cells": ["a", 3, None], "object": pod}]}
    found = listing(table, "Pod", "v1", True, False)
    assert (found["columns"], found["rows"]) == (["Namespace", "Name", "Restarts"], [["b", "a", "3"]])
    assert found["objects"] == [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}}]
    assert listing(table, "Pod", "v1", False, True)["rows"] == [["a", "3", ""]]
    assert listing({"kind": "PodList", "items": [pod]}, "Pod", "v1", False, False)["rows"] == [["a", ""]]
    assert listing({"kind": "Table", "rows": None}, "Pod", "v1", True, False)["rows"] == []
    assert query_of(["a=b", "c"], [""])[1:] == [("labelSelector", "a=b,c")]


@pytest.mark.parametrize(("raw", "seconds"), [("", 0), ("90", 90), ("90s", 90), ("1h30m", 5400), ("2d", 172800)])
def test_durations_are_parsed(raw: str, seconds: int) -> None:
    assert parse_since(raw, "since") == seconds


@pytest.mark.parametrize("raw", ["1w", "m", "10m1h", "-5", "1.5h"])
def test_invalid_durations_are_refused(raw: str) -> None:
    with pytest.raises(InputError, match=r"since .* is not a span of time"):
        parse_since(raw, "since")


def test_times_in_all_formats_are_compared() -> None:
    assert parse_time("1970-01-01T01:00:01.5+01:00") == Moment(1, 500000000)
    assert parse_time("1970-01-01T00:00:01Z") == Moment(1, 0)
    assert parse_time("yesterday") is None


def test_lines_of_several_logs_are_merged_in_order() -> None:
    one = parse_log("2026-01-01T00:00:02Z a\n2026-01-01T00:00:01Z\tb\nunable to read\n2026-01-01T00:00:09Z \n")
    two = parse_log("2026-01-01T00:00:03Z \x1b[2J\u202e\tx\r")
    assert [line.text for line in one] == ["a", "2026-01-01T00:00:01Z    b", "unable to read", ""]
    assert merged([("p/one", one), ("q/three", two)]).splitlines() == [
        "p/one   | a",
        "p/one   | 2026-01-01T00:00:01Z    b",
        "p/one   | unable to read",
        "q/three | \\x1b[2J\\x202e   x",
        "p/one   |",
    ]
    assert parse_log("") == []


def test_init_containers_are_listed_first() -> None:
    spec = {"containers": [{"name": "web"}], "initContainers": [{"name": "init"}], "ephemeralContainers": None}
    assert containers_of({"spec": spec}) == ["init", "web"]
    assert containers_of({"spec": spec}, "web") == ["web"]


def test_events_of_both_apis_are_sorted() -> None:
    about = {"kind": "Ingress", "namespace": "d", "name": "web"}
    series = {"count": 5, "lastObservedTime": "2026-01-04T00:00:00.1Z"}
    events: list[dict[str, Any]] = [
        {"reason": "4", "eventTime": "2025-01-01T00:00:00Z", "series": series},
        {"reason": "2", "lastTimestamp": None, "eventTime": "2026-01-02T00:00:00.000002Z"},
        {"reason": "3", "lastTimestamp": "2026-01-03T00:00:00Z", "count": 2},
        {"reason": "1", "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "message": "a\n\x1bb"},
        {"reason": "0"},
    ]
    told = in_order([{"involvedObject": about, **event} for event in events], "ingresses", "web")
    assert [(event["reason"], event["count"]) for event in told] == [("0", 1), ("1", 1), ("2", 1), ("3", 2), ("4", 5)]
    assert (told[1]["message"], told[1]["object"]) == ("a \\x1bb", "Ingress d/web")
    assert in_order([{"involvedObject": about}], "Pod") == in_order([{"involvedObject": about}], name="x") == []


@pytest.mark.parametrize(
    ("options", "definition", "said"),
    [
        ({}, {}, "kind is missing"),
        ({"kind": "Pod", "name": "../secrets/x"}, {}, "is not the name of an object"),
        ({"name": "other"}, WEB, "name is other, and the definition says web"),
    ],
)
def test_ambiguous_reference_is_refused(options: dict[str, str], definition: Any, said: str) -> None:
    empty = dict.fromkeys(("kind", "api_version", "namespace", "name"), "")
    with pytest.raises(InputError, match=said):
        manage.parse_target({**empty, **options}, definition)


@pytest.mark.parametrize(
    ("patch", "patch_type"), [({}, "merge"), ("x", "strategic"), ([], "json"), ([{"op": "add"}], "json"), ({}, "json")]
)
def test_invalid_patches_are_refused(patch: Any, patch_type: str) -> None:
    with pytest.raises(InputError, match="patch"):
        manage.parse_patch(patch, patch_type, "patch")


def test_fields_of_the_api_server_are_no_change() -> None:
    live = {**WEB, "metadata": {"name": "web", "resourceVersion": "1", "generation": 2}, "status": {"replicas": 1}}
    assert manage.significant(live) == WEB
    assert manage.significant(live, True)["status"] == {"replicas": 1}
    assert manage.names_status({}, [{"op": "add", "path": "/status/x"}]) and manage.names_status({"status": {}}, None)
    assert not manage.names_status(WEB, {"spec": {}})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tail": -1, "timeout": 0}, ""),
        ({"tail": -5}, "tail -5 is not a number of lines, or -1 for all, from -1 to 1000000"),
        ({"timeout": -5}, "timeout -5 is not a number of seconds from 0 to 86400"),
        ({"timeout": 100000}, "timeout 100000 is not a number of seconds from 0 to 86400"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said) if said else contextlib.nullcontext():
        check_numbers(options)
