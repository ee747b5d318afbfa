# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strict ARP in the configuration of kube-proxy."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb.proxy import strict_arp

KUBEADM = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
ipvs:
  excludeCIDRs: null
  strictARP: false
  syncPeriod: 0s
kind: KubeProxyConfiguration
mode: %s
"""


@pytest.mark.parametrize(
    "config",
    [
        KUBEADM % "ipvs",
        "mode: ipvs\n",
        "mode: ipvs\nipvs:\n  syncPeriod: 0s\nkind: K\n",
        "mode: ipvs\nipvs: {}\nkind: K",
        "mode: ipvs\nipvs:\nkind: K\n",
    ],
)
def test_strict_arp_is_set_and_other_settings_kept(config: str) -> None:
    changed = strict_arp(config)
    before, after = yaml.safe_load(config), yaml.safe_load(changed)
    assert after == {**before, "ipvs": {**(before.get("ipvs") or {}), "strictARP": True}}
    assert strict_arp(changed) == changed


def test_only_that_line_changes() -> None:
    before, after = KUBEADM % "ipvs", strict_arp(KUBEADM % "ipvs")
    assert after == before.replace("strictARP: false", "strictARP: true")


@pytest.mark.parametrize("mode", ['""', "iptables", "nftables"])
def test_other_modes_need_none(mode: str) -> None:
    assert strict_arp(KUBEADM % mode) == KUBEADM % mode


@pytest.mark.parametrize("config", ["", "- a", "mode: [", "{mode: ipvs, ipvs: {strictARP: false}}"])
def test_an_unusual_configuration_is_refused(config: str) -> None:
    with pytest.raises(InputError, match="configuration of kube-proxy"):
        strict_arp(config)
