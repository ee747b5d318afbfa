# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes of applications: their objects and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.filter.app_manifest import app_manifest

IMAGE = "registry.example.org/team/photos:1.2"
CLAIM = {"name": "data", "path": "/data", "claim": {"size": "5Gi"}}


def made(*volumes: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """The objects of an application called photos, by kind and name."""
    objects = app_manifest("photos", IMAGE, volumes=list(volumes), **options)
    return {"%s %s" % (one["kind"], one["metadata"]["name"]): one for one in objects}


def pod(*volumes: Any, **options: Any) -> dict[str, Any]:
    """The specification of the application's pods."""
    found: dict[str, Any] = made(*volumes, **options)["Deployment photos"]["spec"]["template"]["spec"]
    return found


def mounted(*volumes: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume of the pods with its mount, without the writable folders."""
    spec = pod(*volumes, writable_paths=[])
    return list(zip(spec["volumes"], spec["containers"][0]["volumeMounts"]))


def refusal(*volumes: Any, **options: Any) -> str:
    try:
        app_manifest("photos", IMAGE, "app_", volumes=list(volumes), **options)
    except AnsibleFilterError as error:
        return str(error)
    return ""


def test_a_claim_is_made_before_the_deployment_that_mounts_it() -> None:
    objects = made(CLAIM)
    assert list(objects) == ["PersistentVolumeClaim photos-data", "Deployment photos", "Service photos"]
    claim = objects["PersistentVolumeClaim photos-data"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    assert claim["metadata"]["labels"] == objects["Deployment photos"]["metadata"]["labels"]
    assert mounted(CLAIM) == [
        (
            {"name": "volume-data", "persistentVolumeClaim": {"claimName": "photos-data"}},
            {"name": "volume-data", "mountPath": "/data"},
        )
    ]


def test_options_of_a_claim() -> None:
    options = {"size": "1.5Ti", "access_modes": ["ReadWriteMany"], "storage_class": "nfs", "keep": False}
    claim = made({**CLAIM, "claim": options})["PersistentVolumeClaim photos-data"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["storageClassName"] == "nfs"
    assert claim["metadata"]["annotations"] == {"homelab.loadbalancer/keep": "false"}
    # Kubernetes tells no class from the default one.
    none = made({**CLAIM, "claim": {"size": "5Gi", "storage_class": ""}})["PersistentVolumeClaim photos-data"]
    assert none["spec"]["storageClassName"] == ""
    assert "annotations" not in none["metadata"]


@pytest.mark.parametrize(
    ("source", "volume"),
    [
        ({"existing_claim": "photos"}, {"persistentVolumeClaim": {"claimName": "photos"}}),
        ({"host_path": "/srv/photos"}, {"hostPath": {"path": "/srv/photos", "type": "Directory"}}),
        ({"host_path": {"path": "/dev/dri", "type": "DirectoryOrCreate"}},
         {"hostPath": {"path": "/dev/dri", "type": "DirectoryOrCreate"}}),
        ({"empty_dir": {}}, {"emptyDir": {}}),
        ({"empty_dir": {"medium": "Memory", "size_limit": "64Mi"}},
         {"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}),
        ({"config_map": "tuning"}, {"configMap": {"name": "tuning"}}),
        ({"config_map": {"name": "tuning", "items": {"ini": "conf/app.ini"}}},
         {"configMap": {"name": "tuning", "items": [{"key": "ini", "path": "conf/app.ini"}]}}),
        ({"config_map": {"files": {"app.ini": "a = 1"}}}, {"configMap": {"name": "photos-data"}}),
        ({"secret": "tls"}, {"secret": {"secretName": "tls"}}),
        ({"secret": {"name": "tls", "items": {"tls.key": "key"}}},
         {"secret": {"secretName": "tls", "items": [{"key": "tls.key", "path": "key"}]}}),
    ],
)  # fmt: skip
def test_sources(source: dict[str, Any], volume: dict[str, Any]) -> None:
    ((found, mount),) = mounted({"name": "data", "path": "/data/", "sub_path": "a/b", **source})
    assert found == {"name": "volume-data", **volume}
    read_only = {"readOnly": True} if source.keys() & {"config_map", "secret"} else {}
    assert mount == {"name": "volume-data", "mountPath": "/data", "subPath": "a/b", **read_only}


def test_files_of_a_volume_replace_pods_when_they_change() -> None:
    def template(text: str) -> dict[str, Any]:
        objects = made({"name": "conf", "path": "/conf", "config_map": {"files": {"app.ini": text}}})
        assert objects["ConfigMap photos-conf"]["data"] == {"app.ini": text}
        found: dict[str, Any] = objects["Deployment photos"]["spec"]["template"]
        return found

    assert template("a")["spec"] == template("b")["spec"]
    assert template("a")["metadata"]["annotations"] != template("b")["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("security", "group"),
    [
        ({}, 65532),
        ({"runAsUser": 1000}, 1000),
        ({"runAsUser": 1000, "runAsGroup": 100}, 100),
        ({"runAsUser": 1000, "fsGroup": 5}, 5),
        ({"runAsUser": 0, "runAsNonRoot": False}, 0),
    ],
)
def test_the_program_may_write_to_a_new_volume(security: dict[str, Any], group: int) -> None:
    spec = pod(CLAIM, security_context=security)
    assert spec["securityContext"] == {"fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"}
    assert "fsGroup" not in spec["containers"][0]["securityContext"]
    assert "securityContext" not in pod(security_context={"runAsUser": 1000})


@pytest.mark.parametrize(
    ("volume", "strategy"),
    [
        (CLAIM, "Recreate"),
        ({**CLAIM, "read_only": True}, "RollingUpdate"),
        ({**CLAIM, "claim": {"size": "1Gi", "access_modes": ["ReadWriteMany"]}}, "RollingUpdate"),
        ({"name": "a", "path": "/a", "existing_claim": "b"}, "Recreate"),
        ({"name": "a", "path": "/a", "host_path": "/b"}, "Recreate"),
        ({"name": "a", "path": "/a", "empty_dir": {}}, "RollingUpdate"),
        ({"name": "a", "path": "/a", "config_map": "b"}, "RollingUpdate"),
    ],
)
def test_pods_are_recreated_if_they_cannot_share_the_volume(volume: dict[str, Any], strategy: str) -> None:
    def chosen(**options: Any) -> Any:
        return made(volume, **options)["Deployment photos"]["spec"]["strategy"]["type"]

    assert chosen() == strategy
    assert (chosen(strategy="Recreate"), chosen(strategy="RollingUpdate")) == ("Recreate", "RollingUpdate")


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ("data", "app_volumes[0] must be a mapping with the keys name, path,"),
        ({"path": "/a", "secret": "b"}, "app_volumes[0].name is missing"),
        ({"name": "a", "secret": "b"}, "app_volumes[0].path is missing"),
        ({"name": "A", "path": "/a", "secret": "b"}, "app_volumes[0].name A is not the name of a volume"),
        ({"name": "a", "path": "a", "secret": "b"}, "app_volumes[0].path a is not an absolute path"),
        ({"name": "a", "path": "/a"}, "app_volumes[0] must have exactly one of the keys claim, existing_claim, "
         "host_path, empty_dir, config_map, secret, not none"),
        ({**CLAIM, "secret": "b"}, "app_volumes[0] must have exactly one of the keys claim, existing_claim, host_path, "
         "empty_dir, config_map, secret, not claim and secret"),
        ({**CLAIM, "nfs": {}}, "app_volumes[0].nfs is not a known key: the keys are name, path, read_only,"),
        ({**CLAIM, "read_only": "no"}, "app_volumes[0].read_only no is neither true nor false"),
        ({**CLAIM, "sub_path": "/a"}, "app_volumes[0].sub_path /a is not a path inside the volume"),
        ({**CLAIM, "sub_path": "a/../.."}, "app_volumes[0].sub_path a/../.. is not a path inside the volume"),
        ({**CLAIM, "sub_path": ""}, "app_volumes[0].sub_path  is not a path inside the volume"),
        ({**CLAIM, "claim": "photos"}, "app_volumes[0].claim must be a mapping with the keys size, access_modes,"),
        ({**CLAIM, "claim": {}}, "app_volumes[0].claim.size is missing"),
        ({**CLAIM, "claim": {"size": 5}}, "app_volumes[0].claim.size 5 is not an amount of storage: write it with a"),
        ({**CLAIM, "claim": {"size": "5GB"}}, "app_volumes[0].claim.size 5GB is not an amount of storage"),
        ({**CLAIM, "claim": {"size": "0Gi"}}, "app_volumes[0].claim.size 0Gi is not an amount of storage"),
        ({**CLAIM, "claim": {"size": "5Gi", "access_modes": ["RWO"]}},
         "app_volumes[0].claim.access_modes RWO is not one of ReadWriteOnce,"),
        ({**CLAIM, "claim": {"size": "5Gi", "access_modes": []}}, "app_volumes[0].claim.access_modes must name one"),
        ({**CLAIM, "claim": {"size": "5Gi", "access_modes": "ReadWriteOnce"}},
         "app_volumes[0].claim.access_modes must be a list, not str"),
        ({**CLAIM, "claim": {"size": "5Gi", "storage_class": False}},
         "app_volumes[0].claim.storage_class False is not the name of an object"),
        ({**CLAIM, "claim": {"size": "5Gi", "keep": "no"}}, "app_volumes[0].claim.keep no is neither true nor false"),
        ({"name": "a", "path": "/a", "existing_claim": ""}, "app_volumes[0].existing_claim  is not the name of an"),
        ({"name": "a", "path": "/a", "host_path": "srv"}, "app_volumes[0].host_path.path srv is not an absolute path"),
        ({"name": "a", "path": "/a", "host_path": {"path": "/a", "type": "Folder"}},
         "app_volumes[0].host_path.type Folder is not one of Directory,"),
        ({"name": "a", "path": "/a", "empty_dir": False}, "app_volumes[0].empty_dir must be a mapping"),
        ({"name": "a", "path": "/a", "empty_dir": {"medium": "Disk"}}, "app_volumes[0].empty_dir.medium Disk is not"),
        ({"name": "a", "path": "/a", "config_map": {"files": {}}}, "app_volumes[0].config_map.files is empty"),
        ({"name": "a", "path": "/a", "config_map": {"name": "b", "files": {"a": "b"}}},
         "app_volumes[0].config_map.name is not a known key"),
        ({"name": "a", "path": "/a", "config_map": {"files": {"a/b": ""}}},
         "app_volumes[0].config_map.files a/b is not the name of a file"),
        ({"name": "a", "path": "/a", "secret": {"files": {"a": "b"}}}, "app_volumes[0].secret.files is not a known"),
        ({"name": "a", "path": "/a", "secret": {"name": "b", "items": ["a"]}}, "app_volumes[0].secret.items must be a"),
        ({"name": "a", "path": "/tmp", "empty_dir": {}}, "app_volumes[0].path /tmp is already in app_writable_paths"),
    ],
)  # fmt: skip
def test_refused(volume: Any, message: str) -> None:
    assert refusal(volume).startswith(message)


def test_volumes_that_do_not_fit_together_are_refused() -> None:
    twin = {"name": "data", "path": "/more", "empty_dir": {}}
    assert refusal(CLAIM, twin) == "app_volumes[1].name data is already that of app_volumes[0]"
    assert refusal(CLAIM, {**twin, "name": "b", "path": "/data"}) == (
        "app_volumes[1].path /data is already in app_volumes[0]"
    )
    alone = {**CLAIM, "claim": {"size": "1Gi", "access_modes": ["ReadWriteOncePod"]}}
    assert refusal(alone, replicas=2).startswith("app_replicas 2 need a volume that several pods may use, and app_vol")
    assert refusal(alone, strategy="RollingUpdate").startswith("app_strategy RollingUpdate has two pods at a time")
