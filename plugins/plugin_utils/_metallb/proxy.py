# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strict ARP of kube-proxy, as kubeadm installs it. Pure.

In ipvs mode kube-proxy puts the addresses of all Services on a link of every node, so that all nodes answer ARP for
them. With strictARP they do not; MetalLB's layer 2 mode needs this.
"""

from __future__ import annotations

import re
from typing import Any, Mapping

import yaml

from ...module_utils._common.errors import InputError
from .._k8s.model import Patch
from .._k8s_explain.times import Moment, parse_time

KEY = "config.conf"
# The time when strict ARP was set. A kube-proxy not restarted since then does not use it: a run was interrupted.
MARK = "homelab.loadbalancer/strict-arp-set"
RESTARTED = "kubectl.kubernetes.io/restartedAt"  # of kubectl rollout restart

_SETTING = re.compile(r"^(\s+)strictARP:.*$", re.MULTILINE)
_SECTION = re.compile(r"^ipvs:[ \t]*$", re.MULTILINE)
_NO_SECTION = re.compile(r"^ipvs:.*\n?", re.MULTILINE)


def patches(config_map: Mapping[str, Any], daemon_set: Mapping[str, Any], now: str) -> list[Patch]:
    """The patches that enable strict ARP if kube-proxy needs it: of its configuration, and for a restart.

    config_map, daemon_set -- kube-proxy's objects; empty if they do not exist
    now -- the time in Kubernetes' format
    """
    config = str((config_map.get("data") or {}).get(KEY) or "")
    wanted = strict_arp(config) if config else ""
    set_at = _annotation(config_map, MARK)
    found = []
    if wanted != config:
        change = {"metadata": {"annotations": {MARK: now}}, "data": {KEY: wanted}}
        found.append(Patch(_reference("v1", "ConfigMap"), change))
    template = (daemon_set.get("spec") or {}).get("template") or {}
    outdated = wanted != config or _time(_annotation(template, RESTARTED)) < _time(set_at)
    if daemon_set and outdated:
        restart = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}}
        found.append(Patch(_reference("apps/v1", "DaemonSet"), restart))
    return found


def strict_arp(config: str) -> str:
    """The text of a KubeProxyConfiguration, with strict ARP enabled if needed; its other lines stay unchanged.

    Raises InputError if the text cannot be changed in this way.
    """
    if not _lacks(config):
        return config
    for changed in (
        _SETTING.sub(r"\1strictARP: true", config),
        _SECTION.sub("ipvs:\n  strictARP: true", config),
        _NO_SECTION.sub("", config).rstrip("\n") + "\nipvs:\n  strictARP: true\n",
    ):
        if changed != config and _parse(changed, {}) and not _lacks(changed):
            return changed
    raise InputError("the configuration of kube-proxy is written unusually: set ipvs.strictARP: true in it")


def _lacks(config: str) -> bool:
    parsed = _parse(config, None)
    if not isinstance(parsed, dict):
        raise InputError("the configuration of kube-proxy is no YAML mapping")
    return parsed.get("mode") == "ipvs" and not (parsed.get("ipvs") or {}).get("strictARP")


def _parse(config: str, otherwise: Any) -> Any:
    try:
        return yaml.safe_load(config)
    except yaml.YAMLError:
        return otherwise


def _reference(version: str, kind: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "kube-proxy", "namespace": "kube-system"}}


def _annotation(thing: Mapping[str, Any], name: str) -> str:
    return str(((thing.get("metadata") or {}).get("annotations") or {}).get(name) or "")


def _time(text: str) -> Moment:
    """Parse a time in Kubernetes' format; any other text gives the earliest time."""
    return parse_time(text) or Moment(0, 0)
