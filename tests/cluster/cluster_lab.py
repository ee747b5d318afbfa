# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's Kubernetes lab, driven as its user does: by playbooks, by kubectl, and from a client outside it."""

from __future__ import annotations

import json
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT, ansible_playbook
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

INVENTORY = "inventories/cluster"
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.53"
FOLDER = "/var/lib/homelab-loadbalancer/cluster"
ADMIN = Path(FOLDER, "kubeconfigs/admin.conf")


def web_app(namespace: str, **variables: Any) -> dict[str, Any]:
    """The role `app` with two pods that answer HTTP with their names, in a namespace that goes with them."""
    return {
        "role": "app",
        "app_name": "web",
        "app_namespace": namespace,
        "app_manifests": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}],
        "app_image": IMAGE,
        "app_replicas": 2,
        "app_args": ["netexec", "--http-port=8080"],
        "app_ports": [{"port": 80, "target_port": 8080}],
        "app_service_type": "LoadBalancer",
        # The image names no user.
        "app_security_context": {"runAsUser": 65532},
        "app_readiness_probe": {"type": "http", "path": "/healthz", "interval": 1},
        **variables,
    }


class Cluster:
    """The lab of the inventory. Its name is fixed there, so that there is one of it on a machine at a time."""

    def playbook(self, name: str, *options: str, rc: int = 0, **variables: Any) -> str:
        """Run one of the project's playbooks and return what it printed."""
        return ansible_playbook(INVENTORY, name, options, rc, variables)

    def play(self, plays: str, *options: str) -> Completed:
        """Run a playbook's text, YAML or JSON."""
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            file.write(plays)
            file.flush()
            return run(["ansible-playbook", "-i", INVENTORY, file.name, *options], env=ENVIRONMENT, check=False)

    def roles(self, *roles: dict[str, Any], hosts: str = "k8s_api", options: tuple[str, ...] = (), rc: int = 0) -> str:
        """Run roles, each {role: name without the collection, and its variables}, and return what was printed."""
        listed = [
            {
                "role": "homelab.loadbalancer." + role["role"],
                "vars": {key: value for key, value in role.items() if key != "role"},
            }
            for role in roles
        ]
        done = self.play(json.dumps([{"hosts": hosts, "gather_facts": False, "roles": listed}]), *options)
        assert done.rc == rc, done.out + done.err
        return done.out + done.err

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """What kubectl prints on the control plane, where it must succeed."""
        return self.node("control1", "kubectl", *argv, stdin=stdin)

    def objects(self, *argv: str) -> list[dict[str, Any]]:
        """The objects that `kubectl get` finds."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", *argv, "-o", "json"))["items"]
        return found

    def node(self, name: str, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """What a command prints on a host of the lab that is a container."""
        return run(["podman", "exec", "-i", "cluster-" + name, *argv], stdin, check=check).out

    def speakers_let_in(self, node: str, protocol: str = "tcp") -> int:
        """How many rules of a node's firewall let MetalLB's speakers in, by the kernel's own listing."""
        listed = self.node(node, "nft", "list", "chain", "inet", "firewalld", "filter_IN_public_allow")
        return listed.count("%s dport 7946 accept" % protocol)

    def client(self, *argv: str, check: bool = True) -> str:
        """What a command prints on the client outside the cluster."""
        return run(["ip", "netns", "exec", "cluster-client", *argv], check=check).out

    def inside(self, host: str, *argv: str, check: bool = True) -> str:
        """What a program of this machine prints in the network of a host of the lab."""
        return run(["nsenter", "--net=/run/netns/cluster-" + host, *argv], check=check).out

    def remove(self) -> None:
        self.playbook("cluster_lab_down")

    def traces(self) -> list[str]:
        """What is left of the lab on this machine: namespaces, containers, links, mounts, files."""
        listed = [
            *run(["ip", "netns", "list"]).out.splitlines(),
            *run(["podman", "ps", "-a", "--format", "{{.Names}}"]).out.splitlines(),
            *run(["ip", "-o", "link"]).out.splitlines(),
            *Path("/proc/self/mountinfo").read_text().splitlines(),
            *map(str, Path(FOLDER).parent.glob("*")),
        ]
        return [line for line in listed if re.search(r"(^|/)cluster(-|$)|/cluster/", line)]


def recap(output: str) -> dict[str, int]:
    """How many tasks changed something, by host."""
    found = {host: int(count) for host, count in re.findall(r"(\S+) +: ok=\d+ +changed=(\d+)", output)}
    assert found, output
    return found


def changed(output: str) -> bool:
    """Whether the play changed anything."""
    return any(recap(output).values())


def everything(cluster: Cluster) -> set[str]:
    """All objects of the cluster by kind, namespace and name, but for what Kubernetes makes and drops by itself.

    What belongs to another object is named anew whenever that changes: it has the other's kind in place of a name.
    """
    kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    kinds = [kind for kind in kinds if not kind.startswith(("events", "componentstatuses", "leases"))]
    columns = "custom-columns=:kind,:metadata.namespace,:metadata.name,:metadata.ownerReferences[0].kind"
    listed = cluster.kubectl("get", ",".join(kinds), "-A", "--no-headers", "-o", columns).splitlines()
    rows = [line.split() for line in listed]
    return {" ".join([kind, space, name if owner == "<none>" else owner]) for kind, space, name, owner in rows}


def closed(folder: Path) -> str:
    """The administrator's kubeconfig, with the port of an API server that does not answer."""
    path = folder / "closed"
    path.write_text(re.sub(r"(https://172\.16\.0\.11):\d+", r"\1:1", ADMIN.read_text()))
    return str(path)


class Visitor:
    """Fetches a page over and over.

    fetch -- what comes of one try, which ends within seconds; nothing when nobody answers
    """

    def __init__(self, fetch: Callable[[], str]) -> None:
        self.fetch = fetch
        self.answered: list[float] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.visit)

    def visit(self) -> None:
        while not self.stop.is_set():
            if self.fetch():
                self.answered.append(time.monotonic())

    def __enter__(self) -> Visitor:
        self.thread.start()
        wait_for(lambda: self.answered, "an answer")
        return self

    def __exit__(self, *exception: object) -> None:
        seen = len(self.answered)
        try:
            wait_for(lambda: len(self.answered) > seen, "an answer after it")
        finally:
            self.stop.set()
            self.thread.join()

    @property
    def gap(self) -> float:
        """The longest time without an answer, in seconds."""
        return max(later - earlier for earlier, later in zip(self.answered, self.answered[1:]))
