# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/k8s.yml as a user runs it, on an API server of the test's own that knows just enough.

What needs a real one, such as who owns a field, is in tests/cluster/test_k8s_tools.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s.transport import Request, Transport
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.server import RefusalError, Server
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools import listing, logs
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools import manage as manager
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools.kinds import find_kind
from ansible_collections.homelab.loadbalancer.tests.api.stub import HOSTILE, Api, Fault, named
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT, changes, in_repository

PASSWORD = "correct horse 47"  # noqa: S105 -- none of anybody
ENCODED = base64.b64encode(PASSWORD.encode()).decode()


@pytest.fixture
def api(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the client has its cache
    with Api() as server, in_repository(root):
        server.put("/api/v1/namespaces/default", named("Namespace", "default"))
        yield server


def secret() -> dict[str, Any]:
    """A Secret as `kubectl apply` leaves it, with a copy of itself."""
    thing = named("Secret", "login", data={"password": ENCODED})
    copy = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(thing), "copy": "is " + PASSWORD}
    thing["metadata"]["annotations"] = copy
    return thing


def kubeconfig(api: Api) -> str:
    """One that leads to the server."""
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:%d" % api.server_port}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {}}]
    return json.dumps({"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"})


def k8s(api: Api, folder: Path, *options: str, rc: int = 0, **variables: Any) -> str:
    """Run the playbook and return what it printed. Variables are in a file, as a user's Secrets should be."""
    (folder / "kubeconfig").write_text(kubeconfig(api))
    values = {"k8s_kubeconfig": str(folder / "kubeconfig"), "ansible_connection": "local", **variables}
    (folder / "vars.json").write_text(json.dumps(values))
    argv = ["ansible-playbook", "-i", "inventories/homelab", "playbooks/k8s.yml", "-e", "@%s/vars.json" % folder]
    api.asked.clear()
    done = run([*argv, *options], env={**ENVIRONMENT, "TMPDIR": str(folder)}, check=False)
    assert done.rc == rc, done.out + done.err
    return done.out + done.err


def server_of(api: Api, folder: Path) -> Server:
    """As the actions have it."""
    (folder / "kubeconfig").write_text(kubeconfig(api))
    return Server(Transport(str(folder / "kubeconfig")).exchange)


def manage(server: Server, operation: str, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """What the module k8s_manage returns."""
    defaults = {key: option.get("default") for key, option in manager.ARGUMENTS.items()}
    return manager.manage(server, {**defaults, "operation": operation, **options}, check_mode)


def test_no_secret_is_shown_at_any_verbosity(api: Api, tmp_path: Path) -> None:
    api.put("/api/v1/namespaces/default/secrets/login", secret())
    changed = {**named("Secret", "login"), "stringData": {"password": PASSWORD + "!", "other": PASSWORD}}
    one = {"k8s_tools_kind": "Secret", "k8s_tools_name": "login"}
    read = k8s(api, tmp_path, "-vvvv", "--tags=list,manage", **one)
    assert "copy: is (not shown)" in read
    variables = {"k8s_tools_definitions": [changed], "k8s_tools_definition": changed, "k8s_tools_operation": "replace"}
    tried = k8s(api, tmp_path, "-vvvv", "--tags=apply,manage", "--check", "--diff", **variables)
    assert changes(tried) == 2
    for said in (read, tried):
        assert "password: (not shown" in said
        for value in (PASSWORD, ENCODED, PASSWORD[:12], base64.b64encode((PASSWORD + "!").encode()).decode()):
            assert value not in said
    assert api.writes() == []


def test_an_error_that_quotes_a_secret_is_shown_without_it(api: Api, tmp_path: Path) -> None:
    variables = {"k8s_allow_write": True, "k8s_tools_operation": "create"}
    wrong = named("Secret", "login", data={"password": PASSWORD, "pin": 987654})
    said = k8s(api, tmp_path, "-vvvv", "--tags=manage", rc=2, k8s_tools_definition=wrong, **variables)
    assert "expected string, got" in said
    assert PASSWORD not in said and "987654" not in said


def test_writes_are_disabled_by_default(api: Api, tmp_path: Path) -> None:
    greeting = named("ConfigMap", "greeting", data={"text": "hello"})
    for tag, variables in (
        ("apply", {"k8s_tools_definitions": [greeting]}),
        ("manage", {"k8s_tools_operation": "create", "k8s_tools_definition": greeting}),
    ):
        said = k8s(api, tmp_path, "--tags", tag, rc=2, **variables)
        assert "k8s_allow_write: true" in said
        assert api.asked == []


def test_a_folder_and_a_url_are_applied_once(api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "20-two.yml").write_text(json.dumps({**named("ConfigMap", "two"), "data": {"text": "2"}}))
    (folder / "10-one.yaml").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {day: 2026-01-01}\n"
    )
    (folder / "notes.txt").write_text("none of it")
    api.manifest = b"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 1}}"
    checksum = "sha256:" + hashlib.sha256(api.manifest).hexdigest()
    url = {"src": "http://127.0.0.1:%d/manifest.yml" % api.server_port, "checksum": checksum}
    variables = {"k8s_tools_src": [str(folder), url], "k8s_allow_write": True, "k8s_tools_default_namespace": "demo"}
    said = k8s(api, tmp_path, "--tags=apply", "--diff", **variables)
    assert changes(said) == 1
    assert re.search(r"\+ +data:\n\+ +day: '2026-01-01'", said)
    order = ["Namespace demo", "ConfigMap demo/one", "ConfigMap default/two", "Deployment demo/web"]
    assert re.findall(r"│ create +│ (\S+ \S+)", said) == order
    again = k8s(api, tmp_path, "--tags=apply", **variables)
    assert changes(again) == 0
    assert api.writes() == []


def test_expired_token_is_named(api: Api, tmp_path: Path) -> None:
    variables = {"k8s_allow_write": True, "k8s_tools_definitions": [named("ConfigMap", "one")]}
    api.faults.append(Fault("GET .*/configmaps", (401, "Unauthorized")))
    said = k8s(api, tmp_path, "--tags=apply", rc=2, **variables)
    assert "GET /apis" in api.asked
    assert "the token or certificate in it has expired" in " ".join(said.split())
    assert api.writes() == []


def test_logs_and_events_cannot_write_to_the_terminal(api: Api, tmp_path: Path) -> None:
    for number in (1, 2):
        spec = {"initContainers": [{"name": "init"}], "containers": [{"name": "web"}]}
        api.put("/api/v1/namespaces/default/pods/web-%d" % number, named("Pod", "web-%d" % number, spec=spec))
    api.logs = {
        "web-1 web": b"2026-01-01T00:00:01.5Z first\n2026-01-01T00:00:03Z third\xc2\x9b2J\n",
        "web-2 web": ("2026-01-01T09:00:02+09:00 second %s\n" % HOSTILE).encode(),
    }
    about = {"kind": "Pod", "namespace": "default", "name": "web-1"}
    old = {"reason": "Old", "lastTimestamp": "2026-01-01T00:00:00Z", "message": HOSTILE}
    new: dict[str, Any] = {"reason": "New", "eventTime": "2025-01-01T00:00:00.000000Z"}
    new["series"] = {"count": 7, "lastObservedTime": "2026-01-02T00:00:00.000001Z"}
    for name, event in (("a", new), ("b", old)):
        api.put("/api/v1/namespaces/default/events/" + name, named("Event", name, involvedObject=about, **event))
    said = k8s(api, tmp_path, "-v", "--tags=logs,events", k8s_tools_labels="app=web", k8s_tools_kind="pods")
    ordered = [r"web-1/web \| first", r"web-2/web \| second \\x1b\]0;owned\\x07\\x9b2J", r"web-1/web \| third\\x9b2J"]
    assert re.search(r"\s+".join(ordered), said)
    assert "container is waiting to start" in said
    assert re.search(r"│ Old .*\\x1b\]0;owned.*\n.*│ New +│ Pod default/web-1 +│ 7 ", said)
    assert set("\x1b\x07\x9b").isdisjoint(said)


def test_object_lifecycle(api: Api, tmp_path: Path) -> None:
    server = server_of(api, tmp_path)
    web = named("Deployment", "web", spec={"replicas": 1})
    with pytest.raises(InputError, match="there is no Deployment default/web"):
        manage(server, "replace", definition=web)
    assert manage(server, "create", True, definition=web)["change"] == "create Deployment default/web"
    assert api.writes() == []
    assert manage(server, "create", definition=web)["changed"]
    with pytest.raises(InputError, match="Deployment default/web exists already"):
        manage(server, "create", definition=web)
    assert not manage(server, "replace", definition=web)["changed"]
    for check_mode in (True, False):
        patched = manage(server, "patch", check_mode, kind="deploy", name="web", patch={"spec": {"replicas": 3}})
        assert patched["changed"]
        assert patched["object"]["spec"] == {"replicas": 3}
    assert manage(server, "delete", True, kind="deployments.apps", name="web")["changed"]
    assert manage(server, "delete", kind="deployments", name="web")["changed"]
    assert not manage(server, "delete", kind="Deployment", name="web")["changed"]


def test_unknown_kinds_and_selectors_are_refused(api: Api, tmp_path: Path) -> None:
    server = server_of(api, tmp_path)
    with pytest.raises(InputError, match="its api_version is apps/v1"):
        find_kind(server, "deploy", "v1", "list")
    with pytest.raises(InputError, match=r"did you mean Deployment\?"):
        find_kind(server, "deploymnts", "", "list")
    with pytest.raises(RefusalError, match="unable to parse requirement"):
        server.ask(Request("GET", "/api/v1/pods", [("labelSelector", "!!")]))


def test_missing_namespace_is_refused_and_not_listed_as_empty(api: Api, tmp_path: Path) -> None:
    server = server_of(api, tmp_path)

    def asked(work: Any, namespace: str) -> Any:
        options = {key: value.get("default") for key, value in {**listing.ARGUMENTS, **logs.ARGUMENTS}.items()}
        options.update(kinds=["pods"], prefix="k8s_tools_", label_selectors=["app=web"], namespace=namespace)
        return work(server, options)

    api.put("/api/v1/namespaces/empty", named("Namespace", "empty"))
    for work in (listing.list_objects, logs.read_logs):
        assert not asked(work, "empty")["changed"]
        with pytest.raises(
            InputError, match="k8s_tools_namespace: the namespace emtpy does not exist: check its spelling"
        ):
            asked(work, "emtpy")
        with pytest.raises(InputError, match="k8s_tools_namespace Empty is not a DNS label"):
            asked(work, "Empty")
    said = k8s(api, tmp_path, "--tags=events", rc=2, k8s_tools_namespace="emtpy")
    assert "k8s_tools_namespace: the namespace emtpy does not exist" in said


def test_a_secret_changes_unseen_and_is_shown_when_asked_for(api: Api, tmp_path: Path) -> None:
    api.put("/api/v1/namespaces/default/secrets/login", secret())
    server = server_of(api, tmp_path)
    new = {"data": {"password": "bmV3", "more": "eA=="}}
    patched = manage(server, "patch", True, kind="secrets", name="login", patch=new)
    assert patched["diff"]["before"]["data"] == {"password": "(not shown)"}
    assert patched["diff"]["after"]["data"] == {"password": "(not shown, changed)", "more": "(not shown)"}
    shown = manage(server, "read", kind="secrets", name="login", show_secrets=True)
    assert shown["object"]["data"] == {"password": ENCODED}
