# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and role k8s_objects on a real API server. Nothing rolls out there by itself."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, deployment, path
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes

ROLE = {"ansible.builtin.include_role": {"name": "homelab.loadbalancer.k8s_objects"}}


def test_the_role_waits_for_the_rollout_of_what_it_applied(api: ApiServer, namespace: str) -> None:
    objects = [config_map(namespace, "one"), deployment(namespace, "web")]
    given: dict[str, Any] = {"k8s_objects_definitions": objects, "k8s_objects_timeout": 1}
    said = api.play([ROLE], rc=2, **given).out
    assert "the rollout is not complete after" in said
    assert "Deployment %s/web: its controller has not seen the change yet" % namespace in said
    assert api.get(path(namespace, "one")) is not None
    # Nothing changes, so a check run has nothing to wait for.
    assert changes(api.play([ROLE], "--check", **given).out) == 0


def test_the_role_applies_and_removes(api: ApiServer, controllers: None, namespace: str) -> None:
    objects = [config_map(namespace, "one"), deployment(namespace, "web")]
    present = {**ROLE, "vars": {"k8s_objects_wait": "false"}}  # a text, as -e gives it
    absent = {**ROLE, "vars": {"k8s_objects_state": "absent"}}
    tasks = [present, present, absent, absent]
    assert changes(api.play(tasks, k8s_objects_definitions=objects).out) == 2
    assert api.get(path(namespace, "one")) is None
