# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The known manifests of the Gateway API and its controllers, and the objects in the manifests of the user."""

from __future__ import annotations

import copy
import hashlib
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list
from .._common.objects import parse_definitions
from .._k8s.sources import is_url, load_documents
from .input import Options
from .objects import LABELS

CRD = "CustomResourceDefinition"
# The release of the Gateway API that each controller supports, and the SHA-256 of the manifests of its standard kinds.
_API = {"nginx": "1.3.0", "traefik": "1.4.0"}
_API_CHECKSUMS = {
    "1.3.0": {
        "gatewayclasses": "7c8ee2c1878d9dcc6ba106181e3d14d7eaa520ec070233d62f3aa0d674d19450",
        "gateways": "c949e7c3951227b92a582817a7a660558ce0fb94c081da264b4e2bbe4a1e5387",
        "grpcroutes": "5867279c3cfd77377fe7e9255b22751f17592242b9b5e7485c74b13b268d13c5",
        "httproutes": "a4ecf600c7e0bfd3cdb24e6411938d9b330117a26675f303cc6d9a407cb257d1",
        "referencegrants": "7587b2e7e5b1b9a26717b3ef8142f64e6600637eadf481a6bd0031740644b495",
    },
    "1.4.0": {
        "backendtlspolicies": "59d7cf1d99e1337e6d6a19c6306172d8f7ff2d9f920142a88ef9ba597d6d97bb",
        "gatewayclasses": "2f61e8c8c2289843a61d7b1bba31f8a5a46dbf20a1c54359209d638d3bd899c9",
        "gateways": "b0e29566bbe07fbe4ede55c2eff73865bd566f3063736ec9046224d7e20d6f88",
        "grpcroutes": "dc114a794b2bf2565489c3182d4b173590ea01348f986daf42c7bc0505521d26",
        "httproutes": "c2539410dec72b793ef840f484c19d13b48210074ec801b730e9fce2c5fc825c",
        "referencegrants": "3a59dcc699c2d01b19f13233943597f69de25420495ab3d4af7de7997bd807cc",
    },
}
_API_URL = (
    "https://raw.githubusercontent.com/kubernetes-sigs/gateway-api/v%s/config/crd/standard/"
    "gateway.networking.k8s.io_%s.yaml"
)
# The manifests in the releases of NGINX Gateway Fabric.
_NGINX_FILES = ("crds.yaml", "default/deploy.yaml")
_NGINX_CHECKSUMS = {
    "2.1.4": {
        "crds.yaml": "14ba40d7085322c4a2439a8acc76c59588b51b97015e61e08899fda1f9b3ce7a",
        "default/deploy.yaml": "65e9468fc582c6938cb319b389cc7868b5c7af1b872e3ec6453979f1c95113f0",
    }
}
_NGINX_URL = "https://raw.githubusercontent.com/nginx/nginx-gateway-fabric/v%s/deploy/%s"


class Manifest(NamedTuple):
    """A source of objects."""

    where: str  # its name in messages
    source: str  # a URL, or the path of a file on the control node
    checksum: str  # SHA-256; a file may have none


def manifests_of(options: Mapping[str, Any], asked: Options) -> list[Manifest]:
    """The manifests to apply: those of the user, or the known ones of the release.

    options -- the module's options `crds`, `manage_crds` and `manifests`
    Raises InputError if a URL has no checksum.
    """
    crds = (options["crds"] or _known_crds(asked.controller)) if options["manage_crds"] else []
    known = _known_manifests(asked.version) if asked.controller == "nginx" else []
    return [
        *_parse(crds, asked.prefix + "crds"),
        *_parse(options["manifests"] or known, asked.prefix + "manifests"),
    ]


def read_manifests(
    manifests: Sequence[Manifest], read: Callable[[str], bytes]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The CRDs of all manifests, and the other objects.

    read -- returns the content of a source
    Raises InputError if a manifest has a different checksum, or contains anything but objects.
    """
    found = [entry for manifest in manifests for entry in _objects(manifest, read(manifest.source))]
    kinds = [entry for entry in found if entry["kind"] == CRD]
    return kinds, [entry for entry in found if entry["kind"] != CRD]


def _known_crds(controller: str) -> list[dict[str, str]]:
    version = _API[controller]
    return [
        {"source": _API_URL % (version, name), "checksum": checksum}
        for name, checksum in _API_CHECKSUMS[version].items()
    ]


def _known_manifests(version: str) -> list[dict[str, str]]:
    checksums = _NGINX_CHECKSUMS.get(version, {})
    return [{"source": _NGINX_URL % (version, name), "checksum": checksums.get(name, "")} for name in _NGINX_FILES]


def _parse(raw: Any, where: str) -> list[Manifest]:
    return [_manifest(entry, "%s[%d]" % (where, index)) for index, entry in enumerate(parse_list(raw, where))]


def _manifest(raw: Any, where: str) -> Manifest:
    check_keys(raw, ("source", "checksum"), ("source",), where)
    source, checksum = str(raw["source"]), raw.get("checksum")
    if not checksum and is_url(source):
        raise InputError(
            "%s.checksum is missing: no checksum of %s is known. Set the SHA-256 of that file" % (where, source)
        )
    return Manifest(where, source, str(checksum or ""))


def _objects(manifest: Manifest, content: bytes) -> list[dict[str, Any]]:
    """The objects of a manifest, to be applied by server-side apply."""
    found = hashlib.sha256(content).hexdigest()
    if manifest.checksum and manifest.checksum.lower() != found:
        raise InputError(
            "%s %s has the SHA-256 %s instead of %s: it was changed or is of another version. If it is right, set "
            "it as checksum" % (manifest.where, manifest.source, found, manifest.checksum)
        )
    documents = load_documents(content, "%s %s" % (manifest.where, manifest.source))
    objects = copy.deepcopy(parse_definitions(documents, manifest.where))
    for entry in objects:
        entry.pop("status", None)
        entry["metadata"].pop("creationTimestamp", None)
        entry["metadata"]["labels"] = {**(entry["metadata"].get("labels") or {}), **LABELS}
    return objects
