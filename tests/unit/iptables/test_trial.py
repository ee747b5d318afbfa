# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A match or target that the kernel lacks names the package that holds it."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.trial import kernel_hint


@pytest.mark.parametrize(
    "said",
    [
        # RHEL 10.2 without kernel-modules-extra.
        "Warning: Extension MASQUERADE revision 0 not supported, missing kernel module?\n"
        "iptables-restore v1.8.11 (nf_tables): \nline 4: RULE_APPEND failed (No such file or directory)",
        "iptables-restore: line 3 failed: No chain/target/match by that name.",
    ],
)
def test_a_missing_kernel_module_names_its_package(said: str) -> None:
    assert "this kernel lacks a module" in kernel_hint(said)
    assert "(kernel-modules-extra on Fedora and RHEL)" in kernel_hint(said)


def test_other_refusals_name_no_package() -> None:
    assert kernel_hint('iptables-restore: unknown option "--dprot"\nError occurred at line: 3') == ""
