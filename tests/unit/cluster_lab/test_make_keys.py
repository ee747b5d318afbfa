# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script of the role `cluster_lab` that makes keys, certificates and kubeconfigs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography import x509

SCRIPT = Path(__file__).resolve().parents[3] / "roles/cluster_lab/files/make_keys.py"
LAB: dict[str, Any] = {
    "name": "cluster",
    "address": "172.16.0.11",
    "service": "10.96.0.1",
    "users": {"admin": {"user": "admin", "groups": "system:masters"}},
    "folders": ["containerd/worker1"],
    "dry_run": False,
}
MADE = {
    "keys",
    "kubeconfigs",
    "containerd/worker1",
    *("keys/%s" % name for name in ("ca.key", "ca.crt", "apiserver.key", "apiserver.crt", "service-accounts.key")),
    *("keys/%s" % name for name in ("admin.token", "tokens.csv")),
    "kubeconfigs/admin.conf",
}


def make(folder: Path, **changes: Any) -> set[str]:
    """Run the script and return the names that it printed."""
    argv = [sys.executable, str(SCRIPT), json.dumps({"folder": str(folder), **LAB, **changes})]
    return set(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.split())


def test_files_are_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    assert make(folder, dry_run=True) == MADE
    assert not folder.exists()
    assert make(folder) == MADE
    assert make(folder) == set()
    assert {path.stat().st_mode & 0o077 for path in folder.rglob("*")} == {0}


def test_keys_have_the_format_of_kube_apiserver(tmp_path: Path) -> None:
    """It derives the public key of service accounts only from a private key in this format."""
    make(tmp_path)
    keys = {path.name: path.read_text().splitlines()[0] for path in (tmp_path / "keys").glob("*.key")}
    names = {Path(name).name for name in MADE if name.endswith(".key")}
    assert keys == dict.fromkeys(names, "-----BEGIN EC PRIVATE KEY-----")


def test_certificate_of_the_api_server_has_its_addresses(tmp_path: Path) -> None:
    make(tmp_path)
    certificate = x509.load_pem_x509_certificate((tmp_path / "keys/apiserver.crt").read_bytes())
    authority = x509.load_pem_x509_certificate((tmp_path / "keys/ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = sorted(map(str, names.get_values_for_type(x509.IPAddress)))
    assert addresses == ["10.96.0.1", "127.0.0.1", "172.16.0.11"]


def test_another_address_renews_only_files_that_contain_it(tmp_path: Path) -> None:
    make(tmp_path)
    token = (tmp_path / "keys/admin.token").read_text()
    assert make(tmp_path, address="172.16.0.12") == {"keys/apiserver.crt", "kubeconfigs/admin.conf"}
    kubeconfig = json.loads((tmp_path / "kubeconfigs/admin.conf").read_text())
    assert kubeconfig["clusters"][0]["cluster"]["server"] == "https://172.16.0.12:6443"
    assert kubeconfig["users"][0]["user"] == {"token": token}
