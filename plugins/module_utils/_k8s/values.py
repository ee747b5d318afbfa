# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values for the Kubernetes API, checked before anything is sent; `where` is the value's name in messages.

The API server's rules: names and labels as in k8s.io/apimachinery/pkg/util/validation, quantities
as k8s.io/apimachinery/pkg/api/resource, images as the reference grammar of github.com/distribution/reference.
"""

from __future__ import annotations

import re
from typing import Any

from .._common.errors import InputError
from .._common.values import parse_list

# RFC 1035 applies to a Service's name; RFC 1123 also allows a digit at the beginning.
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
ENVIRONMENT = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")
FILE = re.compile(r"(?!\.\.?\Z)[-._a-zA-Z0-9]{1,253}\Z")
PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?\Z")
QUANTITY = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?\Z")

_HOST = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
_PATH = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    r"(?:%s(?::[0-9]{1,5})?/)?%s(?:/%s)*(?::[A-Za-z0-9_][-.A-Za-z0-9_]{0,127})?(?:@sha256:[0-9a-f]{64})?\Z"
    % (_HOST, _PATH, _PATH)
)


def parse_pattern(raw: Any, pattern: re.Pattern[str], where: str, what: str) -> str:
    """Check a text; `what` completes the message: what the text is not, and how to write one."""
    if not isinstance(raw, str) or not pattern.match(raw):
        raise InputError("%s %s is not %s" % (where, raw, what))
    return raw


def parse_name(raw: Any, where: str) -> str:
    """Check a name for a Deployment and a Service."""
    return parse_pattern(
        raw, NAME, where, "a name: use lower-case letters, digits and inner hyphens, a letter first, 63 at most"
    )


def parse_label(raw: Any, where: str) -> str:
    """Check a DNS label, such as a namespace."""
    return parse_pattern(raw, LABEL, where, "a DNS label: use lower-case letters, digits and inner hyphens, 63 at most")


def parse_subdomain(raw: Any, where: str) -> str:
    """Check an object name that may contain dots."""
    return parse_pattern(
        raw, SUBDOMAIN, where, "the name of an object: use lower-case letters, digits, inner hyphens and dots"
    )


def parse_image(raw: Any, where: str) -> str:
    """Check an image reference."""
    return parse_pattern(
        raw, IMAGE, where, "an image: write it like registry.example.org/team/web:1.2, its path in lower case"
    )


def parse_qualified(raw: Any, where: str) -> str:
    """Check the key of a label or an annotation, or a class: a name, or a domain, a slash and a name."""
    domain, slash, name = raw.rpartition("/") if isinstance(raw, str) else ("", "", "")
    if not QUALIFIED.match(name) or (slash and not SUBDOMAIN.match(domain)):
        raise InputError("%s %s is not a qualified name: write it like tier or example.org/tier" % (where, raw))
    return str(raw)


def parse_mapping(raw: Any, where: str) -> dict[Any, Any]:
    """Check that the value is a mapping."""
    if not isinstance(raw, dict):
        raise InputError("%s must be a mapping, not %s" % (where, type(raw).__name__))
    return dict(raw)


def parse_files(raw: Any, where: str) -> dict[str, str]:
    """Check a mapping of file names to texts."""
    return {
        parse_pattern(name, FILE, where, "the name of a file: use letters, digits and - _ ."): parse_text(
            text, "%s.%s" % (where, name)
        )
        for name, text in parse_mapping(raw, where).items()
    }


def parse_text(raw: Any, where: str) -> str:
    """Check a text. Numbers and booleans that YAML has parsed are spelt as in YAML."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if not isinstance(raw, (str, int, float)):
        raise InputError("%s must be a text, not %s" % (where, type(raw).__name__))
    return str(raw)


def parse_texts(raw: Any, where: str) -> list[str]:
    """Check a list of texts."""
    return [parse_text(entry, "%s[%d]" % (where, i)) for i, entry in enumerate(parse_list(raw, where))]


def parse_annotations(raw: Any, where: str) -> dict[str, str]:
    """Check a mapping of qualified names to texts."""
    return {
        parse_qualified(key, where): parse_text(value, "%s.%s" % (where, key))
        for key, value in parse_mapping(raw, where).items()
    }


def parse_labels(raw: Any, where: str) -> dict[str, str]:
    """Check a mapping of qualified names to label values."""
    labels = parse_annotations(raw, where)
    for key, value in labels.items():
        if value:
            parse_pattern(
                value,
                QUALIFIED,
                "%s.%s" % (where, key),
                "a label's value: use letters, digits, inner - _ . and 63 at most",
            )
    return labels


def parse_quantity(raw: Any, where: str) -> str:
    """Check an amount of a resource, such as 250m processors or 64Mi of memory."""
    text = str(raw)
    if isinstance(raw, bool) or not QUANTITY.match(text):
        raise InputError(
            "%s %s is not a quantity: write it like 250m or 0.25 processors, 64Mi of memory" % (where, raw)
        )
    return text


def parse_path(raw: Any, where: str) -> str:
    """Check an absolute path in a container, other than the root."""
    if (
        not isinstance(raw, str)
        or not raw.startswith("/")
        or not raw.strip("/")
        or ".." in raw.split("/")
        or ":" in raw
    ):
        raise InputError("%s %s is not an absolute path of a folder, such as /tmp" % (where, raw))
    return "/" + raw.strip("/")
