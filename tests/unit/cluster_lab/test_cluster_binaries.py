# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/cluster-binaries builds the programs that it does not download. Go and podman are replaced by short scripts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible_collections.homelab.loadbalancer.tests.unit.cluster_lab.release_site import Site, content

TOOL = Path(__file__).resolve().parents[3] / "tools/cluster-binaries"
GO = r"""#!/bin/bash
set -e
last=${@: -1}
case "$1 $2" in
"env GOVERSION") echo go9.9; [[ $# == 2 ]] || echo amd64 ;;
"env GOARCH") echo amd64 ;;
"mod vendor")
    for file in github.com/coredns/coredns/core/plugin/zplugin.go \
        github.com/go-acme/lego/v4/providers/dns/zz_gen_dns_providers.go; do
        mkdir -p "vendor/${file%/*}"
        echo kept >"vendor/$file"
    done ;;
"install -v")
    mkdir -p "$GOBIN"
    for argument; do
        [[ $argument == */* && $argument != -* && $argument != *" "* ]] || continue
        name=$(sed -E 's#/v[0-9]+$##; s#.*/##' <<<"$argument")
        echo "built $name" >"$GOBIN/$name"
        echo "$name" >>"$BUILT"
    done ;;
"list -m")
    mkdir -p "$FAKE/module/config/manifests" "$FAKE/module/config/crd/standard"
    touch "$FAKE/module/config/manifests/metallb-native.yaml" "$FAKE/module/config/crd/standard/kinds.yaml"
    echo "$FAKE/module" ;;
*) echo "go: unexpected: $*" >&2; exit 1 ;;
esac
"""
PODMAN = r"""#!/bin/bash
while [[ $# != 0 ]]; do
    if [[ $1 == -o ]]; then touch "$2"; fi
    shift
done
"""
ALWAYS_BUILT = {"agnhost", "controller", "speaker"}
RELEASED = {
    *("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"),
    *("server", "coredns", "traefik"),
}


def make(folder: Path, releases: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run the tool with a cache of its own, and return its result and the names of the programs that Go built."""
    for name, text in (("go", GO), ("podman", PODMAN)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    built = folder / "built"
    built.write_text("")
    environment = {
        "PATH": "%s:%s" % (folder, os.environ["PATH"]),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "FAKE": str(folder),
        "BUILT": str(built),
        "CLUSTER_RELEASES": releases,
    }
    done = subprocess.run([str(TOOL)], env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done, set(built.read_text().split())


def test_released_programs_are_not_built(site: Site, tmp_path: Path) -> None:
    done, built = make(tmp_path, site.url)
    assert done.returncode == 0, done.stderr
    assert built == ALWAYS_BUILT
    programs = Path(done.stdout.strip()) / "bin"
    assert (programs / "kubelet").read_bytes() == content("kubelet")
    assert (programs / "etcd").read_bytes() == content("server")
    assert "cluster-binaries: building kubernetes: agnhost" in done.stderr
    assert "6 of 6, after " in done.stderr


def test_everything_is_built_without_releases(tmp_path: Path) -> None:
    done, built = make(tmp_path, "none")
    assert done.returncode == 0, done.stderr
    assert built == ALWAYS_BUILT | RELEASED
    assert "downloading" not in done.stderr


def test_one_unpublished_program_is_built(site: Site, tmp_path: Path) -> None:
    del site.files[site.path("kube-proxy")]
    done, built = make(tmp_path, site.url)
    assert done.returncode == 0, done.stderr
    assert built == ALWAYS_BUILT | {"kube-proxy"}


def test_a_wrong_checksum_ends_the_run_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.files[site.path("traefik")] += b"!"
    done, built = make(tmp_path, site.url)
    assert (done.returncode, done.stdout, built) == (1, "", set())
    assert "nothing of it is used" in done.stderr
    assert [path.name for path in (tmp_path / "cache/homelab-loadbalancer/cluster").iterdir()] == ["lock"]


def test_a_second_run_asks_no_site(site: Site, tmp_path: Path) -> None:
    first, dummy = make(tmp_path, site.url)
    assert first.returncode == 0, first.stderr
    site.asked.clear()
    second, built = make(tmp_path, site.url)
    assert (second.stdout, built, site.asked) == (first.stdout, set(), [])
