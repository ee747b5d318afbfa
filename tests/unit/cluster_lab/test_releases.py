# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Released programs are downloaded, checked by their published checksums, and left out where they cannot be had."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tests.unit.cluster_lab.release_site import NAMES, Site, content
from ansible_collections.homelab.loadbalancer.tools import cluster_releases
from ansible_collections.homelab.loadbalancer.tools.cluster_releases import MODULES, RELEASES, published

ALL = {"%s/%s" % (release.module, release.program): content(release.program) for release in RELEASES}


@pytest.fixture(autouse=True)
def _mirror(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_RELEASES", site.url)


def download(folder: Path) -> tuple[int, dict[str, bytes]]:
    """Download everything, and return the exit code and the programs by module and name."""
    code = cluster_releases.main("amd64", str(folder), [path.name for path in MODULES.iterdir()])
    return code, {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*")}


def test_all_programs_are_downloaded_and_executable(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert download(tmp_path) == (0, ALL)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*/*")} == {0o755}
    assert "cluster-binaries: downloading kube-apiserver v1.33.13 (1 of 9)\n" in capfd.readouterr().err


def test_paths_are_those_of_the_projects(site: Site, tmp_path: Path) -> None:
    download(tmp_path)
    assert set(site.asked) >= {
        "dl.k8s.io/v1.33.13/bin/linux/amd64/kubelet",
        "dl.k8s.io/v1.33.13/bin/linux/amd64/kubelet.sha256",
        "github.com/etcd-io/etcd/releases/download/v3.6.5/etcd-v3.6.5-linux-amd64.tar.gz",
        "github.com/etcd-io/etcd/releases/download/v3.6.5/SHA256SUMS",
        "github.com/coredns/coredns/releases/download/v1.12.2/coredns_1.12.2_linux_amd64.tgz",
        "github.com/coredns/coredns/releases/download/v1.12.2/coredns_1.12.2_linux_amd64.tgz.sha256",
        "github.com/traefik/traefik/releases/download/v3.6.12/traefik_v3.6.12_linux_amd64.tar.gz",
        "github.com/traefik/traefik/releases/download/v3.6.12/traefik_v3.6.12_checksums.txt",
    }


@pytest.mark.parametrize("program", ["kubelet", "coredns"])
def test_a_wrong_checksum_is_an_error(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str], program: str
) -> None:
    site.files[site.path(program)] += b"!"
    code, programs = download(tmp_path)
    said = capfd.readouterr().err
    assert code == 1
    assert "%s/%s" % (NAMES[program].module, program) not in programs
    assert "%s/%s has the SHA-256 " % (site.url, site.path(program)) in said
    assert "to build everything from source instead, run 'make cluster-up CLUSTER_RELEASES=none'" in said


def test_an_unpublished_program_is_left_out(site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    del site.files[site.path("kubelet")]
    code, programs = download(tmp_path)
    assert code == 0
    assert set(ALL) - set(programs) == {"kubernetes/kubelet"}
    assert (
        "kubelet v1.33.13 is not downloaded but built from source: %s/%s: HTTP status 404"
        % (site.url, site.path("kubelet"))
    ) in capfd.readouterr().err


def test_a_program_without_a_checksum_is_left_out(site: Site, tmp_path: Path) -> None:
    site.files[site.path("kubelet") + ".sha256"] = b"<html>Log in to this network</html>"
    code, programs = download(tmp_path)
    assert code == 0
    assert set(ALL) - set(programs) == {"kubernetes/kubelet"}


def test_a_lost_connection_is_tried_again_and_no_wrong_checksum(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    site.cut.add(site.path("kubelet"))
    code, programs = download(tmp_path)
    assert code == 0
    assert set(ALL) - set(programs) == {"kubernetes/kubelet"}
    assert site.asked.count(site.path("kubelet")) == cluster_releases.ATTEMPTS
    assert "kubelet: the connection ended after 3 of 16 bytes: trying again" in capfd.readouterr().err


def test_a_silent_site_is_given_up_after_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster_releases, "LIMIT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("CLUSTER_RELEASES", "http://127.0.0.1:%d" % listener.getsockname()[1])
        start = time.monotonic()
        assert download(tmp_path) == (0, {})
    # Each site is asked once: dl.k8s.io and github.com.
    assert time.monotonic() - start < 3
    assert "traefik v3.6.12 is not downloaded but built from source" in capfd.readouterr().err


def test_a_closed_port_leaves_everything_to_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setenv("CLUSTER_RELEASES", "http://127.0.0.1:%d" % bound.getsockname()[1])
        assert download(tmp_path) == (0, {})


def test_none_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLUSTER_RELEASES", "none")
    assert download(tmp_path) == (0, {})
    assert capfd.readouterr().err == ""


def test_another_value_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLUSTER_RELEASES", "/srv/mirror")
    assert download(tmp_path) == (1, {})
    assert "CLUSTER_RELEASES=/srv/mirror is neither a URL nor none" in capfd.readouterr().err


def test_progress_of_a_download_is_shown(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster_releases, "EVERY", 0.0)
    data = bytes(3_000_000)
    site.files[site.path("kubelet")] = data
    site.files[site.path("kubelet") + ".sha256"] = hashlib.sha256(data).hexdigest().encode()
    assert download(tmp_path)[0] == 0
    assert "cluster-binaries: kubelet: 2 of 3 MB\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a" * 64, "a" * 64),
        ("a" * 64 + "\n", "a" * 64),
        ("%s  x.tgz\n%s  release/y.tgz\n" % ("a" * 64, "b" * 64), "b" * 64),
        ("%s *y.tgz" % ("b" * 64), "b" * 64),
        ("%s  x.tgz" % ("a" * 64), ""),
        ("%s\n%s" % ("a" * 64, "b" * 64), ""),
        ("a" * 63, ""),
        ("", ""),
    ],
)
def test_published_checksum_of_a_file(text: str, found: str) -> None:
    assert published(text, "y.tgz") == found
