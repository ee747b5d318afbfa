# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds and namespaces by the names that users know from kubectl."""

from __future__ import annotations

import difflib
from typing import Any, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._k8s.transport import Request
from ...module_utils._k8s.values import parse_label
from .._k8s.discovery import Kind
from .._k8s.server import RefusalError, Server

# The options of modules that are lists of texts.
TEXTS: dict[str, Any] = {"type": "list", "elements": "str", "default": []}


def find_kind(server: Server, kind: str, api_version: str, verb: str) -> Kind:
    """The kind by any of its names in kubectl: Deployment, deployments, deploy or deployments.apps.

    Raises InputError that names similar kinds in the cluster.
    """
    # The known kinds do not include recently installed ones.
    for known in (server.discovery.all, server.discovery.renewed):
        fitting = choose(known(), kind, api_version, verb)
        if fitting is not None:
            return fitting
    raise InputError(unknown_kind(server.discovery.all(), kind, api_version, verb))


def refuse_missing_namespace(server: Server, namespace: str, where: str) -> None:
    """InputError if the namespace does not exist; the API server would then silently find nothing."""
    try:
        server.ask(Request("GET", "/api/v1/namespaces/" + parse_label(namespace, where)))
    except RefusalError as error:
        if error.status != 404:
            return  # for instance because reading it is forbidden
        raise InputError(
            "%s: the namespace %s does not exist: check its spelling, or list the kind namespaces" % (where, namespace)
        ) from error


def choose(known: Sequence[Kind], kind: str, api_version: str, verb: str) -> Kind | None:
    """The kind of this name. Among several groups the core group comes first, then Kubernetes' own groups."""
    fitting = [
        one
        for one in known
        if kind.lower() in _names(one) and api_version in ("", one.api_version) and verb in one.verbs
    ]
    return min(fitting, key=_order, default=None)


def unknown_kind(known: Sequence[Kind], kind: str, api_version: str, verb: str) -> str:
    """The error message for an unknown kind."""
    named = [one for one in known if kind.lower() in _names(one)]
    versions = sorted({one.api_version for one in named})
    wanted = "%s of %s" % (kind, api_version) if api_version else kind
    if api_version and versions and api_version not in versions:
        return "the cluster does not know %s: its api_version is %s" % (wanted, " or ".join(versions))
    if named:
        return "%s does not support this request: it has no verb %s" % (wanted, verb)
    spelt = {name: one.kind for one in known for name in (one.kind.lower(), one.plural)}
    close = difflib.get_close_matches(kind.lower(), spelt, n=3)
    near = " or ".join(dict.fromkeys(spelt[name] for name in close))
    hint = "did you mean %s?" % near if near else "check its spelling, or install its CustomResourceDefinition first"
    return "the cluster does not know %s: %s" % (wanted, hint)


def _names(one: Kind) -> set[str]:
    names = {name for name in (one.kind.lower(), one.plural, one.singular, *one.short_names) if name}
    return names | {"%s.%s" % (name, one.group) for name in names if one.group}


def _order(one: Kind) -> tuple[bool, bool, bool, str, bool]:
    return bool(one.group), "." in one.group, not one.group.endswith(".k8s.io"), one.group, not one.preferred
