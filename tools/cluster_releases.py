# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Download the programs of the Kubernetes lab that their projects release. tools/cluster-binaries calls it.

    tools/cluster_releases.py ARCHITECTURE FOLDER MODULE...

A program of a module becomes FOLDER/MODULE/PROGRAM, with the name that Go would give it. The versions are those pinned
in roles/cluster_lab/files/go. Each file is checked against the SHA-256 that is published beside it; a difference is an
error. A program that cannot be downloaded is left out, for tools/cluster-binaries builds it.

The environment variable CLUSTER_RELEASES is empty; or `none`, to download nothing; or the URL of a mirror, whose
paths start with the name of the site, for instance URL/dl.k8s.io/v1.33.13/bin/linux/amd64/kubelet.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

MODULES = Path(__file__).resolve().parents[1] / "roles/cluster_lab/files/go"
LIMIT = 10.0  # seconds that a site has for its first answer, including name resolution, and for each further part
ATTEMPTS = 3  # at a download whose connection is lost
EVERY = 5.0  # seconds between two lines of progress
MEGABYTE = 1_000_000


class Release(NamedTuple):
    """A program that its project releases. VERSION, NUMBER (without the v) and ARCH in texts are replaced.

    program -- the name of the file that is made
    module -- the folder in roles/cluster_lab/files/go
    package -- the Go module whose version is the release's
    file -- the site and path of the program, or of an archive that contains it
    checksums -- the file with its SHA-256
    member -- the path in the archive
    """

    program: str
    module: str
    package: str
    file: str
    checksums: str
    member: str = ""


KUBERNETES = "dl.k8s.io/VERSION/bin/linux/ARCH/"
ETCD = "github.com/etcd-io/etcd/releases/download/VERSION/"
COREDNS = "github.com/coredns/coredns/releases/download/VERSION/coredns_NUMBER_linux_ARCH.tgz"
TRAEFIK = "github.com/traefik/traefik/releases/download/VERSION/traefik_VERSION_"
# Of agnhost and MetalLB there are container images, but no programs.
RELEASES = (
    *(
        Release(name, "kubernetes", "k8s.io/kubernetes", KUBERNETES + name, KUBERNETES + name + ".sha256")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
    ),
    Release(
        "server",
        "etcd",
        "go.etcd.io/etcd/server/v3",
        ETCD + "etcd-VERSION-linux-ARCH.tar.gz",
        ETCD + "SHA256SUMS",
        "etcd-VERSION-linux-ARCH/etcd",
    ),
    Release("coredns", "coredns", "github.com/coredns/coredns", COREDNS, COREDNS + ".sha256", "coredns"),
    Release(
        "traefik",
        "traefik",
        "github.com/traefik/traefik/v3",
        TRAEFIK + "linux_ARCH.tar.gz",
        TRAEFIK + "checksums.txt",
        "traefik",
    ),
)


class NotAvailable(Exception):  # noqa: N818 -- no error: the caller builds the program
    """A program cannot be downloaded here. The text says why."""


class Unreachable(NotAvailable):
    """A site does not answer."""


class WrongChecksum(Exception):  # noqa: N818
    """A file differs from its published checksum."""


def say(text: str) -> None:
    print("cluster-binaries: " + text, file=sys.stderr, flush=True)


def version_of(release: Release) -> str:
    """The version of a program, from go.mod."""
    text = (MODULES / release.module / "go.mod").read_text(encoding="utf-8")
    found = re.search(r"^(?:require)?\s+%s (v\S+)" % re.escape(release.package), text, re.MULTILINE)
    if not found:
        raise LookupError("%s is not in the go.mod of %s" % (release.package, release.module))
    return found[1]


class Downloads:
    """The sites of the releases, or a mirror of them."""

    def __init__(self, architecture: str, mirror: str = "") -> None:
        self.architecture = architecture
        self.base = mirror.rstrip("/") + "/" if mirror else "https://"
        self.silent: dict[str, str] = {}  # the sites that do not answer, and why

    def url(self, release: Release, text: str) -> str:
        return self.base + self.filled(release, text)

    def filled(self, release: Release, text: str) -> str:
        version = version_of(release)
        words = {"VERSION": version, "NUMBER": version[1:], "ARCH": self.architecture}
        return re.sub("|".join(words), lambda word: words[word[0]], text)

    def get(self, release: Release, folder: Path) -> None:
        """Make the program in the folder. Raises NotAvailable and WrongChecksum."""
        site = release.file.partition("/")[0]
        if site in self.silent:
            raise NotAvailable(self.silent[site])
        try:
            self._get(release, folder)
        except Unreachable as error:
            self.silent[site] = str(error)
            raise

    def _get(self, release: Release, folder: Path) -> None:
        wanted = self._checksum(release)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder.parent / (release.program + ".part")
        url = self.url(release, release.file)
        found = download(url, part, release.program)
        if found != wanted:
            raise WrongChecksum(
                "%s has the SHA-256 %s, but %s says %s: nothing of it is used. Try again; to build everything from "
                "source instead, run 'make cluster-up CLUSTER_RELEASES=none'"
                % (url, found, self.url(release, release.checksums), wanted)
            )
        if release.member:
            unpack(part, self.filled(release, release.member))
        part.chmod(0o755)
        part.rename(folder / release.program)

    def _checksum(self, release: Release) -> str:
        url = self.url(release, release.checksums)
        with opened(url) as answer:
            text = answer.read(MEGABYTE).decode(errors="replace")
        found = published(text, Path(self.filled(release, release.file)).name)
        if not found:
            raise NotAvailable("%s has no SHA-256 of it" % url)
        return found


def published(text: str, name: str) -> str:
    """The SHA-256 of a file in a list as sha256sum writes it, or in a file with nothing else; or an empty string."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    for fields in lines:
        named = len(fields) == 2 and fields[1].lstrip("*").rpartition("/")[2] == name
        if (named or (len(lines) == 1 and len(fields) == 1)) and re.fullmatch("[0-9a-f]{64}", fields[0]):
            return fields[0]
    return ""


def opened(url: str) -> Any:
    """The answer to a request. Raises NotAvailable and Unreachable."""
    answers: list[Any] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            answers.append(urllib.request.urlopen(url, timeout=LIMIT))  # noqa: S310 -- the sites above, or the user's
        except (OSError, http.client.HTTPException, ValueError) as error:
            errors.append(error)

    # In a thread, for name resolution has no time limit.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LIMIT)
    for error in errors:
        if isinstance(error, urllib.error.HTTPError):
            raise NotAvailable("%s: HTTP status %d" % (url, error.code))
        raise Unreachable("%s: %s" % (url, getattr(error, "reason", None) or error))
    if not answers:
        raise Unreachable("%s: no answer within %g s" % (url, LIMIT))
    return answers[0]


def download(url: str, path: Path, name: str) -> str:
    """Write a file, with lines of progress, and return its SHA-256. Raises NotAvailable."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return download_once(url, path, name)
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise NotAvailable("%s: %s" % (url, error)) from error
            say("%s: %s: trying again" % (name, error))
    raise AssertionError("every attempt returns or raises")


def download_once(url: str, path: Path, name: str) -> str:
    checksum = hashlib.sha256()
    done, said = 0, time.monotonic()
    with opened(url) as answer, open(path, "wb") as file:
        size = int(answer.headers.get("Content-Length") or 0)
        total = "of %d MB" % round(size / MEGABYTE) if size else "MB"
        while data := answer.read(MEGABYTE):
            checksum.update(data)
            file.write(data)
            done += len(data)
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                say("%s: %d %s" % (name, round(done / MEGABYTE), total))
    if size and done != size:
        raise OSError("the connection ended after %d of %d bytes" % (done, size))
    return checksum.hexdigest()


def unpack(path: Path, member: str) -> None:
    """Replace an archive by one of its files."""
    with tarfile.open(path) as archive:
        names = {name[2:] if name.startswith("./") else name: name for name in archive.getnames()}
        source = archive.extractfile(names[member]) if member in names else None
        if source is None:
            raise NotAvailable("the archive has no file %s" % member)
        with open(str(path) + ".member", "wb") as file:
            shutil.copyfileobj(source, file)
    os.replace(str(path) + ".member", path)


def main(architecture: str, folder: str, modules: list[str]) -> int:
    """Download what the modules need. The exit code is 1 after a wrong checksum."""
    mirror = os.environ.get("CLUSTER_RELEASES", "")
    if mirror == "none":
        return 0
    if mirror and not re.match("https?://", mirror):
        say("CLUSTER_RELEASES=%s is neither a URL nor none" % mirror)
        return 1
    downloads = Downloads(architecture, mirror)
    wanted = [release for release in RELEASES if release.module in modules]
    for number, release in enumerate(wanted, 1):
        name = "%s %s" % (release.program if release.program != "server" else "etcd", version_of(release))
        say("downloading %s (%d of %d)" % (name, number, len(wanted)))
        try:
            downloads.get(release, Path(folder) / release.module)
        except NotAvailable as error:
            say("%s is not downloaded but built from source: %s" % (name, error))
        except WrongChecksum as error:
            say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
