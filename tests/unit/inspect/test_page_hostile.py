# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of an inspection with hostile, empty and very large reports."""

from __future__ import annotations

import copy
from typing import Any, Iterator

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.filter.inspect_page import inspect_page
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._inspect.html import element, shown
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._inspect.shapes import SMALL, cells, fit, pack, wrap
from ansible_collections.homelab.loadbalancer.tests.unit.inspect import inspect_dom, inspect_reports
from ansible_collections.homelab.loadbalancer.tests.unit.inspect.test_page import check_tables, made, tree

# Of a page with everything on it. A page that is well-formed has the same elements as XML and for a browser.
PLAIN = inspect_dom.read(made("routed") + made("bridged") + made("failed"))
TAGS = PLAIN.tags
ATTRIBUTES = PLAIN.attributes | {"viewBox"}


def check(page: str) -> None:
    """The texts of a node add no tag, attribute, control character or template to the page."""
    elements = list(tree(page).iter())
    assert {element.tag.rpartition("}")[2] for element in elements} <= TAGS
    assert {key for element in elements for key in element.attrib} <= ATTRIBUTES
    assert "<title>Network of " in page
    assert not [text for text in ("{{", "{%", "{#") if text in page]
    assert page.replace("\n", "").isprintable()
    page.encode()


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in JSON."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in entries:
        yield from paths(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value in one place; without the place where there is no new value."""
    copied = copy.deepcopy(value)
    place = copied
    for key in path[:-1]:
        place = place[key]
    if new is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return copied


SMALLEST = {
    "documents": [inspect_reports.node(1, 1, bridge=True)],
    "cluster": inspect_reports.cluster([inspect_reports.node(1, 1, bridge=True)]),
}
PLACES = [path for path in paths(SMALLEST) if len(path) > 1]


OTHERS: tuple[Any, ...] = (None, [], {}, "text", 7, -1.5, True, [None, 3, []], {"a": {"b": [1]}}, float("nan"), 10**400)


def test_any_value_may_be_missing() -> None:
    for path in PLACES:
        check(inspect_page(**changed(SMALLEST, path, ...)))


@pytest.mark.parametrize("number", range(len(OTHERS)), ids=lambda number: repr(OTHERS[number])[:20])
def test_any_value_may_have_another_type(number: int) -> None:
    # All that is no text or number, and of these some for each thing.
    inner = {path[:-1] for path in PLACES}
    for place, path in enumerate(PLACES):
        if path in inner or place % len(OTHERS) == number:
            check(inspect_page(**changed(SMALLEST, path, OTHERS[number])))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(inspect_reports.HOSTILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_texts_are_escaped(data: st.DataObject) -> None:
    value: Any = SMALLEST
    for dummy in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from([path for path in paths(value) if len(path) > 1]))
        value = changed(value, path, data.draw(anything))
    check(inspect_page(**value))


@pytest.mark.parametrize("text", inspect_reports.HOSTILE)
def test_a_hostile_text_is_shown_wherever_it_is(text: str) -> None:
    """Every text of the report, the names of the host and of its links among them, and those of the cluster."""

    def taint(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: taint(one) for key, one in value.items()}
        if isinstance(value, list):
            return [taint(one) for one in value]
        return text if isinstance(value, str) else value

    documents, cluster = taint(SMALLEST["documents"]), taint(SMALLEST["cluster"])
    page = inspect_page(documents, cluster)
    check(page)
    said = inspect_dom.read(page)
    assert (said.tags - TAGS, said.attributes - ATTRIBUTES) == (set(), set())
    check_tables(page, documents, cluster)
    assert shown(text) in "".join(tree(page).itertext())


@settings(deadline=None)
@given(st.text(), st.text())
def test_an_element_gives_back_its_text(text: str, attribute: str) -> None:
    read = tree("<!DOCTYPE html>\n" + element("p", text, title=attribute))
    assert (read.text or "", read.attrib["title"]) == (shown(text), shown(attribute))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain \u00e9 \u65e5\u672c", "plain \u00e9 \u65e5\u672c"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("\u202egnp.exe\u2069", "\\x202egnp.exe\\x2069"),
        ("\ud800\ufeff\u2028", "\\xd800\\xfeff\\x2028"),
    ],
)
def test_invalid_characters_are_shown(text: str, said: str) -> None:
    assert shown(text) == said


@given(st.text(), st.integers(20, 400))
def test_a_fitted_text_is_as_wide_as_there_is_room(text: str, width: int) -> None:
    assert cells(fit(text, width)) <= max(width / SMALL, 1)
    assert all(cells(line) <= max(width / SMALL, 1) for line in wrap(text, width, 3))
    assert len(wrap(text, width, 3)) <= 3


def test_a_name_is_abbreviated_in_its_middle() -> None:
    assert fit("calico-kube-controllers-98fbcc856-vgxhq", 20 * SMALL) == "calico-kub\u2026856-vgxhq"


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=20))
def test_wires_in_one_lane_do_not_touch(spans: list[tuple[int, int]]) -> None:
    lanes = pack(spans)
    for number, first in enumerate(spans):
        for other in range(number):
            if lanes[number] == lanes[other]:
                assert max(first) < min(spans[other]) or max(spans[other]) < min(first)


def test_fifty_hosts_make_a_page_that_can_be_sent_around() -> None:
    documents, cluster = inspect_reports.cluster_of(50, 30)
    page = inspect_page(documents, cluster)
    assert len(page.encode()) < 10_000_000
    assert page.count('class="pod netns"') == 1500


@pytest.mark.parametrize("documents", ["text", {"host": "x"}, None, 3])
def test_invalid_reports_are_refused(documents: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="takes a list of reports"):
        inspect_page(documents)
    with pytest.raises(AnsibleFilterError, match="as a dictionary"):
        inspect_page([], ["x"])
