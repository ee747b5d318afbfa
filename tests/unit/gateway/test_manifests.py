# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests of the Gateway API and of its controllers: their choice and their checksums."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.input import parse_options
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.manifests import (
    Manifest,
    manifests_of,
    read_manifests,
)
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.plans import given

LABELS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "gateway"}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "status": {}}
TEXT = yaml.safe_dump_all([NAMESPACE, None]).encode()
CHECKSUM = hashlib.sha256(TEXT).hexdigest()


def manifests(**options: Any) -> list[Manifest]:
    asked = given(**options)
    return manifests_of(asked, parse_options(asked))


def objects(content: bytes, checksum: str = "", **options: Any) -> list[dict[str, Any]]:
    """The objects of a file that is the controller's only manifest, kinds first."""
    found = manifests(manage_crds=False, manifests=[{"source": "f", "checksum": checksum}], **options)
    kinds, others = read_manifests(found, {"f": content}.__getitem__)
    return [*kinds, *others]


def test_objects_get_the_labels_of_the_role() -> None:
    expected = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": LABELS}}]
    assert objects(TEXT) == objects(TEXT, CHECKSUM) == objects(TEXT, CHECKSUM.upper()) == expected


@pytest.mark.parametrize(
    ("content", "checksum", "message"),
    [
        (TEXT, "0", r"gateway_manifests\[0\] f has the SHA-256 %s instead of 0: it was changed or is of a" % CHECKSUM),
        (b"a: b: c", "", r"gateway_manifests\[0\] f line 1, column 5 is not YAML"),
        (b"apiVersion: v1", "", r"gateway_manifests\[0\]\[0\]\.kind is missing"),
    ],
)
def test_invalid_manifests_are_refused(content: bytes, checksum: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        objects(content, checksum)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crds": [{"source": "https://x"}]}, r"gateway_crds\[0\]\.checksum is missing: no checksum of https://x"),
        ({"version": "9.9.9"}, r"gateway_manifests\[0\]\.checksum is missing: no checksum of https://\S+/v9\.9\.9/"),
        ({"manifests": [{"url": "x"}]}, r"gateway_manifests\[0\]\.url is not a known key"),
        ({"manifests": {"source": "x"}}, r"gateway_manifests must be a list, not dict"),
    ],
)
def test_a_manifest_without_a_checksum_is_not_fetched(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        manifests(**options)


@pytest.mark.parametrize(("controller", "version"), [("nginx", "1.3.0"), ("traefik", "1.4.0")])
def test_known_kinds_are_those_of_the_controllers_release(controller: str, version: str) -> None:
    found = [one for one in manifests(controller=controller) if one.where.startswith("gateway_crds")]
    assert len(found) >= 5
    for one in found:
        assert "/gateway-api/v%s/config/crd/standard/" % version in one.source
        assert len(one.checksum) == 64


def test_user_manifests_replace_the_known_ones() -> None:
    assert [one.source.rpartition("/v")[2] for one in manifests(manage_crds=False)] == [
        "2.1.4/deploy/crds.yaml",
        "2.1.4/deploy/default/deploy.yaml",
    ]
    own = {"crds": [{"source": "a"}], "manifests": [{"source": "b"}]}
    assert [one.source for one in manifests(**own)] == ["a", "b"]
    assert [one.source for one in manifests(**own, manage_crds=False)] == ["b"]
    assert manifests(controller="traefik", manage_crds=False) == []


def test_kinds_of_all_manifests_come_first() -> None:
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "k"}}
    found = objects(yaml.safe_dump_all([NAMESPACE, kind]).encode())
    assert [entry["kind"] for entry in found] == ["CustomResourceDefinition", "Namespace"]
