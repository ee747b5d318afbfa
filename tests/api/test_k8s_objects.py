# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and role k8s_objects on a real API server. Nothing rolls out there by itself."""

from __future__ import annotations

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, deployment, path
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, role, shown
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes


def test_role_applies_waits_and_removes(api: ApiServer, controllers: None, namespace: str) -> None:
    objects = [config_map(namespace, "one"), deployment(namespace, "web")]
    wait = role("k8s_objects", k8s_objects_timeout=1)
    present = role("k8s_objects", k8s_objects_wait="false")  # a text, as -e gives it
    absent = role("k8s_objects", k8s_objects_state="absent")
    # A check run waits for nothing, because nothing changes.
    tasks = [must_fail(wait), {"block": [wait], "check_mode": True}, present, absent, absent]
    with api.record() as asked:
        said = api.play(tasks, k8s_objects_definitions=objects).out
    (why,) = shown(said)
    assert "the rollout is not complete after" in why
    assert "Deployment %s/web: its controller has not seen the change yet" % namespace in why
    assert changes(said) == 1
    assert [one.verb for one in writes(asked)] == ["patch", "patch", "delete", "delete"]
    assert api.get(path(namespace, "one")) is None
