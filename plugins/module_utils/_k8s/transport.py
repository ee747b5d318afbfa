# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to an API server, several in parallel over one pool of connections.

The official Python client finds the API server and the credentials (kubeconfig, exec plugins, a pod's service account)
and makes the connections. Requests are made by path: its dynamic client is slow, and loses parts of answers.

The code runs on the control node, in the process of an action plugin, or on a host, in the module `k8s_request`.
"""

from __future__ import annotations

import json
import os
import ssl
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterable, Mapping, NamedTuple, Sequence
from urllib.parse import urlencode

try:
    import urllib3
    from kubernetes import config as kube_config  # type: ignore[import-untyped]
    from kubernetes.client import ApiClient, Configuration  # type: ignore[import-untyped]
    from kubernetes.config import ConfigException  # type: ignore[import-untyped]
    from kubernetes.config.incluster_config import SERVICE_CERT_FILENAME  # type: ignore[import-untyped]
except ImportError:
    MISSING = traceback.format_exc()
else:
    MISSING = ""

WORKERS = 8  # parallel requests
CONNECT_TIMEOUT = 10.0  # seconds
# Seconds without data from the server. The API server waits up to 30 s for a webhook, and ends a request after 60 s.
READ_TIMEOUT = 70.0
# An overloaded API server (API Priority and Fairness) answers 429 with the seconds to wait before a retry.
_BUSY_TRIES = 10
_BUSY_SECONDS = 5.0
# A request over a broken connection is retried, unless it must not be made twice.
_BROKEN_TRIES = 3
_BROKEN_SECONDS = 0.2

# The reasons for a missing answer.
UNREACHABLE, SILENT, BROKEN = "unreachable", "silent", "broken"
SKIPPED = "skipped"  # not sent, because an earlier request failed


class AccessError(Exception):
    """No API server or no credentials were found."""


class Request(NamedTuple):
    """One request."""

    method: str
    path: str
    query: Sequence[Sequence[str]] = ()
    body: Any = None  # sent as JSON
    content_type: str = "application/json"
    accept: str = "application/json"
    repeatable: bool = True  # whether to retry on a broken connection, although the API server may have acted on it
    then: bool = False  # wait for the requests before it, and run only if all of them succeeded


class Response(NamedTuple):
    """One answer, or the reason why there is none."""

    status: int  # HTTP status; 0 without an answer
    body: Any  # parsed JSON if that was accepted, else text
    failure: str = ""  # UNREACHABLE, SILENT, BROKEN or SKIPPED
    cause: str = ""  # the operating system's message


class Transport:
    """Connections to one API server.

    kubeconfig -- a path or the content of one; if empty, that of K8S_AUTH_KUBECONFIG, in a pod its service account,
        that of KUBECONFIG, or ~/.kube/config
    context -- the name of a context in it; empty for the current one
    Raises AccessError if there is none.
    """

    def __init__(self, kubeconfig: Any = "", context: str = "", read_timeout: float = READ_TIMEOUT) -> None:
        self._configuration = configuration(kubeconfig, context)
        self._configuration.connection_pool_maxsize = WORKERS
        self._client = ApiClient(self._configuration)
        self._timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=read_timeout)

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self._configuration.host)

    @property
    def in_pod(self) -> bool:
        """Whether the credentials come from a pod's service account."""
        return bool(self._configuration.ssl_ca_cert == SERVICE_CERT_FILENAME)

    def exchange(self, requests: Sequence[Request]) -> list[Response]:
        """The answers, in the order of the requests. Requests run in parallel up to the next one with `then`.

        When a request gets no answer, requests that have not started yet are not sent: they get the same failure.
        """
        headers: dict[str, str] = {"User-Agent": "homelab.loadbalancer"}
        token = self._configuration.auth_settings().get("BearerToken", {}).get("value")
        if token:
            headers["Authorization"] = token
        responses: list[Response] = []
        for batch in _batches(requests):
            if all(200 <= response.status < 300 for response in responses):
                responses += self._side_by_side(batch, headers)
            else:
                responses += [Response(0, None, SKIPPED)] * len(batch)
        return responses

    def _side_by_side(self, requests: Sequence[Request], headers: Mapping[str, str]) -> list[Response]:
        failed: list[Response] = []

        def answer(request: Request) -> Response:
            response = failed[0] if failed else self._answer(request, headers)
            if response.failure:
                failed.append(response)
            return response

        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            return list(pool.map(answer, requests))

    def close(self) -> None:
        self._client.rest_client.pool_manager.clear()

    def _answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        busy = broken = 0
        while True:
            response, after = self._try(request, headers)
            if response.status == 429 and after is not None and busy < _BUSY_TRIES:
                busy += 1
                time.sleep(after)
            elif response.failure == BROKEN and request.repeatable and broken < _BROKEN_TRIES:
                broken += 1
                time.sleep(_BROKEN_SECONDS * broken)
            else:
                return response

    def _try(self, request: Request, headers: Mapping[str, str]) -> tuple[Response, float | None]:
        """One answer and, if the API server is overloaded, the seconds to wait before a retry."""
        url = self._configuration.host.rstrip("/") + request.path
        if request.query:
            url += "?" + urlencode([(pair[0], pair[1]) for pair in request.query])
        body = None if request.body is None else json.dumps(request.body).encode()
        more = {"Accept": request.accept, **({"Content-Type": request.content_type} if body is not None else {})}
        try:
            answer = self._client.rest_client.pool_manager.request(
                request.method, url, body=body, headers={**headers, **more}, timeout=self._timeout, retries=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return _failed(error), None
        return Response(answer.status, _parsed(answer, request.accept)), _retry_after(answer)


def _batches(requests: Sequence[Request]) -> list[list[Request]]:
    batches: list[list[Request]] = []
    for request in requests:
        if request.then or not batches:
            batches.append([])
        batches[-1].append(request)
    return batches


def configuration(kubeconfig: Any, context: str) -> Any:
    """The client's configuration. The environment variables K8S_AUTH_... apply as for kubernetes.core.

    Raises AccessError.
    """
    found = Configuration()
    kubeconfig = kubeconfig or os.environ.get("K8S_AUTH_KUBECONFIG", "")
    context = context or os.environ.get("K8S_AUTH_CONTEXT", "")
    try:
        if isinstance(kubeconfig, dict):
            kube_config.load_kube_config_from_dict(kubeconfig, context or None, client_configuration=found)
        elif kubeconfig or context:
            path = os.path.expanduser(kubeconfig) if kubeconfig else None
            kube_config.load_kube_config(path, context or None, client_configuration=found)
        elif os.environ.get("K8S_AUTH_HOST"):
            _from_environment(found)
        else:
            _from_surroundings(found)
    except (TypeError, AttributeError, KeyError) as error:
        raise AccessError("its text is not that of a kubeconfig") from error
    except (ConfigException, OSError, ValueError) as error:
        raise AccessError(" ".join(str(error).split()) or type(error).__name__) from error
    return found


def _from_surroundings(found: Any) -> None:
    """From the service account of a pod, or else from the default kubeconfig."""
    try:
        kube_config.load_incluster_config(client_configuration=found)
    except ConfigException:
        kube_config.load_kube_config(client_configuration=found)


def _from_environment(found: Any) -> None:
    found.host = os.environ["K8S_AUTH_HOST"]
    found.verify_ssl = os.environ.get("K8S_AUTH_VERIFY_SSL", "true").lower() not in ("0", "false", "no", "off")
    for key, attribute in (
        ("K8S_AUTH_SSL_CA_CERT", "ssl_ca_cert"),
        ("K8S_AUTH_CERT_FILE", "cert_file"),
        ("K8S_AUTH_KEY_FILE", "key_file"),
        ("K8S_AUTH_PROXY", "proxy"),
    ):
        if os.environ.get(key):
            setattr(found, attribute, os.environ[key])
    if os.environ.get("K8S_AUTH_API_KEY"):
        found.api_key = {"authorization": "Bearer " + os.environ["K8S_AUTH_API_KEY"]}


def _parsed(answer: Any, accept: str) -> Any:
    """JSON if it was accepted or explains a refusal; otherwise text, such as a container's log."""
    text = answer.data.decode("utf-8", "replace")
    try:
        return json.loads(text) if "json" in accept or answer.status >= 400 else text
    except ValueError:
        return text


def _retry_after(answer: Any) -> float | None:
    try:
        return min(max(float(answer.headers.get("Retry-After")), 0.1), _BUSY_SECONDS)
    except (TypeError, ValueError):
        return None


def _failed(error: BaseException) -> Response:
    silent = isinstance(error, urllib3.exceptions.ReadTimeoutError)
    broken = isinstance(error, (urllib3.exceptions.ProtocolError, ConnectionResetError, BrokenPipeError))
    kind = SILENT if silent else BROKEN if broken else UNREACHABLE
    return Response(0, None, kind, _cause(error))


def _cause(error: BaseException) -> str:
    """The operating system's message, or that of TLS."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return str(each.verify_message)
        if isinstance(each, ssl.SSLError):
            return str(each.reason or each).replace("_", " ").lower()
        if isinstance(each, OSError) and each.strerror:
            return str(each.strerror)
    return "timed out" if isinstance(error, urllib3.exceptions.TimeoutError) else type(error).__name__


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    """An exception with its causes and contexts."""
    seen: list[BaseException] = []
    left = [error]
    while left:
        each = left.pop(0)
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            left += [each.__cause__, each.__context__, getattr(each, "reason", None), *_inner(each)]
    return seen


def _inner(error: BaseException) -> list[BaseException]:
    return [each for each in error.args if isinstance(each, BaseException)]
