# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The location of MetalLB's manifest, and the check of its checksum."""

from __future__ import annotations

import hashlib
from typing import Any, Mapping

from ...module_utils._common.errors import InputError
from .._k8s.sources import is_url

MODES = ("native", "frr")
URL = "https://raw.githubusercontent.com/metallb/metallb/v%s/config/manifests/metallb-%s.yaml"
# SHA-256 of the manifests in MetalLB's releases.
CHECKSUMS = {
    "native": {
        "0.14.9": "951065e85692aa106f1bb5d5a487d9306154923a794ab1d82122881cbaf588e4",
        "0.15.2": "a1b04c376fb39c93265f551fe23716a3ae6e09b790edb3bf257d3fc784c35a18",
    },
    "frr": {
        "0.14.9": "79ee3c6a65c7040d636ce6a55722cd9df81675213aeef363bd985480ba1d10fd",
        "0.15.2": "64cae8e2bb5a7e7cb3d8d27894c6ae6db3d677e7b8504f88b2f0dea67d0b89d5",
    },
}


def source(options: Mapping[str, Any]) -> tuple[str, str]:
    """The URL or file of the manifest, and its SHA-256, which is empty for a file without a declared checksum.

    Raises InputError for a URL without a known checksum.
    """
    place = options["manifest"] or URL % (options["version"], options["mode"])
    checksum = options["manifest_checksum"]
    if is_url(place) and not checksum:
        checksum = CHECKSUMS[options["mode"]].get(options["version"], "")
        if not checksum:
            raise InputError(
                "no checksum of MetalLB %s in mode %s is known: set %smanifest_checksum to the SHA-256 of %s"
                % (options["version"], options["mode"], options["prefix"], place)
            )
    return place, checksum


def verify(data: bytes, place: str, checksum: str, where: str) -> None:
    """Compare the manifest with its checksum.

    where -- the name of the manifest's option in messages
    Raises InputError if they differ.
    """
    found = hashlib.sha256(data).hexdigest()
    if checksum and found != checksum.lower():
        raise InputError(
            "%s %s has the SHA-256 %s instead of %s: it was changed or is of another version. If it is right, set "
            "%s_checksum to its SHA-256" % (where, place, found, checksum, where)
        )
