# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mirror of the sites of releases, on the loopback."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Iterator

from ansible_collections.homelab.loadbalancer.tools.cluster_releases import RELEASES, Downloads, Release

NAMES = {release.program: release for release in RELEASES}
FILLED = Downloads("amd64")


class Site:
    """Files by their paths. All releases are there, each with its checksum.

    cut -- the paths whose connections end in the middle
    asked -- the paths of all requests
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        self.url = ""
        for release in RELEASES:
            self.publish(release)

    def publish(self, release: Release) -> None:
        """Add a program with this content, or an archive of it, and its checksum as its project writes it."""
        file = FILLED.filled(release, release.file)
        data = content(release.program)
        if release.member:
            data = archive(FILLED.filled(release, release.member), data)
        self.files[file] = data
        checksum = hashlib.sha256(data).hexdigest()
        if release.module != "kubernetes":
            checksum = "%s  other\n%s  %s\n" % ("0" * 64, checksum, file.rpartition("/")[2])
        self.files[FILLED.filled(release, release.checksums)] = checksum.encode()

    def path(self, program: str) -> str:
        """The path of a program's file."""
        return FILLED.filled(NAMES[program], NAMES[program].file)

    @contextlib.contextmanager
    def serving(self) -> Iterator[Site]:
        """The site, reachable at `url` during the block."""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                site.asked.append(path)
                data = site.files.get(path)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write((data or b"")[: 3 if path in site.cut else None])

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self.url = "http://127.0.0.1:%d" % server.server_port
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def content(program: str) -> bytes:
    """The content of a released program."""
    return b"released " + program.encode()


def archive(name: str, data: bytes) -> bytes:
    """A compressed archive of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        packed.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
