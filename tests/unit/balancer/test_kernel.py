# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that modprobe says it inserts."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._balancer import kernel


@pytest.mark.parametrize(
    ("listing", "names"),
    [
        ("", []),
        ("insmod /lib/modules/6.1.0-40-amd64/kernel/net/netfilter/ipvs/ip_vs_rr.ko \n", ["ip_vs_rr"]),
        ("insmod /lib/modules/6.12/kernel/a/nf_conntrack.ko.xz \ninsmod /x/ip-vs.ko.zst conn_tab_bits=8\n",
         ["nf_conntrack", "ip_vs"]),
        ("builtin dummy\ninstall /sbin/true\n", []),
    ],
)  # fmt: skip
def test_inserted_modules(listing: str, names: list[str]) -> None:
    assert kernel.inserted(listing) == names


def test_no_names_run_no_modprobe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "run", None)
    assert kernel.missing([]) == []
