# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host names that no certificate of their HTTPS listeners covers. Everything here is pure.

They only give notes, because the check needs permission to read Secrets, and routes work without it.
"""

from __future__ import annotations

import base64
from typing import Iterator, Sequence

from .._gateway.tls import uncovered_note
from .._k8s.model import Answer, Query
from .cluster import Secured

# The certificate is public. The key is not read, nor the annotations, where `kubectl apply` stores the whole Secret.
HIDDEN = ["data[tls.key]", "metadata.managedFields", "metadata.annotations"]


def queries(entries: Sequence[Secured]) -> list[Query]:
    """The queries for the notes; none if no HTTPS listener accepts a host name."""
    secrets = dict.fromkeys(secret for entry in entries for secret in entry.secrets)
    return [
        {"kind": "Secret", "namespace": namespace, "name": name, "hidden_fields": HIDDEN, "optional": True}
        for namespace, name in secrets
    ]


def notes(entries: Sequence[Secured], found: Sequence[Answer]) -> Iterator[str]:
    """Notes about host names that no certificate of their listener covers.

    found -- the answers to the queries
    """
    hidden = [query["namespace"] for query, answer in zip(queries(entries), found) if answer.get("forbidden")]
    if hidden:
        yield (
            "it was not checked whether the certificates of HTTPS listeners are for the host names: Secrets of the "
            "namespace %s may not be read" % ", ".join(dict.fromkeys(hidden))
        )
    texts = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): (obj.get("data") or {}).get("tls.crt") or ""
        for answer in found
        for obj in answer["resources"]
    }
    for entry in entries:
        shown = [texts.get(secret, "") for secret in entry.secrets]
        # A missing certificate may be issued later, for instance by cert-manager.
        if all(shown):
            decoded = [base64.b64decode(text).decode(errors="replace") for text in shown]
            note = uncovered_note(entry.where, entry.name, entry.listener, decoded)
            yield from [note] if note else []
