# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One self-contained HTML page about an inspection of all hosts; it loads nothing."""

from __future__ import annotations

import base64
import hashlib
from typing import Sequence

from .hosts import anchors, host_name
from .html import Html, Json, element, items, mapping, word, words
from .picture import arrange, svg
from .style import SCRIPT, STYLE
from .tables import cluster_tables, host_tables, notes

# With more hosts than this their tables are initially folded.
OPEN = 3
CLUSTER = ("nodes", "pods", "services", "metallb", "events", "notes")


def page(documents: Sequence[Json], cluster: Json) -> str:
    """Build the page.

    documents -- one report per host, with its name as `host` and the time as `time`, or with an `error`
    cluster -- the report of the cluster, or an empty one

    The same input gives the same bytes. No part of the input can become markup or script.
    """
    documents = [document if isinstance(document, dict) else {} for document in documents]
    cluster = cluster if isinstance(cluster, dict) else {}
    hosts = anchors(documents)
    has_cluster = any(cluster.get(key) for key in CLUSTER)
    body = element(
        "body",
        _top(documents, hosts, has_cluster),
        element("main", *_main(documents, hosts, cluster if has_cluster else {})),
        element("script", Html(SCRIPT)),
    )
    heading = "Network of %s" % _counted(len(documents), "host")
    return "<!DOCTYPE html>\n%s\n" % element("html", _head(heading), body, lang="en")


def _head(heading: str) -> Html:
    """The head, which allows only this page's own style and script, not even the loading of a picture."""
    policy = "default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'" % (
        _digest(STYLE),
        _digest(SCRIPT),
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        Html('<meta http-equiv="Content-Security-Policy" content="%s"/>' % policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", heading),
        element("style", Html(STYLE)),
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _counted(number: int, noun: str) -> str:
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")


def _top(documents: Sequence[Json], hosts: Sequence[str], has_cluster: bool) -> Html:
    times = sorted({word(document, "time") for document in documents} - {""})
    when = " to ".join(dict.fromkeys([times[0], times[-1]])) if times else ""
    links = [
        element("li", element("a", host_name(document), href="#" + host), *_flags(document))
        for document, host in zip(documents, hosts)
    ]
    if has_cluster:
        links.append(element("li", element("a", "The cluster", href="#cluster")))
    return element(
        "header",
        element("h1", "Network of %s" % _counted(len(documents), "host")),
        element("p", "Inspected " + when, class_="muted") if when else "",
        element("nav", element("ul", *links), aria_label="Hosts"),
    )


def _flags(document: Json) -> list[str]:
    if word(document, "error"):
        return [" ", element("span", "failed", class_="bad")]
    said = words(document, "notes")
    return [" ", element("span", "(%s)" % _counted(len(said), "note"), class_="muted")] if said else []


def _main(documents: Sequence[Json], hosts: Sequence[str], cluster: Json) -> list[Html]:
    """The picture, then the tables, which are readable without it."""
    picture = arrange(documents, cluster)
    caption = (
        "From left to right: the links that lead out, the host, its pods and containers. Dashed: a link that is down, "
        "or a namespace without a pod or container. Point at a box for details; the tables have them too."
    )
    if picture.left_out:
        caption += " Not drawn: %s more." % _counted(picture.left_out, "shared network")
    parts = [
        element("figure", element("div", svg(picture), class_="picture"), element("figcaption", caption)),
        _find(),
        element("h2", "Hosts"),
    ]
    unfolded = len(documents) <= OPEN
    parts += [_host(document, host, unfolded) for document, host in zip(documents, hosts)]
    if cluster:
        tables = element("details", element("summary", "Tables"), cluster_tables(cluster), id="cluster", open="")
        parts += [element("h2", "The cluster"), notes(cluster), element("section", tables, class_="cluster")]
    return parts


def _find() -> Html:
    """The search field, which appears only if the script runs."""
    return element(
        "form",
        element("label", "Find rows", for_="find"),
        element("input", id="find", type="search", autocomplete="off"),
        element("output", for_="find", class_="muted"),
        class_="find",
        role="search",
        hidden="",
    )


def _host(document: Json, host: str, unfolded: bool) -> Html:
    heading = element("h3", host_name(document))
    facts = " \u00b7 ".join(_facts(document))
    parts = [heading, element("p", facts, class_="muted")] if facts else [heading]
    if word(document, "error"):
        parts.append(element("p", "The inspection failed: " + word(document, "error"), class_="bad"))
    parts.append(notes(document))
    if set(document) <= {"host", "time", "error", "notes"}:
        tables = element("p", "Nothing else is known about this host.", class_="muted")
        return element("section", *parts, element("div", tables, id=host), class_="about")
    back = element("p", element("a", "In the picture", href="#picture-" + host))
    summary = element("summary", "Tables of ", host_name(document))
    details = element("details", summary, back, host_tables(document), id=host, open="" if unfolded else None)
    return element("section", *parts, details, class_="about")


def _facts(document: Json) -> list[str]:
    """A summary of a host in one line, with the row counts of its tables."""
    spaces = items(document, "namespaces")
    firewall = mapping(document, "firewall")
    hostname, kernel = word(document, "hostname"), word(document, "kernel")
    facts = [hostname if hostname != word(document, "host") else "", "Linux " + kernel if kernel else ""]
    counts = (
        (len(spaces), "network namespace"),
        (sum(len(items(space, "links")) for space in spaces), "link"),
        (sum(len(items(space, "routes")) for space in spaces), "route"),
        (len(items(firewall, "ipvs")), "virtual server"),
        (len(items(document, "containers")), "container"),
        (len(items(document, "images")), "image"),
    )
    facts += [_counted(number, noun) for number, noun in counts if number]
    return [fact for fact in [*facts, word(document, "time")] if fact]
