# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application's volumes: the options, checked, and the fields of the Kubernetes objects made from them.

A claim that we make is kept when the application is removed, unless the user asks otherwise. The annotation KEEP
records this.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping, NamedTuple

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_boolean, parse_list
from ...module_utils._k8s.values import (
    parse_files,
    parse_mapping,
    parse_path,
    parse_pattern,
    parse_subdomain,
    parse_text,
)

# An annotation of a claim. With `false`, the claim is removed with the application. Otherwise the user must request it.
KEEP = "homelab.loadbalancer/keep"
ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
# The default group that may write to volumes. Any number works, because the kubelet adds the group to the pods.
FS_GROUP = 65532

SOURCES = ("claim", "existing_claim", "host_path", "empty_dir", "config_map", "secret")
KEYS = ("name", "path", "read_only", "sub_path", *SOURCES)
CLAIM_KEYS = ("size", "access_modes", "storage_class", "keep")
HOST_PATH_TYPES = (
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
    "CharDevice",
    "BlockDevice",
)
# A pod's volume has `volume-` before the name, and 63 characters at most.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,54}[a-z0-9])?\Z")
_SIZE = re.compile(r"(?=.*[1-9])[0-9]+(\.[0-9]+)?([KMGTPE]i|[kMGTPE])\Z")


class Volume(NamedTuple):
    """A volume and its mount point in the container."""

    where: str  # the entry's name in messages
    name: str
    path: str
    read_only: bool
    sub_path: str
    kind: str  # one of SOURCES
    source: dict[str, Any]  # of the pod's volume; empty if we make the object
    claim: dict[str, Any]  # the spec of the claim that we make
    keep: bool  # whether that claim stays when it is undeclared
    files: dict[str, str]  # of the ConfigMap that we make

    @property
    def single(self) -> bool:
        """Whether pods of two revisions must not write to it at the same time."""
        shared = self.kind == "claim" and "ReadWriteMany" in self.claim["accessModes"]
        return self.kind in ("claim", "existing_claim", "host_path") and not self.read_only and not shared


def parse_volumes(raw: Any, where: str) -> list[Volume]:
    """Check and normalise a list of volumes. Raises InputError, which names the first wrong entry."""
    volumes = [_volume(entry, "%s[%d]" % (where, i)) for i, entry in enumerate(parse_list(raw, where))]
    first: dict[str, str] = {}
    for volume in volumes:
        if volume.name in first:
            raise InputError("%s.name %s is already that of %s" % (volume.where, volume.name, first[volume.name]))
        first[volume.name] = volume.where
    return volumes


def _volume(raw: Any, where: str) -> Volume:
    check_keys(raw, KEYS, ("name", "path"), where)
    name = parse_pattern(
        raw["name"],
        _NAME,
        where + ".name",
        "the name of a volume: use lower-case letters, digits and inner hyphens, 56 at most",
    )
    kinds = [key for key in SOURCES if raw.get(key) is not None]
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none"
        raise InputError("%s must have exactly one of the keys %s, not %s" % (where, ", ".join(SOURCES), given))
    kind = kinds[0]
    made = _PARSERS[kind](raw[kind], "%s.%s" % (where, kind))
    return Volume(
        where,
        name,
        parse_path(raw["path"], where + ".path"),
        parse_boolean(raw.get("read_only"), where + ".read_only") or kind in ("config_map", "secret"),
        "" if raw.get("sub_path") is None else _relative(raw["sub_path"], where + ".sub_path"),
        kind,
        made.get("source", {}),
        made.get("claim", {}),
        made.get("keep", True),
        made.get("files", {}),
    )


def _relative(raw: Any, where: str) -> str:
    text = parse_text(raw, where).rstrip("/")
    if not text or text.startswith("/") or ".." in text.split("/"):
        raise InputError("%s %s is not a path inside the volume, such as photos/2026" % (where, raw))
    return text


def _claim(raw: Any, where: str) -> dict[str, Any]:
    check_keys(raw, CLAIM_KEYS, ("size",), where)
    size = parse_pattern(
        raw["size"], _SIZE, where + ".size", "an amount of storage: write it with a unit, such as 500Mi or 5Gi"
    )
    modes = parse_list(
        ["ReadWriteOnce"] if raw.get("access_modes") is None else raw["access_modes"], where + ".access_modes"
    )
    for mode in modes:
        _one_of(mode, ACCESS_MODES, where + ".access_modes")
    if not modes or ("ReadWriteOncePod" in modes and len(modes) > 1):
        raise InputError("%s.access_modes must name one or more modes, and ReadWriteOncePod alone" % where)
    spec = {"accessModes": modes, "resources": {"requests": {"storage": size}}}
    storage_class = raw.get("storage_class")
    if storage_class is not None:
        # In Kubernetes, an empty class means no class: a volume that was made by hand.
        spec["storageClassName"] = (
            parse_subdomain(storage_class, where + ".storage_class") if storage_class != "" else ""
        )
    keep = raw.get("keep")
    return {"claim": spec, "keep": True if keep is None else parse_boolean(keep, where + ".keep")}


def _existing_claim(raw: Any, where: str) -> dict[str, Any]:
    return {"source": {"persistentVolumeClaim": {"claimName": parse_subdomain(raw, where)}}}


def _host_path(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raw = {"path": raw}
    check_keys(raw, ("path", "type"), ("path",), where)
    # Otherwise a misspelt folder would be created, empty.
    kind = "Directory" if raw.get("type") is None else _one_of(raw["type"], HOST_PATH_TYPES, where + ".type")
    return {"source": {"hostPath": {"path": parse_path(raw["path"], where + ".path"), "type": kind}}}


def _empty_dir(raw: Any, where: str) -> dict[str, Any]:
    check_keys(raw, ("medium", "size_limit"), (), where)
    fields = {}
    if raw.get("medium") is not None:
        fields["medium"] = _one_of(raw["medium"], ("Memory",), where + ".medium")
    if raw.get("size_limit") is not None:
        fields["sizeLimit"] = parse_pattern(
            raw["size_limit"], _SIZE, where + ".size_limit", "an amount of storage: write it like 500Mi or 5Gi"
        )
    return {"source": {"emptyDir": fields}}


def _config_map(raw: Any, where: str) -> dict[str, Any]:
    if isinstance(raw, dict) and raw.get("files") is not None:
        check_keys(raw, ("files",), (), where)
        files = parse_files(raw["files"], where + ".files")
        if not files:
            raise InputError("%s.files is empty: name at least one file and its text" % where)
        return {"files": files}
    return {"source": {"configMap": _named(raw, where, "name", ("name", "items", "files"))}}


def _secret(raw: Any, where: str) -> dict[str, Any]:
    return {"source": {"secret": _named(raw, where, "secretName", ("name", "items"))}}


def _named(raw: Any, where: str, field: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """An existing object, with all its entries or those in `items`, which maps keys to file paths."""
    if not isinstance(raw, dict):
        return {field: parse_subdomain(raw, where)}
    check_keys(raw, keys, ("name",), where)
    fields: dict[str, Any] = {field: parse_subdomain(raw["name"], where + ".name")}
    items = {} if raw.get("items") is None else parse_mapping(raw["items"], where + ".items")
    if items:
        fields["items"] = [
            {"key": parse_text(key, where + ".items"), "path": _relative(path, "%s.items.%s" % (where, key))}
            for key, path in items.items()
        ]
    return fields


def _one_of(raw: Any, choices: tuple[str, ...], where: str) -> str:
    if raw not in choices:
        raise InputError("%s %s is not one of %s" % (where, raw, ", ".join(choices)))
    return str(raw)


_PARSERS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "claim": _claim,
    "existing_claim": _existing_claim,
    "host_path": _host_path,
    "empty_dir": _empty_dir,
    "config_map": _config_map,
    "secret": _secret,
}


def object_name(app: str, volume: Volume) -> str:
    """The name of the claim or the ConfigMap that we make for a volume."""
    return "%s-%s" % (app, volume.name)


def pod_volume(app: str, volume: Volume) -> dict[str, Any]:
    """The entry in the pod's volumes."""
    source = volume.source
    if volume.claim:
        source = {"persistentVolumeClaim": {"claimName": object_name(app, volume)}}
    if volume.files:
        source = {"configMap": {"name": object_name(app, volume)}}
    return {"name": "volume-" + volume.name, **source}


def mount(volume: Volume) -> dict[str, Any]:
    """The entry in the container's volumeMounts."""
    return {
        "name": "volume-" + volume.name,
        "mountPath": volume.path,
        **({"readOnly": True} if volume.read_only else {}),
        **({"subPath": volume.sub_path} if volume.sub_path else {}),
    }


def is_kept(claim: Mapping[str, Any]) -> bool:
    """Whether a claim of ours stays when it is undeclared."""
    return (claim["metadata"].get("annotations") or {}).get(KEEP) != "false"
