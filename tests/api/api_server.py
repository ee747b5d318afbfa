# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes lab's etcd and kube-apiserver alone, in a network namespace, as controller-runtime's envtest has them.

There are no nodes: Deployments never roll out. There are no controllers, unless a test asks for two of them.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.network import enter
from ansible_collections.homelab.loadbalancer.tests.api.plays import Plays
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import REPOSITORY, go_home, wait_for
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.certificates import pair

PREFIX = "homelab-api-"  # of the network namespace and of the folder; then the process id
PORT = 6443
# The API server's own address, in the endpoints of the Service kubernetes. It must be no loopback address.
ADDRESS = "192.0.2.1"
CHANGES = ("create", "update", "patch", "delete", "deletecollection")
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": ["admin"]}, {"level": "None"}],
}


class Refused(Exception):  # noqa: N818 -- as the API server says it
    """The API server's refusal of a request."""

    def __init__(self, status: int, said: Any) -> None:
        super().__init__("%d: %s" % (status, said["message"] if isinstance(said, dict) else said))
        self.status = status


class Asked(NamedTuple):
    """A request of the audit log."""

    verb: str
    path: str  # without the query
    dry: bool
    status: int
    agent: str


class ApiServer(Plays):
    """A running API server. All its files are in one folder, which is removed with it."""

    def __init__(self) -> None:
        self.name = PREFIX + str(os.getpid())
        self.folder = Path(tempfile.mkdtemp(prefix="%s%d-" % (PREFIX, os.getpid())))
        self.programs = Path(run([str(REPOSITORY / "tools/cluster-binaries")]).out.strip())
        self.kubeconfig = self.folder / "admin.conf"
        self.certificate = self.folder / "server.crt"  # also for the tests' own servers in this namespace
        self.key = self.folder / "server.key"
        self.log = self.folder / "audit.log"
        self._token = secrets.token_hex(16)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._numbers = itertools.count()
        self._kept = threading.local()

    # Its beginning and end.

    def start(self) -> None:
        """Return when it answers and serves the kinds of MetalLB and of the Gateway API."""
        self.prepare()
        self._start_api_server()
        wait_for(self._is_ready, "the API server of %s" % self.folder, 60)
        self._create_kinds()

    def prepare(self) -> None:
        """Make its network and its files, and start etcd."""
        remove_remains()
        run(["ip", "netns", "add", self.name])
        self.ip("link", "set", "lo", "up")
        self.ip("address", "add", ADDRESS + "/32", "dev", "lo")
        self._write_files()
        self._start_etcd()

    def stop(self) -> None:
        """Remove everything, in any state."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        run(["ip", "netns", "delete", self.name], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_files(self) -> None:
        certificate, key = pair("localhost", "127.0.0.1", ADDRESS)
        self.certificate.write_text(certificate)
        self.key.touch(0o600)
        self.key.write_text(key)
        (self.folder / "policy.json").write_text(json.dumps(POLICY))
        (self.folder / "tokens.csv").write_text('%s,admin,admin,"system:masters"\n' % self._token)
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(json.dumps(self.kubeconfig_of("https://127.0.0.1:%d" % PORT)))

    def kubeconfig_of(self, server: str) -> dict[str, Any]:
        """The administrator's kubeconfig, for the API server itself or for a proxy before it."""
        cluster: dict[str, Any] = {"server": server}
        if server.startswith("https:"):
            cluster["certificate-authority"] = str(self.certificate)
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "api", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "api", "context": {"cluster": "api", "user": "admin"}}],
            "current-context": "api",
        }

    def _start(self, program: str, *options: str) -> None:
        # It ends with this process, also when that is killed.
        argv = [*self.inside, "setpriv", "--pdeathsig", "KILL", str(self.programs / "bin" / program), *options]
        with open(self.folder / (program + ".log"), "wb") as log:
            self._processes.append(subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.folder))

    def _start_etcd(self) -> None:
        client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        urls = ["--listen-client-urls=" + client, "--advertise-client-urls=" + client, "--listen-peer-urls=" + peer]
        self._start("etcd", "--data-dir=%s/etcd" % self.folder, "--unsafe-no-fsync=true", *urls)

    def _start_api_server(self) -> None:
        self._start(
            "kube-apiserver",
            "--advertise-address=" + ADDRESS,
            "--allow-privileged=true",
            "--audit-log-path=%s" % self.log,
            "--audit-policy-file=%s/policy.json" % self.folder,
            "--authorization-mode=RBAC",
            # It asks for an account in each namespace, which only a controller creates.
            "--disable-admission-plugins=ServiceAccount",
            "--etcd-servers=http://127.0.0.1:2379",
            "--secure-port=%d" % PORT,
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-account-key-file=%s" % self.certificate,
            "--service-account-signing-key-file=%s" % self.key,
            "--service-cluster-ip-range=10.96.0.0/16",
            "--tls-cert-file=%s" % self.certificate,
            "--tls-private-key-file=%s" % self.key,
            "--token-auth-file=%s/tokens.csv" % self.folder,
        )

    def start_controllers(self) -> None:
        """From now on deleted namespaces are removed with their content, and dependents with their owners."""
        wanted = "--controllers=namespace-controller,garbage-collector-controller"
        options = ["--kubeconfig=%s" % self.kubeconfig, "--leader-elect=false", "--secure-port=0"]
        # It lists the objects of each kind before it removes a namespace, by default with 20 requests a second.
        self._start("kube-controller-manager", wanted, *options, "--kube-api-qps=1000", "--kube-api-burst=2000")

    def _is_ready(self) -> bool:
        names = {process.poll(): process.args for process in self._processes}
        assert set(names) == {None}, "%s: see the logs:\n%s" % (names, self.logs())
        with contextlib.suppress(OSError, http.client.HTTPException, Refused):
            return bool(self.ask("GET", "/readyz") == "ok")
        return False

    def logs(self) -> str:
        """The end of its programs' logs."""
        return "\n".join("%s:\n%s" % (path.name, path.read_text()[-3000:]) for path in self.folder.glob("*.log"))

    def _create_kinds(self) -> None:
        for definition in self.kinds:
            self.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        wait_for(self._serves_kinds, "the kinds of MetalLB and of the Gateway API", 60)

    def _serves_kinds(self) -> bool:
        wanted: dict[str, set[str]] = {}
        for spec in (definition["spec"] for definition in self.kinds):
            for version in (one["name"] for one in spec["versions"] if one["served"]):
                wanted.setdefault("/apis/%s/%s" % (spec["group"], version), set()).add(spec["names"]["plural"])
        served = {path: {one["name"] for one in (self.get(path) or {"resources": []})["resources"]} for path in wanted}
        return all(wanted[path] <= served[path] for path in wanted)

    @functools.cached_property
    def kinds(self) -> list[dict[str, Any]]:
        """The CustomResourceDefinitions that the lab's MetalLB and its Gateway API have."""
        folder = self.programs / "manifests"
        paths = [sorted(folder.glob(name + "-*.yaml"))[-1] for name in ("metallb-native", "gateway-api")]
        read = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        found = [thing for path in paths for thing in yaml.load_all(path.read_text(), read)]
        return [thing for thing in found if thing and thing["kind"] == "CustomResourceDefinition"]

    # Requests from inside of its namespace.

    @property
    def inside(self) -> list[str]:
        """The beginning of a command line that runs in the namespace."""
        return ["ip", "netns", "exec", self.name]

    def ip(self, *argv: str) -> str:
        return run(["ip", "-n", self.name, *argv]).out

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and the threads and programs that it starts, in the namespace."""
        with open("/proc/thread-self/ns/net", encoding="ascii") as home, open("/run/netns/" + self.name) as there:
            enter(there.fileno(), self.name)
            try:
                yield
            finally:
                go_home(home.fileno())

    def listen(self) -> socket.socket:
        """A socket on a free port of the namespace's loopback, for a server of a test."""
        with self.entered():
            made = socket.socket()
            made.bind(("127.0.0.1", 0))
            made.listen(64)
        return made

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The answer to the administrator: parsed JSON, or text. Raises Refused."""
        header = {"Authorization": "Bearer " + self._token, "Content-Type": content_type}
        header["User-Agent"] = "tests"
        try:
            answer = self._send(method, path, body, header)
        except (OSError, http.client.HTTPException):
            self._kept.connection = None  # it was idle for too long
            answer = self._send(method, path, body, header)
        status, kind, data = answer
        said = json.loads(data) if kind.startswith("application/json") else data.decode()
        if status >= 400:
            raise Refused(status, said)
        return said

    def _send(self, method: str, path: str, body: Any, header: Mapping[str, str]) -> tuple[int, str, bytes]:
        connection = getattr(self._kept, "connection", None)
        if connection is None:
            connection = self._kept.connection = self.connect()
        connection.request(method, path, None if body is None else json.dumps(body), header)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read()

    def connect(self) -> http.client.HTTPConnection:
        """A connection of the caller's own."""
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", PORT, timeout=70, context=trusted)
        with self.entered():
            connection.connect()
        return connection

    def get(self, path: str) -> Any:
        """An object or a list by its path, or None where there is none."""
        try:
            return self.ask("GET", path)
        except Refused as error:
            if error.status != 404:
                raise
            return None

    def apply(self, path: str, thing: Mapping[str, Any], manager: str = "somebody") -> Any:
        """Server-side apply of an object by another field manager than ours."""
        query = "?fieldManager=%s&force=true" % manager
        return self.ask("PATCH", path + query, thing, "application/apply-patch+yaml")

    def kubectl(self, *argv: str, stdin: str | None = None, check: bool = True) -> Completed:
        """Run kubectl as the administrator."""
        program = [str(self.programs / "bin/kubectl"), "--kubeconfig=%s" % self.kubeconfig]
        # Its cache of kinds must not reach the user's home, nor the next server on this address.
        environment = {"KUBECACHEDIR": str(self.folder / "kubectl")}
        return run([*self.inside, *program, *argv], stdin, env=environment, check=check)

    def new_namespace(self, stem: str = "t") -> str:
        """A namespace with a new name."""
        name = "%s-%d" % (stem, next(self._numbers))
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    # The audit log.

    @contextlib.contextmanager
    def record(self) -> Iterator[list[Asked]]:
        """A list that gets, after the block, the requests of plays and kubectl, without those of the test itself and of
        controllers."""
        found: list[Asked] = []
        start = self._log_size()
        yield found
        end = self._log_size()
        with open(self.log, "rb") as file:
            file.seek(start)
            lines = file.read(end - start).splitlines()
        events = [json.loads(line) for line in lines]
        agents = [(event, event.get("userAgent") or "tests") for event in events]
        found.extend(asked(event) for event, agent in agents if agent != "tests" and not agent.startswith("kube-"))

    def _log_size(self) -> int:
        """The end of the log, when it has all requests that were answered until now."""
        marker = "/api/v1/namespaces/marker-%d" % next(self._numbers)
        self.get(marker)
        wait_for(lambda: b'"%s"' % marker.encode() in self._tail(), "an entry in the audit log", 30)
        return self.log.stat().st_size

    def _tail(self) -> bytes:
        with open(self.log, "rb") as file:
            file.seek(max(0, self.log.stat().st_size - 20000))
            return file.read()


def asked(event: Mapping[str, Any]) -> Asked:
    """A request, of an event of the audit log."""
    path, dummy, query = event["requestURI"].partition("?")
    status = event.get("responseStatus", {}).get("code", 0)
    return Asked(event["verb"], path, "dryRun=All" in query, status, event.get("userAgent", ""))


def writes(record: Sequence[Asked]) -> list[Asked]:
    """The writes, without dry runs."""
    return [one for one in record if one.verb in CHANGES and not one.dry]


def remove_remains() -> None:
    """Delete the namespaces and folders of runs that were killed. Their programs have ended with them."""
    for line in run(["ip", "netns", "list"]).out.splitlines():
        found = re.match(PREFIX + r"(\d+)\b", line)
        if found and not Path("/proc", found[1]).exists():
            run(["ip", "netns", "delete", found[0]], check=False)
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)
