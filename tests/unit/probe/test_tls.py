# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's judgement of a server's certificate, by real connections on the loopback interface."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._probe.ports import Answer, Target, ask, settled
from ansible_collections.homelab.loadbalancer.plugins.module_utils._probe.tls import covers
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.certificates import pair


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Host"].endswith("k8s.local") else 404)
        self.end_headers()

    def log_message(self, *dummy: Any) -> None:
        pass


def make_pair(folder: Path, *names: str, days: int = 1) -> tuple[str, Path]:
    """A certificate for names, and the file that has it with its key."""
    text, key = pair(*names, days=days)
    file = folder / "pair.pem"
    file.write_text(text + key)
    return text, file


@contextlib.contextmanager
def serving(file: Path | None) -> Iterator[int]:
    """A server on the loopback link, with a certificate or without TLS; its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    if file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("names", "days", "host", "given", "distrust", "detail"),
    [
        (["*.k8s.local"], 1, "web.k8s.local", True, "", "HTTP 200"),
        (
            ["*.k8s.local"],
            1,
            "a.b.k8s.local",
            True,
            "name",
            "HTTP 200, with a certificate for *.k8s.local (Test, issued",
        ),
        (["*.k8s.local"], 1, "a.b.k8s.local", False, "name", "HTTP 200, with a certificate for *.k8s.local (Test, "),
        (["*.k8s.local"], 1, "web.k8s.local", False, "issuer", "HTTP 200, with a certificate for *.k8s.local (Test, "),
        (["web.k8s.local"], -1, "web.k8s.local", True, "time", "HTTP 200, with a certificate for web.k8s.local"),
        (["web.k8s.local"], -1, "web.k8s.local", False, "time", "HTTP 200, with a certificate for web.k8s.local"),
        ([], 1, "web.k8s.local", True, "name", "HTTP 200, with a certificate for no name (Test, issued by Test)"),
        (["web.example.org"], 1, "web.example.org", True, "", "HTTP 404"),
    ],
)
def test_certificate_is_checked(
    tmp_path: Path, names: list[str], days: int, host: str, given: bool, distrust: str, detail: str
) -> None:
    certificate, file = make_pair(tmp_path, *names, days=days)
    with serving(file) as port:
        target = Target("127.0.0.1", port, "https", host=host, ca=certificate if given else "")
        answer = ask(target, 5)
    assert (answer.state, answer.distrust, answer.source) == ("open", distrust, "127.0.0.1")
    assert answer.detail.startswith(detail)
    assert answer.status == (404 if "example" in host else 200)
    assert settled(target, answer) == (distrust in {"", "issuer"})


def test_plain_text_server_is_recognized() -> None:
    with serving(None) as port:
        answer = ask(Target("127.0.0.1", port, "https", host="web.k8s.local"), 5)
    assert (answer.state, answer.status) == ("open", None)
    assert answer.detail.startswith("connects, but does not speak TLS for web.k8s.local (")


def test_missing_page_is_requested_again() -> None:
    assert not settled(Target("", 443, "https", host="web"), Answer("open", "HTTP 404", status=404))


@pytest.mark.parametrize(
    ("name", "host", "covered"),
    [
        ("web.k8s.local", "Web.k8s.local", True),
        ("*.k8s.local", "web.k8s.local", True),
        ("*.k8s.local", "a.b.k8s.local", False),
        ("*.k8s.local", "k8s.local", False),
        ("*.k8s.local", "*.k8s.local", True),
        ("k8s.local", "web.k8s.local", False),
        ("*.", "web.", False),
    ],
)
def test_a_wildcard_stands_for_one_label(name: str, host: str, covered: bool) -> None:
    assert covers(name, host) == covered
