# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks that reach an API server without a kubeconfig: of an EKS cluster, and from a pod."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from botocore.session import Session  # type: ignore[import-untyped]
from moto.eks.models import EKSBackend
from moto.server import ThreadedMotoServer
from moto.sts.models import STSBackend

from ansible_collections.homelab.loadbalancer.tests.unit.k8s.eks_server import ApiServer, signature, url_of

ROOT = Path(__file__).resolve().parents[3]
SECRET = "WmFxMndzWFpzZXJ0NnlHVWlKT2tM"  # noqa: S105 # of nobody
EKS = {
    "cluster": "lab",
    "region": "eu-central-1",
    "role_arn": "arn:aws:iam::123456789012:role/admin",
    "external_id": "customer-1",
}
NAMESPACES = {"homelab.loadbalancer.k8s_read": {"queries": [{"kind": "Namespace"}]}}
PROXY = {"kind": "ConfigMap", "namespace": "kube-system", "name": "kube-proxy"}
CHANGED = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
    "data": {"changed": "yes"},
}
TASKS: list[dict[str, Any]] = [
    NAMESPACES,
    NAMESPACES,
    {"homelab.loadbalancer.k8s_read": {"queries": [PROXY]}, "register": "seen"},
    {"homelab.loadbalancer.k8s_objects": {"definitions": [CHANGED]}, "diff": True},
    NAMESPACES,
    {"ansible.builtin.debug": {"msg": "kube-proxy has {{ seen.found[0].resources[0].data.kubeconfig }}"}},
]


class Run:
    """Runs a playbook on several hosts at once, and keeps what it leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        # As by SSH: what modules return is printed at -vvv then, unless that is prevented.
        ssh = folder / "ssh"
        ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
        ssh.chmod(0o755)
        by_ssh = {"ansible_connection": "ssh", "ansible_ssh_executable": str(ssh), "ansible_pipelining": True}
        hosts = {"one": {}, "two": {}, "three": by_ssh}
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory = {"ungrouped": {"hosts": hosts, "vars": variables}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "K8S_", "KUBE"))}
        self.environment = {
            **kept,
            "PATH": "%s:%s" % (Path(sys.executable).parent, os.environ["PATH"]),
            "HOME": str(folder),
            "TMPDIR": str(self.temporary),
            # Modules are put into files then, with their arguments.
            "ANSIBLE_PIPELINING": "false",
            "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __call__(self, tasks: list[dict[str, Any]], rc: int = 0, prefix: tuple[str, ...] = (), **variables: Any) -> str:
        """The output of a run at -vvvv, which must end with this code."""
        play = {"hosts": "all", "gather_facts": False, "tasks": tasks, "vars": variables}
        (self.folder / "play.yml").write_text(yaml.safe_dump([play]))
        # All hosts only where that says something: each takes its time.
        command = [*prefix, "ansible-playbook", "-vvvv", "-i", str(self.folder / "hosts.yml")]
        command += ["--limit", "all" if tasks is TASKS else "one"]
        command.append(str(self.folder / "play.yml"))
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == rc, done.stdout + done.stderr
        return done.stdout + done.stderr

    def open_files(self, secret: str) -> list[str]:
        """Files with a text that others than their owner can read, their folders permitting."""
        found = []
        for folder, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if os.stat(os.path.join(folder, name)).st_mode & 0o055]
            for name in files:
                path = Path(folder, name)
                if path.stat().st_mode & 0o044 and secret.encode() in path.read_bytes():
                    found.append(str(path))
        return found

    def left(self, secret: str) -> list[str]:
        """Files that hold a text, whoever may read them."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return [str(path) for path in files if secret.encode() in path.read_bytes()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs playbooks."""
    return Run(tmp_path)


class Aws:
    """What a run asked AWS for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.secrets = [SECRET]
        self.roles: dict[str, tuple[str, str]] = {}  # the names of sessions and their secrets, by access key


@pytest.fixture
def aws(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """AWS on the loopback, for playbooks, with the cluster lab."""
    noted = Aws()
    describe, assume = EKSBackend.describe_cluster, STSBackend.assume_role

    def describe_cluster(*arguments: Any, **more: Any) -> Any:
        noted.asked.append("DescribeCluster")
        return describe(*arguments, **more)

    def assume_role(*arguments: Any, **more: Any) -> Any:
        noted.asked.append("AssumeRole")
        role = assume(*arguments, **more)
        noted.secrets += [role.secret_access_key, role.session_token]
        noted.roles[role.access_key_id] = role.session_name, role.secret_access_key
        return role

    monkeypatch.setattr(EKSBackend, "describe_cluster", describe_cluster)
    monkeypatch.setattr(STSBackend, "assume_role", assume_role)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://%s:%d" % server.get_host_and_port()
    run.environment.update(AWS_ENDPOINT_URL=url, AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY=SECRET)
    yield noted
    urllib.request.urlopen(urllib.request.Request(url + "/moto-api/reset", method="POST"), timeout=10)  # noqa: S310
    server.stop()


@pytest.fixture
def api(run: Run, aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """The API server of the cluster, which looks who has signed a token, as STS does for that of EKS."""
    exposed: list[str] = []

    def accepts(token: str) -> bool:
        exposed.extend(run.open_files(token))
        url = url_of(token)
        query = dict(parse_qsl(urlsplit(url).query))
        session, secret = aws.roles[query["X-Amz-Credential"].split("/", 1)[0]]
        return session == "homelab.loadbalancer" and query["X-Amz-Signature"] == signature(url, "lab", secret)

    server = ApiServer(tmp_path, accepts)
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": SECRET}
    url = run.environment["AWS_ENDPOINT_URL"]
    client = Session().create_client("eks", region_name="eu-central-1", endpoint_url=url, **keys)
    vpc = {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}
    client.create_cluster(name="lab", roleArn="arn:aws:iam::123456789012:role/eks", resourcesVpcConfig=vpc)
    describe = EKSBackend.describe_cluster

    def describe_cluster(*arguments: Any, **more: Any) -> Any:
        cluster = describe(*arguments, **more)
        cluster.endpoint = server.url
        cluster.certificate_authority = {"data": base64.b64encode(server.authority.read_bytes()).decode()}
        return cluster

    monkeypatch.setattr(EKSBackend, "describe_cluster", describe_cluster)
    yield server
    server.stop()
    assert exposed == []


def test_five_tasks_on_three_hosts_log_in_once_and_show_nothing(run: Run, aws: Aws, api: ApiServer) -> None:
    output = run(TASKS, k8s_eks=EKS)
    assert aws.asked == ["AssumeRole", "DescribeCluster"]
    (token,) = set(api.tokens)
    assert "changed=1" in output and "failed=0" in output
    # Nothing but secrets is taken for one.
    assert "server: %s" % api.url in output and "apiVersion: v1" in output and "VALUE_SPECIFIED" not in output
    for secret in [token, *aws.secrets]:
        assert secret not in output
        assert run.left(secret) == []
    assert "stdout and stderr censored due to no log" in output
    assert list((run.folder / ".ansible" / "tmp").iterdir()) == []


def test_refused_role_is_named_without_secrets(run: Run, aws: Aws, api: ApiServer) -> None:
    output = run([NAMESPACES], rc=2, k8s_eks={**EKS, "session_name": "other"})
    assert "%s refuses the credentials of role %s (401 Un" % (api.url, EKS["role_arn"]) in output
    assert [secret for secret in [*api.tokens, *aws.secrets] if secret in output or run.left(secret)] == []


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("eks", "environment", "said"),
    [
        ({"cluster": "lap", "region": "eu-central-1"}, {}, "there is no such cluster"),
        (EKS, {"AWS_ENDPOINT_URL_EKS": "http://127.0.0.1:1"}, "http://127.0.0.1:1/clusters/lab"),
    ],
)
def test_failed_aws_request_is_named(
    run: Run, aws: Aws, eks: dict[str, str], environment: dict[str, str], said: str
) -> None:
    run.environment.update(environment)
    output = run([NAMESPACES], rc=2, k8s_eks=eks)
    assert "no login to the EKS cluster %s in region eu-central-1 by the credentials of" % eks["cluster"] in output
    assert said in output and [secret for secret in aws.secrets if secret in output] == []


def in_pod(folder: Path) -> tuple[str, ...]:
    """What makes a command see the files of a service account where a pod has them, and nobody else see them."""
    program = shutil.which("unshare")
    unshare = (program or "unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))
    if not program or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a mount namespace is needed, by unshare, as root or in a user namespace")
    there = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = 'mount -t tmpfs none /var/run/ && mkdir -p %s && cp "$0"/* %s && exec "$@"' % (there, there)
    return (*unshare, "sh", "-c", script, str(folder))


def test_a_pod_uses_the_token_of_its_service_account(run: Run, tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    server = ApiServer(tmp_path, lambda token: token == "pods-own-token")  # noqa: S105
    shutil.copy(server.authority, account / "ca.crt")
    run.environment.update(KUBERNETES_SERVICE_HOST="127.0.0.1", KUBERNETES_SERVICE_PORT=str(server.port))
    try:
        for token, task, rc in (("pods-own-token", TASKS[3], 0), ("pods-old-token", NAMESPACES, 2)):
            (account / "token").write_text(token)
            server.tokens.clear()
            output = run([task], rc, in_pod(account), k8s_kubeconfig="", k8s_context="")
            assert set(server.tokens) == {token} and token not in output
    finally:
        server.stop()
    assert "the API server of this pod's cluster refuses the credentials of the pod's service account (401" in output
    output = run([NAMESPACES], 2, in_pod(account))
    assert "the API server of this pod's cluster does not answer (Connection refused): check the network" in output
