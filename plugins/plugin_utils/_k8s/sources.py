# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read users' manifests on the control node: files, folders, URLs and text, each with one or more documents.

YAML is read as by Kubernetes, which has fewer kinds of scalars, and duplicate keys are refused. A message names the
place but never quotes the text, which may contain a Secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import urllib.error
import urllib.parse
from pathlib import Path
from typing import Any, Callable, Iterable, NamedTuple

import yaml
from ansible.module_utils.urls import open_url

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list
from .._common.objects import name_of, parse_definitions

SUFFIXES = (".yml", ".yaml", ".json")
MAX_BYTES = 32 * 1024 * 1024
TIMEOUT = 30  # seconds without data from a web server
_CHECKSUM = re.compile(r"(?P<algorithm>sha256|sha384|sha512):(?P<digest>[0-9a-fA-F]+)\Z")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Kinds that are never in a namespace, so the cluster need not be asked for their scope.
CLUSTER_WIDE = frozenset(
    [
        ("v1", "Namespace"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ]
)


class Source(NamedTuple):
    """The place that objects are read from."""

    place: str  # a file, a folder or a URL
    checksum: str  # of a file or URL, such as sha256:...; may be empty


# A bundle of CustomResourceDefinitions takes seconds without libyaml.
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc] # one of two classes
    """YAML as Kubernetes reads it: no timestamps, and no base-60 numbers."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, dummy in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, "a key is given twice", key.start_mark)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_OWN_TAGS = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OWN_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _OWN_TAGS[1], re.compile(r"[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _OWN_TAGS[2],
    re.compile(r"([-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)"
               r"|\.(nan|NaN|NAN))\Z"),
    list("-+0123456789."),
)  # fmt: skip


def parse_sources(raw: Any, checksum: str, where: str) -> list[Source]:
    """Check the user's sources: texts, or mappings of `src` and `checksum`."""
    sources = []
    for index, entry in enumerate(parse_list(raw, where)):
        place = "%s[%d]" % (where, index)
        if isinstance(entry, dict):
            check_keys(entry, ("src", "checksum"), ("src",), place)
        else:
            entry = {"src": entry}
        if not isinstance(entry["src"], str) or not entry["src"].strip():
            raise InputError("%s.src must be a file, a folder or a URL" % place)
        given = entry.get("checksum")
        sources.append(Source(entry["src"].strip(), "" if given is None else _checksum(given, place + ".checksum")))
    if checksum:
        if len(sources) != 1 or sources[0].checksum:
            raise InputError(
                "checksum is that of a single %s: with several, give each its own as {src, checksum}" % where
            )
        sources = [Source(sources[0].place, _checksum(checksum, "checksum"))]
    return sources


def read_objects(
    sources: Iterable[Source], inline: Any, find: Callable[[str], str], read: Callable[[str], bytes]
) -> list[dict[str, Any]]:
    """The objects of all sources in order, followed by the inline ones.

    find -- returns the path of a file or folder
    read -- returns the content of a file

    Raises InputError.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    for source in sources:
        for name, data in _contents(source, find, read):
            _verify(data, source.checksum, name)
            documents = load_documents(data, name)
            found += [(name, one) for one in parse_definitions(documents, name)]
    if inline not in (None, "", [], {}):
        documents = load_documents(inline.encode(), "definitions") if isinstance(inline, str) else inline
        documents = [documents] if isinstance(documents, dict) else documents
        found += [("definitions", one) for one in parse_definitions(documents, "definitions")]
    if not found:
        raise InputError("there are no objects to apply: name a file, a folder or a URL, or give objects inline")
    return _all_different(found)


def load_documents(data: bytes, where: str) -> list[Any]:
    """The non-empty documents of a YAML text. Raises InputError with the line."""
    try:
        return [one for one in yaml.load_all(data, _Loader) if one is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = " line %d, column %d" % (mark.line + 1, mark.column + 1) if mark else ""
        # Messages such as `found undefined alias 'x'` quote the text.
        problem = re.sub(r"""(['"]).*\1""", "...", error.problem or "", flags=re.DOTALL)
        raise InputError("%s%s is not YAML: %s" % (where, at, problem or "see its syntax there")) from None
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError) as error:
        raise InputError("%s is not YAML: %s" % (where, getattr(error, "reason", None) or "see its text")) from None


def needs_scopes(objects: Iterable[dict[str, Any]], default: str, override: str) -> bool:
    """Whether the scopes of the objects' kinds are needed."""
    asked = [one for one in objects if (one["apiVersion"], one["kind"]) not in CLUSTER_WIDE]
    return any(override or (default and not one["metadata"].get("namespace")) for one in asked)


def placed(objects: list[dict[str, Any]], default: str, override: str, scopes: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects with their namespaces.

    default -- the namespace of objects that name none
    override -- the namespace of all namespaced objects; if empty, they keep theirs
    scopes -- for each API version its kinds, and for each kind whether it is `namespaced`
    """
    coming = {
        (one["spec"]["group"], one["spec"]["names"]["kind"]): one["spec"].get("scope") == "Namespaced"
        for one in objects
        if one["kind"] == "CustomResourceDefinition"
    }
    result = []
    for one in objects:
        key = (one["apiVersion"], one["kind"])
        known = (scopes.get(key[0]) or {}).get(key[1])
        namespaced = key not in CLUSTER_WIDE and (
            known["namespaced"] if known else coming.get((key[0].split("/")[0], key[1]), True)
        )
        namespace = override or one["metadata"].get("namespace") or default
        if namespaced and namespace:
            one = {**one, "metadata": {**one["metadata"], "namespace": namespace}}
        result.append(one)
    names = [("definitions", one) for one in result]
    return _all_different(names)


def is_url(place: str) -> bool:
    return bool(_URL.match(place))


def shown_url(url: str) -> str:
    """A URL without parts that may be secret."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _contents(source: Source, find: Callable[[str], str], read: Callable[[str], bytes]) -> Iterable[tuple[str, bytes]]:
    if is_url(source.place):
        yield shown_url(source.place), download(source.place)
        return
    path = Path(find(source.place))
    if not path.is_dir():
        yield source.place, read(str(path))
        return
    if source.checksum:
        raise InputError("%s is a folder, and a checksum is that of a file or a URL" % source.place)
    names = sorted(one.name for one in path.iterdir() if one.suffix in SUFFIXES and one.is_file())
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise InputError("there is no file *.yml, *.yaml or *.json in the folder %s" % source.place)
    for name in names:
        yield "%s/%s" % (source.place.rstrip("/"), name), read(str(path / name))


def download(url: str) -> bytes:
    """The content of a URL. Raises InputError."""
    if urllib.parse.urlsplit(url).scheme.lower() not in ("http", "https"):
        raise InputError("%s: only URLs of http and https are fetched" % shown_url(url))
    try:
        with open_url(url, timeout=TIMEOUT) as answer:
            data: bytes = answer.read(MAX_BYTES + 1)
    except (OSError, ValueError, urllib.error.URLError) as error:
        cause = "it answers %s" % error.code if isinstance(error, urllib.error.HTTPError) else _cause(error)
        raise InputError("%s cannot be fetched: %s" % (shown_url(url), cause)) from None
    if len(data) > MAX_BYTES:
        raise InputError("%s is larger than %d MiB" % (shown_url(url), MAX_BYTES >> 20))
    return data


def _cause(error: Exception) -> str:
    """The reason without the URL, which the error may contain."""
    reason = getattr(error, "reason", None)
    return str(getattr(reason, "strerror", None) or getattr(error, "strerror", None) or type(error).__name__)


def _checksum(raw: Any, where: str) -> str:
    found = _CHECKSUM.match(str(raw))
    if not found or len(found.group("digest")) != 2 * hashlib.new(found.group("algorithm")).digest_size:
        raise InputError("%s %s is not a checksum: write it like sha256:%s" % (where, raw, "0123..."))
    return str(raw)


def _verify(data: bytes, checksum: str, name: str) -> None:
    if not checksum:
        return
    algorithm, dummy, wanted = checksum.partition(":")
    found = hashlib.new(algorithm, data).hexdigest()
    if not hmac.compare_digest(found, wanted.lower()):
        raise InputError("%s has the checksum %s:%s, and not %s" % (name, algorithm, found, checksum))


def _all_different(found: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Refuse an object that is given twice: each run would change it back and forth."""
    seen: dict[tuple[str, str], str] = {}
    for source, one in found:
        key = (one["apiVersion"].rpartition("/")[0], name_of(one))
        if key in seen:
            raise InputError("%s is given twice, in %s and in %s: remove one" % (key[1], seen[key], source))
        seen[key] = source
    return [one for dummy, one in found]
