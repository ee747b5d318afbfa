# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to an API server: retries, JSON, and explanations of missing answers."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s import transport as k8s_transport
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s.transport import (
    AccessError,
    Request,
    Response,
    Transport,
)


class Api(http.server.ThreadingHTTPServer):
    """Answers each request by the next of its answers: status, body, and the value of Retry-After. None hangs up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str, str] | None] = []
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Api

    def log_message(self, *ignored: Any) -> None:
        """Nothing."""

    def answer(self) -> None:
        self.server.asked.append("%s %s" % (self.command, self.path))
        answer = self.server.answers.pop(0)
        if answer is None:
            self.close_connection = True
            return
        status, body, after = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if after:
            self.send_header("Retry-After", after)
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = answer


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(k8s_transport, "_BROKEN_SECONDS", 0.0)
    monkeypatch.setattr(k8s_transport, "_BUSY_SECONDS", 0.0)
    with Api() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def kubeconfig(port: int) -> dict[str, Any]:
    return {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:%d/" % port}}],
        "users": [{"name": "x", "user": {"token": "t"}}],
    }


def ask(api: Api, *requests: Request) -> list[Response]:
    return Transport(kubeconfig(api.server_address[1])).exchange(requests)


GET = Request("GET", "/version")


def test_broken_connection_is_tried_again_unless_the_request_must_not_be_made_twice(api: Api) -> None:
    api.answers = [None, (200, "{}", "")]
    assert ask(api, GET) == [Response(200, {})]
    api.answers = [None, (200, "{}", "")]
    assert ask(api, Request("POST", "/x", body={}, repeatable=False))[0].failure == "broken"
    assert api.asked == ["GET /version"] * 2 + ["POST /x"]


def test_overloaded_api_server_is_asked_again(api: Api) -> None:
    api.answers = [(429, "{}", "1"), (429, "{}", "x"), (200, "{}", "")]
    assert ask(api, GET)[0].status == 429  # the second one does not say when
    api.answers = [*[(429, "{}", "1")] * 3, (200, "{}", "")]
    assert ask(api, GET)[0].status == 200


@pytest.mark.parametrize(
    ("status", "body", "accept", "read"),
    [
        (200, '{"a": 1}', "application/json", {"a": 1}),
        (200, "no", "application/json", "no"),
        (200, '{"a": 1}', "*/*", '{"a": 1}'),  # a line of a container's log
        (403, '{"message": "no"}', "*/*", {"message": "no"}),
    ],
)
def test_body_is_json_where_that_was_accepted(api: Api, status: int, body: str, accept: str, read: Any) -> None:
    api.answers = [(status, body, "")]
    assert ask(api, GET._replace(accept=accept)) == [Response(status, read)]


def test_answers_are_in_the_order_of_the_requests(api: Api) -> None:
    api.answers = [(200, "{}", "")] * 20
    paths = ["/%d" % number for number in range(20)]
    ask(api, *(Request("GET", path, [("a", "b c")]) for path in paths))
    assert sorted(api.asked) == sorted("GET %s?a=b+c" % path for path in paths)


def test_request_in_turn_is_made_only_when_those_before_it_have_succeeded(api: Api) -> None:
    requests = [GET, Request("GET", "/b", then=True), Request("GET", "/c"), Request("GET", "/d", then=True)]
    api.answers = [(200, "{}", ""), (404, "{}", ""), (404, "{}", "")]
    assert [(one.status, one.failure) for one in ask(api, *requests)] == [
        (200, ""),
        (404, ""),
        (404, ""),
        (0, "skipped"),
    ]
    assert api.asked[0] == "GET /version"
    assert sorted(api.asked[1:]) == ["GET /b", "GET /c"]


def test_closed_port_is_named_as_the_operating_system_does() -> None:
    [response] = Transport(kubeconfig(1)).exchange([GET])
    assert (response.failure, response.cause) == ("unreachable", "Connection refused")


@pytest.mark.parametrize("given", [{}, {"current-context": "x"}, "/nowhere"])
def test_unusable_kubeconfig_is_an_error(given: Any) -> None:
    with pytest.raises(AccessError):
        Transport(given or {"kind": "Config"})


def test_invalid_kubeconfig_is_named_without_a_python_error(tmp_path: Path) -> None:
    for text in ("127.0.0.1 localhost", "[1]", "a: b"):
        (tmp_path / "config").write_text(text)
        with pytest.raises(AccessError, match=r"its text is not that of a kubeconfig|Invalid kube-config"):
            Transport(str(tmp_path / "config"))


def test_environment_names_an_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_AUTH_HOST", "https://example.org")
    monkeypatch.setenv("K8S_AUTH_API_KEY", "t")
    monkeypatch.setenv("K8S_AUTH_VERIFY_SSL", "no")
    found = k8s_transport.configuration("", "")
    assert (found.host, found.verify_ssl) == ("https://example.org", False)
    assert found.api_key == {"authorization": "Bearer t"}
