# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's Kubernetes lab, driven as its user does: by playbooks, by kubectl, and from a client outside it."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Sequence, TypeVar

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.tests.integration import namespaces
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT, ansible_playbook

T = TypeVar("T")

INVENTORY = "inventories/cluster"
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.53"
FOLDER = "/var/lib/homelab-loadbalancer/cluster"
ADMIN = Path(FOLDER, "kubeconfigs/admin.conf")
KUBECTL = (FOLDER + "/bin/kubectl", "--kubeconfig", str(ADMIN), "--cache-dir", FOLDER + "/kubectl-cache")
NODES = ("control1", "worker1", "worker2")
ADDRESSES = ("172.16.0.11", "172.16.0.12", "172.16.0.13")
NODE_PORT = 30080  # of the application that the tests share
PATIENCE = "--timeout=180s"  # of kubectl; a machine under load may take long


def wait_for(condition: Callable[[], T], what: str, limit: float = 180) -> T:
    """Wait until a condition holds, and return its value. The pauses leave the processors to the cluster."""
    return namespaces.wait_for(condition, what, limit, every=0.3)


def flat(text: str) -> str:
    """A text in one line."""
    return re.sub(r"\s+", " ", text)


def web_objects(namespace: str, name: str = "web", replicas: int = 2, **service: Any) -> list[dict[str, Any]]:
    """The objects of an application whose pods answer HTTP with their names, each on its own node.

    `service` adds to the spec of the Service.
    """
    labels = {"app.kubernetes.io/name": name}
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    args = ["netexec", "--http-port=8080"]
    container = {"name": name, "image": IMAGE, "args": args, "readinessProbe": probe}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1, "topologySpreadConstraints": [spread]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    place = {"name": name, "namespace": namespace}
    deployment = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    served = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}], **service}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": place, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": served},
    ]


class Cluster:
    """The lab of the inventory. Its name is fixed there, so that there is one of it on a machine at a time.

    stays -- whether it was there before the tests, and is there after them
    """

    def __init__(self) -> None:
        self.processes: dict[str, str] = {}
        self.stays = self.traces() != []

    def playbook(self, name: str, *options: str, rc: int = 0, **variables: Any) -> str:
        """Run one of the project's playbooks and return what it printed."""
        return ansible_playbook(INVENTORY, name, options, rc, variables)

    def play(self, plays: str, *options: str) -> Completed:
        """Run a playbook's text, YAML or JSON."""
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            file.write(plays)
            file.flush()
            return run(["ansible-playbook", "-i", INVENTORY, file.name, *options], env=ENVIRONMENT, check=False)

    def tasks(self, *tasks: dict[str, Any], hosts: str = "k8s_api", options: tuple[str, ...] = (), rc: int = 0) -> str:
        """Run tasks and return what was printed."""
        done = self.play(json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]), *options)
        assert done.rc == rc, done.out + done.err
        return done.out + done.err

    def roles(self, *roles: dict[str, Any], hosts: str = "k8s_api", options: tuple[str, ...] = (), rc: int = 0) -> str:
        """Run roles, each {role: name without the collection, and its variables}, and return what was printed."""
        return self.tasks(*map(role_task, roles), hosts=hosts, options=options, rc=rc)

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """What kubectl prints on the operator's host, where it must succeed."""
        return run([*self.network("operator"), *KUBECTL, *argv], stdin).out

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects by kubectl, as somebody else than the roles."""
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "-f", "-", stdin=items)

    def objects(self, *argv: str) -> list[dict[str, Any]]:
        """The objects that `kubectl get` finds."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", *argv, "-o", "json"))["items"]
        return found

    def node(self, name: str, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """What a command prints on a host of the lab that is a container."""
        return run(self.argv(name, *argv), stdin, check=check).out

    def argv(self, name: str, *argv: str) -> list[str]:
        """The command line that runs a command in a container. nsenter takes a tenth of the time of `podman exec`."""
        pid = self.processes.get(name, "")
        if not pid or not Path("/proc", pid).exists():
            pid = run(["podman", "inspect", "--format", "{{.State.Pid}}", "cluster-" + name]).out.strip()
            self.processes[name] = pid
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return ["nsenter", "--all", "--target", pid, "env", "-i", path, "HOME=/root", "LC_ALL=C.UTF-8", *argv]

    def speakers_let_in(self, node: str, protocol: str = "tcp") -> int:
        """How many rules of a node's firewall let MetalLB's speakers in, by the kernel's own listing."""
        listed = self.node(node, "nft", "list", "chain", "inet", "firewalld", "filter_IN_public_allow")
        return listed.count("%s dport 7946 accept" % protocol)

    def restart_speakers(self) -> None:
        """Speakers look for each other when they start, and after that only every few minutes."""
        self.kubectl("-n", "metallb-system", "rollout", "restart", "daemonset/speaker")
        self.kubectl("-n", "metallb-system", "rollout", "status", "daemonset/speaker", PATIENCE)

    def address(self, namespace: str, service: str) -> str:
        """The address that MetalLB gave a Service, or an empty string."""
        path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
        return self.kubectl("get", "service", service, "-n", namespace, "-o", path)

    def client(self, *argv: str, check: bool = True) -> str:
        """What a command prints on the client outside the cluster."""
        return self.inside("client", *argv, check=check)

    def inside(self, host: str, *argv: str, check: bool = True) -> str:
        """What a program of this machine prints in the network of a host of the lab."""
        return run([*self.network(host), *argv], check=check).out

    def network(self, host: str) -> tuple[str, ...]:
        """The beginning of a command line that runs a program of this machine in the network of a host of the lab."""
        return "nsenter", "--net=/run/netns/cluster-" + host

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


def role_task(role: dict[str, Any]) -> dict[str, Any]:
    """The task that runs a role."""
    return {
        "ansible.builtin.import_role": {"name": "homelab.loadbalancer." + role["role"]},
        "vars": {key: value for key, value in role.items() if key != "role"},
    }


def recap(output: str) -> dict[str, int]:
    """How many tasks changed something, by host."""
    found = {host: int(count) for host, count in re.findall(r"(\S+) +: ok=\d+ +changed=(\d+)", output)}
    assert found, output
    return found


def changed(output: str) -> bool:
    """Whether the play changed anything."""
    return any(recap(output).values())


def everything(cluster: Cluster) -> set[str]:
    """All objects of the cluster by kind, namespace and name, except those that Kubernetes makes and drops by itself.

    An owned object gets another name with each change of its owner: the owner's kind stands for its name.
    """
    kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    kinds = [kind for kind in kinds if not kind.startswith(("events", "componentstatuses", "leases"))]
    columns = "custom-columns=:kind,:metadata.namespace,:metadata.name,:metadata.ownerReferences[0].kind"
    listed = cluster.kubectl("get", ",".join(kinds), "-A", "--no-headers", "-o", columns).splitlines()
    rows = [line.split() for line in listed]
    return {" ".join([kind, space, name if owner == "<none>" else owner]) for kind, space, name, owner in rows}


class Visitor:
    """A client that fetches a page ten times a second, until it is no longer needed.

    codes -- the status of each answer; 000 if there is none within two seconds
    gap -- the longest time without the answer 200, in seconds
    """

    # It ends with its standard input.
    LOOP = """
        while read -t 0.1; [ $? -gt 128 ]; do
            curl -s -o /dev/null -w '%{http_code}\\n' --connect-timeout 1 --max-time 2 "$0" "$@"
        done
    """

    def __init__(self, prefix: Sequence[str], *request: str) -> None:
        self.argv = [*prefix, "bash", "-c", self.LOOP, *request]
        self.codes: list[str] = []
        self.gap = 0.0
        self.reader = threading.Thread(target=self.read, daemon=True)

    def __enter__(self) -> Visitor:
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reader.start()
        wait_for(lambda: "200" in self.codes, "an answer")
        return self

    def read(self) -> None:
        """Note the answers as they come."""
        assert self.process.stdout
        last = 0.0
        for line in self.process.stdout:
            code, now = line.strip(), time.monotonic()
            self.codes.append(code)
            if code == "200":
                self.gap = max(self.gap, now - last if last else 0.0)
                last = now

    def __exit__(self, *exception: object) -> None:
        seen = len(self.codes)
        try:
            wait_for(lambda: "200" in self.codes[seen:], "an answer after it")
        finally:
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait()
            self.reader.join()
