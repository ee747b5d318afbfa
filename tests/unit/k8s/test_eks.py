# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins to EKS: the signed request, the lifetime of a login, and the messages of failures."""

from __future__ import annotations

import base64
import functools
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator
from unittest.mock import MagicMock
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from botocore.exceptions import ClientError, TokenRetrievalError  # type: ignore[import-untyped]
from botocore.session import Session  # type: ignore[import-untyped]
from kubernetes import client, config  # type: ignore[import-untyped]
from moto import mock_aws

from ansible_collections.homelab.loadbalancer.plugins.action.k8s_read import ActionModule
from ansible_collections.homelab.loadbalancer.plugins.doc_fragments.kubernetes import ModuleDocFragment
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s.options import EKS
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s import eks
from ansible_collections.homelab.loadbalancer.tests.unit.k8s.eks_server import signature, url_of

OPTIONS = {"cluster": "lab", "region": "eu-central-1"}
ROLE = {"role_arn": "arn:aws:iam::123456789012:role/admin", "external_id": "customer-1", "session_name": "ansible"}
SECRET = "WmFxMndzWFpzZXJ0NnlHVWlKT2tM"  # noqa: S105 # belongs to no account
LOGIN = eks.Login("https://ABC.eks.amazonaws.com", base64.b64encode(b"PEM").decode(), "k8s-aws-v1.token", 1e12)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Hide the AWS configuration of the user who runs the tests."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    return monkeypatch


@pytest.fixture
def aws(environment: pytest.MonkeyPatch) -> Iterator[Any]:
    """AWS, with a cluster. Returns it."""
    with mock_aws():
        environment.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        client = Session().create_client("eks", region_name="eu-central-1")
        vpc = {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}
        role = "arn:aws:iam::123456789012:role/eks"
        yield client.create_cluster(name="lab", roleArn=role, resourcesVpcConfig=vpc)["cluster"]


def test_the_token_is_a_signed_request_that_names_the_cluster(aws: dict[str, Any]) -> None:
    made = eks.login(OPTIONS, now=1000.0)
    assert made[:2] == (aws["endpoint"], aws["certificateAuthority"]["data"])
    assert made.expires == 1000 + 14 * 60
    url = url_of(made.token)
    query = dict(parse_qsl(urlsplit(url).query))
    assert url.startswith("https://sts.eu-central-1.amazonaws.com/?")
    assert (query["Action"], query["X-Amz-Expires"]) == ("GetCallerIdentity", "60")
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert query["X-Amz-Signature"] == signature(url, "lab", SECRET) != signature(url, "other", SECRET)


def test_role_is_assumed_for_the_token_and_the_cluster(aws: dict[str, Any]) -> None:
    session = Session()
    asked: list[tuple[str, dict[str, str]]] = []

    def clients(service: str, **credentials: str) -> Any:
        asked.append((service, credentials))
        return session.create_client(service, region_name="eu-central-1", **credentials)

    made = eks.login({**OPTIONS, **ROLE}, 0.0, clients)
    assert [service for service, dummy in asked] == ["sts", "eks", "sts"]
    role = asked[1][1]
    assert asked[0][1] == {} and asked[2][1] == role and role["aws_secret_access_key"] != SECRET
    query = dict(parse_qsl(urlsplit(url_of(made.token)).query))
    assert query["X-Amz-Credential"].startswith(role["aws_access_key_id"])
    assert query["X-Amz-Security-Token"] == role["aws_session_token"]
    url = url_of(made.token)
    assert query["X-Amz-Signature"] == signature(url, "lab", role["aws_secret_access_key"])


def test_a_role_is_asked_for_by_its_options() -> None:
    clients = MagicMock()
    clients.return_value.assume_role.side_effect = TokenRetrievalError(provider="x", error_msg="x")
    for options, more in (
        (ROLE, {"ExternalId": "customer-1"}),
        ({**ROLE, "external_id": None, "session_name": None}, {}),
    ):
        with pytest.raises(eks.EksError):
            eks.login({**OPTIONS, **options}, 0.0, clients)
        name = "ansible" if more else "homelab.loadbalancer"
        clients.return_value.assume_role.assert_called_with(RoleArn=ROLE["role_arn"], RoleSessionName=name, **more)


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of logins, which need no AWS."""
    times: list[float] = []

    def login(options: dict[str, Any], now: float) -> eks.Login:
        times.append(now)
        return LOGIN._replace(expires=now + eks.LIFETIME)

    monkeypatch.setattr(eks, "login", login)
    return times


def test_login_is_reused_during_half_of_its_lifetime(tmp_path: Path, logins: list[float]) -> None:
    for now in (0, 1, 420, 421, 841, 842, 10000):
        made = eks.kept(str(tmp_path), OPTIONS, functools.partial(float, now))
        assert made.expires - now >= 420
    assert logins == [0, 421, 842, 10000]


def test_stored_login_is_private_to_a_user_and_a_cluster(tmp_path: Path, logins: list[float]) -> None:
    for options in (OPTIONS, {**OPTIONS, "region": None}, {**OPTIONS, **ROLE}, dict(reversed(OPTIONS.items()))):
        eks.kept(str(tmp_path), options)
    files = list(tmp_path.iterdir())
    assert len(logins) == len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize("left", ["", '["https://', "[]x"])
def test_truncated_file_is_written_again(tmp_path: Path, logins: list[float], left: str) -> None:
    made = eks.kept(str(tmp_path), OPTIONS)
    (file,) = tmp_path.iterdir()
    file.write_text(left)
    for dummy in range(2):
        assert eks.kept(str(tmp_path), OPTIONS)[:3] == made[:3]
    assert len(logins) == 2


def answer(code: str, message: str) -> Callable[[str], Any]:
    """Clients whose every request AWS refuses."""

    def clients(service: str, **dummy: str) -> Any:
        error = ClientError({"Error": {"Code": code, "Message": message}}, "DescribeCluster")
        return MagicMock(describe_cluster=MagicMock(side_effect=error))

    return clients


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        ("ExpiredTokenException", "The security token included in the request is expired", "have expired: get new"),
        ("AccessDeniedException", "User: arn:x is not authorized", "User: arn:x is not authorized: allow this princ"),
        ("SignatureDoesNotMatch", "The canonical string should be " + SECRET, "AWS does not know these credentials"),
        ("UnrecognizedClientException", "The security token is invalid", "AWS does not know these credentials"),
        ("ThrottlingException", "Rate exceeded", ": Rate exceeded"),
    ],
)
def test_refusals_of_aws_are_explained(code: str, message: str, said: str) -> None:
    with pytest.raises(eks.EksError) as caught:
        eks.login({**OPTIONS, **ROLE, "role_arn": None, "profile": "work"}, 0.0, answer(code, message))
    text = str(caught.value)
    assert text.startswith("no login to the EKS cluster lab in region eu-central-1 by the credentials of profile work")
    assert said in text and SECRET not in text
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def refused(options: dict[str, Any]) -> str:
    """The message of a failed login."""
    with pytest.raises(eks.EksError) as caught:
        eks.login(options, 0.0)
    return str(caught.value)


def test_missing_cluster_is_explained(aws: dict[str, Any]) -> None:
    text = refused({**OPTIONS, "cluster": "lap"})
    assert "the EKS cluster lap in region eu-central-1" in text and "there is no such cluster" in text


def test_unready_cluster_is_explained() -> None:
    clients = MagicMock()
    clients.return_value.describe_cluster.return_value = {"cluster": {"name": "lab", "status": "CREATING"}}
    with pytest.raises(eks.EksError, match="it is CREATING, and has no endpoint"):
        eks.login(OPTIONS, 0.0, clients)


def test_missing_configuration_is_named(environment: pytest.MonkeyPatch) -> None:
    assert "the control node has no AWS credentials: set AWS_PROFILE" in refused(OPTIONS)
    assert "there is no such profile: name one of ~/.aws/config" in refused({**OPTIONS, "profile": "work"})
    text = refused({"cluster": "lab"})
    assert "in the region of the AWS configuration" in text and "set region in k8s_eks" in text
    environment.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    text = refused(OPTIONS)
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:1/clusters/lab": look at the region' in text


def test_missing_botocore_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    assert "install it by `%s -m pip install botocore`" % sys.executable in refused(OPTIONS)


def test_the_kubeconfig_works(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Path(ssl.get_default_verify_paths().openssl_cafile)
    pem = bundle.read_bytes() if bundle.exists() else Path(client.Configuration().ssl_ca_cert).read_bytes()
    made = LOGIN._replace(authority=base64.b64encode(pem).decode())
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    configuration = client.Configuration()
    content = eks.kubeconfig(made)
    config.load_kube_config_from_dict(content, eks.CONTEXT, configuration)
    assert configuration.host == made.server
    assert configuration.api_key == {"authorization": "Bearer %s" % made.token}
    assert ssl.create_default_context(cafile=configuration.ssl_ca_cert).cert_store_stats()["x509_ca"] > 0


def test_the_options_are_documented() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]["eks"]["suboptions"]
    for option in documented.values():
        del option["description"]
    assert documented == EKS


class Reads(ActionModule):
    """The action plugin with an API server behind a managed host. It keeps the arguments of the module."""

    def __init__(self, answer: list[Any], in_pod: bool = False, **arguments: Any) -> None:
        task = SimpleNamespace(
            args={"queries": [], **arguments},
            check_mode=False,
            diff=False,
            no_log=False,
            async_val=0,
            environment=[{"HTTPS_PROXY": "http://proxy:3128"}],
            delegate_to=None,
        )
        super().__init__(task, *[MagicMock() for dummy in range(5)])
        self._connection._play_context.no_log = False
        self._templar.template.side_effect = lambda value: value
        self.returned = {"responses": [answer], "server": "https://10.0.0.1:6443", "in_pod": in_pod}
        self.asked: list[dict[str, Any]] = []

    def _execute_module(self, name: str, arguments: dict[str, Any], **dummy: Any) -> dict[str, Any]:
        assert name == "homelab.loadbalancer.k8s_request"
        assert self._task.no_log and self._connection._play_context.no_log
        self.asked.append({key: arguments[key] for key in ("kubeconfig", "context")})
        return self.returned


FOUND: list[Any] = [200, {"major": "1"}, "", ""]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, logins: list[float], tmp_path: Path) -> None:
    """Let the action plugin run without a connection, and keep logins."""
    monkeypatch.setattr(ActionBase, "run", lambda *dummy: {})
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path), raising=False)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("arguments", "variables", "used"),
    [
        ({"eks": OPTIONS}, {}, True),
        ({}, {"k8s_eks": OPTIONS}, True),
        ({"kubeconfig": "", "context": ""}, {"k8s_eks": OPTIONS}, True),
        ({}, {"k8s_eks": {}}, False),
        ({}, {"ansible_delegated_vars": {"api": {}}, "hostvars": {"api": {"k8s_eks": OPTIONS}}}, True),
        ({}, {"ansible_delegated_vars": {"api": {}}, "hostvars": {"api": {}}, "k8s_eks": OPTIONS}, True),
    ],
)
def test_the_variable_is_the_default(arguments: Any, variables: Any, used: bool) -> None:
    reads = Reads(FOUND, **arguments)
    reads.run(task_vars=variables)
    access = (eks.kubeconfig(LOGIN), eks.CONTEXT) if used else ("", "")
    assert reads.asked == [{"kubeconfig": access[0], "context": access[1]}]
    assert (reads._task.no_log, reads._connection._play_context.no_log) == (False, False)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"kubeconfig": "/k"},
            "kubeconfig /k and the EKS cluster lab are both given: leave out k8s_kubeconfig or k8s_",
        ),
        ({"context": "c"}, "context c and the EKS cluster lab are both given: leave out k8s_context or k8s_eks"),
        ({"eks": {"region": "x"}}, "missing required arguments: cluster"),
        ({"eks": {"cluster": "x", "rigeon": "y"}}, "rigeon"),
    ],
)
def test_contradicting_options_are_refused(arguments: Any, said: str) -> None:
    with pytest.raises(Exception, match=said):
        Reads(FOUND, **arguments).run(task_vars={"k8s_eks": OPTIONS})


UNKNOWN = [401, {"message": "Unauthorized"}, "", ""]
UNREACHABLE = [0, None, "unreachable", "Connection refused"]
FORBIDDEN = [403, {"message": "pods is forbidden: %s" % LOGIN.token}, "", ""]


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("variables", "answer", "said"),
    [
        (
            {"k8s_eks": OPTIONS},
            UNKNOWN,
            "%s refuses the credentials of the AWS configuration (401 Unauthorized): give that principal access to the "
            "cluster" % LOGIN.server,
        ),
        (
            {"k8s_eks": OPTIONS},
            UNREACHABLE,
            "%s does not answer (Connection refused): run the task where" % LOGIN.server,
        ),
        ({"k8s_eks": OPTIONS}, FORBIDDEN, "pods is forbidden: ********"),
        (
            {},
            UNKNOWN,
            "the API server of this pod's cluster refuses the credentials of the pod's service account (401",
        ),
        (
            {},
            UNREACHABLE,
            "the API server of this pod's cluster does not answer (Connection refused): check the netw",
        ),
    ],
)
def test_failure_names_the_principal_and_the_cluster(variables: Any, answer: list[Any], said: str) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        Reads(answer, in_pod=not variables).run(task_vars=variables)
    assert said in str(caught.value) and "kubeconfig" not in str(caught.value)
