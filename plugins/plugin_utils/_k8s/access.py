# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of a task to its API server, and messages for the user when they fail.

If the task's host is the control node itself, or a network namespace of it, this process sends the requests.
Otherwise the module `k8s_request` sends them on the host, several in one run.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Callable, Iterator, Mapping, Sequence

from ...module_utils._common.network import enter
from ...module_utils._k8s.transport import AccessError, Request, Response, Transport
from . import eks
from .server import UnansweredError, UnusableError

# Runs `k8s_request` on the task's host and returns its result; on failure `msg` has the reason.
RunModule = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Access:
    """Sends requests to one API server.

    kubeconfig, context, options_of_eks -- as in the task's options
    folder -- this run's private folder, which stores logins
    namespace -- the path of the network namespace from which this process sends requests; empty for its own
    run_module -- sends the requests on another host instead
    """

    def __init__(
        self,
        kubeconfig: Any,
        context: str,
        options_of_eks: Mapping[str, Any] | None,
        folder: str,
        *,
        namespace: str = "",
        run_module: RunModule | None = None,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._eks = options_of_eks
        self._folder = folder
        self._namespace = namespace
        self._run_module = run_module
        self._transport: Transport | None = None
        self._login: eks.Login | None = None
        self._server = ""
        self._in_pod = False

    @property
    def key(self) -> str:
        """Identifies the API server and the credentials."""
        return json.dumps([self._kubeconfig, self._context, self._eks, self._namespace], default=str)

    def exchange(self, requests: Sequence[Request]) -> list[Response]:
        """The answers to requests. Raises UnansweredError if no API server can be asked, and EksError."""
        given = self._credentials()
        if self._run_module:
            return self._on_host(self._run_module, given, requests)
        with _inside(self._namespace):
            if self._transport is None:
                try:
                    self._transport = Transport(*given)
                except AccessError as error:
                    raise self._unusable(str(error)) from None
                self._server, self._in_pod = self._transport.server, self._transport.in_pod
            return self._transport.exchange(requests)

    def explained(self, error: UnansweredError) -> str:
        """The reason why there is no answer, and what the user can do."""
        said = str(error)
        if isinstance(error, UnusableError):
            return said
        server, whose, refused, unreachable = self._parties()
        if error.status == 401:
            return "the API server %s refuses the credentials of %s (401 Unauthorized): %s" % (server, whose, refused)
        return "the API server %s does not answer (%s): %s" % (server, said, unreachable)

    def scrubbed(self, text: str) -> str:
        """A text without the token of an EKS login."""
        return text.replace(self._login.token, "********") if self._login else text

    def _parties(self) -> tuple[str, str, str, str]:
        """The API server, the credentials' owner, and remedies for refused credentials and for a silent server."""
        if self._login:
            return (
                self._login.server,
                eks.who(self._eks or {}),
                "give that principal access to the cluster, by `aws eks create-access-entry` or the ConfigMap aws-auth",
                "run the task where the cluster's endpoint is reached; a private one is from its VPC only",
            )
        if self._in_pod:
            return (
                "of this pod's cluster",
                "the pod's service account",
                "check that the service account still exists, and restart the pod",
                "check the network policies of the pod's namespace",
            )
        return (
            self._server or "of %s" % self._named,
            self._named,
            "the token or certificate in it has expired, or is not of this cluster. Get a new one, and name it in "
            "k8s_kubeconfig",
            "start it, or choose the right cluster with k8s_kubeconfig and k8s_context",
        )

    @property
    def _named(self) -> str:
        return str(self._kubeconfig or os.environ.get("K8S_AUTH_KUBECONFIG") or "~/.kube/config")

    def _unusable(self, why: str) -> UnusableError:
        return UnusableError(
            "%s is not a usable kubeconfig (%s): set k8s_kubeconfig to one on this host, and k8s_context to one of its "
            "contexts" % (self._named, why)
        )

    def _credentials(self) -> tuple[Any, str]:
        """The kubeconfig and its context. An EKS login expires, so this asks for it each time."""
        if not self._eks:
            return self._kubeconfig, self._context
        login = eks.kept(self._folder, self._eks)
        if login != self._login:
            self._login, self._transport = login, None
        return eks.kubeconfig(login), eks.CONTEXT

    def _on_host(self, run: RunModule, given: tuple[Any, str], requests: Sequence[Request]) -> list[Response]:
        returned = run({"requests": [list(one) for one in requests], "kubeconfig": given[0], "context": given[1]})
        if returned.get("unusable"):
            raise self._unusable(str(returned["unusable"]))
        self._server, self._in_pod = returned["server"], returned["in_pod"]
        return [Response(*one) for one in returned["responses"]]


@contextlib.contextmanager
def _inside(namespace: str) -> Iterator[None]:
    """Enter a network namespace with this thread and the threads that it starts."""
    if not namespace:
        yield
        return
    with open("/proc/thread-self/ns/net", "rb") as before:
        with open(namespace, "rb") as wanted:
            try:
                enter(wanted.fileno(), namespace)
            except OSError as error:
                raise UnansweredError(str(error)) from error
        try:
            yield
        finally:
            enter(before.fileno(), "the one before %s" % namespace)
