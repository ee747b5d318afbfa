# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs in to an Amazon EKS cluster by AWS IAM, on the control node, once for all tasks of a run.

The token has the format of `aws eks get-token` and aws-iam-authenticator: the URL of an STS request GetCallerIdentity,
signed with the caller's credentials, including a header that names the cluster. The API server sends that request to
STS, and so learns who signed it. Times and names are those of aws-iam-authenticator, pkg/token/token.go, and of
aws-cli, awscli/customizations/eks/get_token.py.
"""

from __future__ import annotations

import base64
import fcntl
import functools
import hashlib
import json
import os
import sys
import time
from typing import Any, Callable, Mapping, NamedTuple

from ...module_utils._k8s.options import EKS

HEADER = "x-k8s-aws-id"
PREFIX = "k8s-aws-v1."
# The lifetime in the URL, in seconds. STS ignores it, and old authenticators accept no more than this.
URL_EXPIRES = 60
# Seconds that a token is used: STS accepts the URL for 15 minutes, and clocks differ.
LIFETIME = 14 * 60
# The seconds that remain at least when a module starts. It cannot renew the token, and may wait for minutes.
MARGIN = LIFETIME / 2
CONTEXT = "the login of homelab.loadbalancer to EKS"

# Makes a client of an AWS service, with the caller's credentials unless others are given.
Clients = Callable[..., Any]

_EXPIRED = "the AWS credentials have expired: get new ones, for instance by `aws sso login`"
_UNKNOWN = (
    "AWS does not know these credentials, or the clock of the control node is wrong: correct the access key and its "
    "secret, or the clock"
)
_INCOMPLETE = (
    "the control node has no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where "
    "ansible-playbook is started, name a profile in k8s_eks, or run `aws configure` or `aws sso login`"
)
_SILENT = "%s: look at the region in k8s_eks, and whether the control node reaches AWS, perhaps by HTTPS_PROXY"
# Messages by AWS error code or botocore exception class. %s is the original message.
_CAUSES = {
    "ResourceNotFoundException": "there is no such cluster: `aws eks list-clusters` names those of region and account",
    "ProfileNotFound": "there is no such profile: name one of ~/.aws/config on the control node",
    "NoRegionError": "the region is not known: set region in k8s_eks, or AWS_DEFAULT_REGION",
    "NoCredentialsError": _INCOMPLETE,
    "PartialCredentialsError": _INCOMPLETE,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "SSOTokenLoadError": _EXPIRED,
    "TokenRetrievalError": _EXPIRED,
    "UnauthorizedSSOTokenError": _EXPIRED,
    "AccessDenied": "%s: allow this principal sts:AssumeRole in its policy, and in the trust policy of the role",
    "AccessDeniedException": "%s: allow this principal eks:DescribeCluster",
    # For these codes the AWS message quotes the signed text, which contains the session token.
    "InvalidClientTokenId": _UNKNOWN,
    "InvalidSignatureException": _UNKNOWN,
    "SignatureDoesNotMatch": _UNKNOWN,
    "IncompleteSignature": _UNKNOWN,
    "UnrecognizedClientException": _UNKNOWN,
    "ConnectionError": _SILENT,
    "HTTPClientError": _SILENT,
}


class EksError(Exception):
    """A failed login, with a remedy."""


class Login(NamedTuple):
    """A cluster's API server, and a token for it."""

    server: str  # https://...
    authority: str  # its CA, PEM, in base64
    token: str
    expires: float  # seconds since the epoch


def kept(folder: str, options: Mapping[str, Any], now: Callable[[], float] = time.time) -> Login:
    """The login of this run, or a new one if that would expire too early.

    Ansible runs each task in its own process, so the login is kept in a file. Parallel hosts wait at this file for the
    one that logs in.

    folder -- this run's private folder, removed at the end of the run
    """
    digest = hashlib.sha256(json.dumps(dict(options), sort_keys=True).encode()).hexdigest()
    path = os.path.join(folder, "eks-%s" % digest)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known = _parsed(file.read())
        if known and known.expires - now() >= MARGIN:
            return known
        made = login(options, now())
        file.seek(0)
        file.truncate()
        json.dump(made, file)
    return made


def _parsed(text: str) -> Login | None:
    """The login in the file. The file is empty at first, and incomplete if a process was killed while writing it."""
    try:
        return Login(*json.loads(text))
    except ValueError:
        return None


def login(options: Mapping[str, Any], now: float, clients: Clients | None = None) -> Login:
    """Look up the cluster, and sign a token for it. Raises EksError."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
    except ImportError:
        raise EksError(
            "the Python package botocore is needed on the control node: install it by `%s -m pip install botocore`"
            % sys.executable
        ) from None
    try:
        return _login(options, now, clients or _clients(options))
    except (BotoCoreError, ClientError) as error:
        # Raised without its cause, because Ansible would print the whole AWS message.
        raise EksError("%s: %s" % (_attempt(options), _explained(error))) from None


def _clients(options: Mapping[str, Any]) -> Clients:
    """Clients with the caller's credentials, found as by other AWS tools."""
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.session import Session  # type: ignore[import-untyped]

    # A playbook must not block for minutes, as with botocore's defaults.
    config = Config(connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 3})
    session = Session(profile=options.get("profile") or None)
    return functools.partial(session.create_client, region_name=options.get("region") or None, config=config)


def _login(options: Mapping[str, Any], now: float, clients: Clients) -> Login:
    credentials = _role(options, clients) if options.get("role_arn") else {}
    cluster = clients("eks", **credentials).describe_cluster(name=options["cluster"])["cluster"]
    server, authority = cluster.get("endpoint"), (cluster.get("certificateAuthority") or {}).get("data")
    if not server or not authority:
        raise EksError(
            "%s: it is %s, and has no endpoint. Wait until it is ACTIVE" % (_attempt(options), cluster.get("status"))
        )
    return Login(server, authority, token(clients("sts", **credentials), options["cluster"]), now + LIFETIME)


def _role(options: Mapping[str, Any], clients: Clients) -> dict[str, str]:
    """The credentials of the role to assume, as arguments for a client."""
    more = {"ExternalId": options["external_id"]} if options.get("external_id") else {}
    name = options.get("session_name") or EKS["session_name"]["default"]
    answer = clients("sts").assume_role(RoleArn=options["role_arn"], RoleSessionName=name, **more)["Credentials"]
    return {
        "aws_access_key_id": answer["AccessKeyId"],
        "aws_secret_access_key": answer["SecretAccessKey"],
        "aws_session_token": answer["SessionToken"],
    }


def token(sts: Any, cluster: str) -> str:
    """Sign a token for one cluster, with an STS client that is used for nothing else."""

    def name_the_cluster(request: Any, **dummy: Any) -> None:
        request.headers[HEADER] = cluster

    sts.meta.events.register("before-sign.sts.GetCallerIdentity", name_the_cluster)
    url = sts.generate_presigned_url("get_caller_identity", ExpiresIn=URL_EXPIRES, HttpMethod="GET")
    return PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def kubeconfig(made: Login) -> dict[str, Any]:
    """A kubeconfig for the client, as data instead of a file."""
    cluster = {"server": made.server, "certificate-authority-data": made.authority}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": CONTEXT, "user": {"token": made.token}}],
    }


def who(options: Mapping[str, Any]) -> str:
    """The owner of the credentials that a login uses, for messages."""
    words = (("profile", "profile"), ("role_arn", "role"))
    named = ["%s %s" % (word, options[key]) for key, word in words if options.get(key)]
    return " and ".join(named) or "the AWS configuration"


def _attempt(options: Mapping[str, Any]) -> str:
    """The failed login for messages, with every option that may be wrong."""
    region = "region %s" % options["region"] if options.get("region") else "the region of the AWS configuration"
    return "no login to the EKS cluster %s in %s by the credentials of %s" % (options["cluster"], region, who(options))


def _explained(error: Any) -> str:
    """The reason for an AWS failure, and a remedy."""
    answered = getattr(error, "response", {}).get("Error", {})
    names = [answered.get("Code"), *(kind.__name__ for kind in type(error).__mro__)]
    cause = next((_CAUSES[name] for name in names if name in _CAUSES), "%s")
    said = str(answered.get("Message") or error)
    return cause % said if "%s" in cause else cause
