#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name runs this on the host, and says what to do when the API server cannot be used.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_logs
short_description: The logs of many containers of a Kubernetes cluster, as one text
version_added: 0.2.0
description:
  - Reads the logs of all containers of pods, which are named or have labels, and sets their lines in order of time,
    each behind the pod and container that wrote it. M(kubernetes.core.k8s_log) reads the log of one pod.
  - Pods may be hostile. Control characters in their lines are returned as C(\\x1b) and its kind, so that no terminal
    obeys them; tabs are returned as spaces.
  - A container without a log, for instance one that has not started, is no error. Why it has none is told.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  names:
    description:
      - The names of pods. Give either these or O(label_selectors).
    type: list
    elements: str
    default: []
  label_selectors:
    description:
      - The pods with all of these labels, each as C(kubectl get --selector) takes it.
    type: list
    elements: str
    default: []
  namespace:
    description:
      - The namespace of the pods. Empty is V(default) with O(names), and all with O(label_selectors).
    type: str
    default: ''
  container:
    description:
      - Only the container of this name. Empty is all of a pod, those that only prepare it as well.
    type: str
    default: ''
  since:
    description:
      - Only lines that are not older, such as V(90s), V(10m), V(1h30m) or V(2d). Empty is all.
    type: str
    default: ''
  tail:
    description:
      - How many lines of each container, the last ones. V(-1) is all, of which the first 4 MiB are read.
    type: int
    default: 100
  previous:
    description:
      - Whether to read what the container wrote before it was restarted the last time.
    type: bool
    default: false
seealso:
  - module: kubernetes.core.k8s_log
"""

EXAMPLES = r"""
- name: Read what an application wrote in the last minutes
  homelab.loadbalancer.k8s_logs:
    label_selectors: [app.kubernetes.io/name=web]
    since: 10m
  register: logs

- name: Show it
  ansible.builtin.debug:
    msg: "{{ logs.text }}"
"""

RETURN = r"""
logs:
  description: The log of each container.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: The pod's namespace.
      type: str
    pod:
      description: The pod's name.
      type: str
    container:
      description: The container's name.
      type: str
    lines:
      description: Its lines.
      type: list
      elements: str
    note:
      description: Why there are none, as far as the API server tells. Otherwise empty.
      type: str
text:
  description: All lines in order of time, each behind its pod and container.
  returned: success
  type: str
  sample: |-
    web-6c5f7d9b-8xk2p/web  | listening on :8080
    web-6c5f7d9b-zz4xw/web  | listening on :8080
"""

from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_logs as logs
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_client import (
    TEXTS,
    RefusalError,
    Server,
    run_module,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._module import Module
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable

ARGUMENTS: dict[str, Any] = {
    "names": TEXTS,
    "label_selectors": TEXTS,
    "namespace": {"type": "str", "default": ""},
    "container": {"type": "str", "default": ""},
    "since": {"type": "str", "default": ""},
    "tail": {"type": "int", "default": 100},
    "previous": {"type": "bool", "default": False},
}


def work(server: Server, module: Module) -> dict[str, Any]:
    # An empty text is a list of one empty text to Ansible.
    texts = {key: [text for text in module.params[key] if text] for key in ("names", "label_selectors")}
    options = {**module.params, **texts}
    if bool(options["names"]) == bool(options["label_selectors"]):
        raise InputError("say which pods: by their names or by their labels, and not by both")
    if options["namespace"]:
        server.refuse_missing_namespace(options["namespace"], options["prefix"] + "namespace")
    since = logs.parse_since(options["since"], options["prefix"] + "since")
    pods = found_pods(server, options)
    wanted = [(pod, name) for pod in pods for name in logs.containers_of(pod, options["container"])]
    if pods and not wanted:
        there = sorted({name for pod in pods for name in logs.containers_of(pod)})
        raise InputError("no pod has a container %s: they have %s" % (options["container"], ", ".join(there)))
    read = []
    for pod, name in wanted:
        query = logs.query_of(name, since, options["tail"], options["previous"])
        read.append((pod["metadata"], name, *log_of(server, pod["metadata"], query)))
    found: list[dict[str, Any]] = [
        {
            "namespace": metadata["namespace"],
            "pod": metadata["name"],
            "container": name,
            "lines": [line.text for line in lines],
            "note": printable(note),
        }
        for metadata, name, lines, note in read
    ]
    text = logs.merged(list(zip(logs.full_names(found), [lines for dummy, dummy, lines, dummy in read])))
    return {"changed": False, "logs": found, "text": text}


def found_pods(server: Server, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods. Those that are named must be there."""
    if not options["names"]:
        inside = "/namespaces/" + options["namespace"] if options["namespace"] else ""
        query = [("labelSelector", ",".join(options["label_selectors"]))]
        return list(server.get("/api/v1%s/pods" % inside, query)["items"])
    folder = "/api/v1/namespaces/%s/pods" % (options["namespace"] or "default")
    pods = []
    for name in options["names"]:
        try:
            pods.append(server.get("%s/%s" % (folder, name)))
        except RefusalError as error:
            if error.status != 404:
                raise
            namespace = options["namespace"] or "default"
            raise InputError("there is no pod %s in the namespace %s" % (name, namespace)) from error
    return pods


def log_of(server: Server, metadata: dict[str, Any], query: list[tuple[str, Any]]) -> tuple[list[logs.Line], str]:
    """The lines of a container, and why there are none. A pod may go while its neighbour's log is read."""
    path = "/api/v1/namespaces/%s/pods/%s/log" % (metadata["namespace"], metadata["name"])
    try:
        return logs.parse_log(server.ask("GET", path, query=query, accept="*/*")), ""
    except RefusalError as error:
        if error.status not in (400, 404, 500):
            raise
        return [], str(error)


def main() -> None:
    run_module(ARGUMENTS, work)


if __name__ == "__main__":
    main()
