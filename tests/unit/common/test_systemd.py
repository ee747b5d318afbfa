# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in units of systemd. The expected texts were verified with systemd 252."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.systemd import exec_start

ARGUMENTS = {
    "-t": "-t",
    "192.0.2.7/32": "192.0.2.7/32",
    "!": "!",
    "": '""',
    ";": '";"',
    "two words": '"two words"',
    "a;b": '"a;b"',
    "100%": "100%%",
    "%i of %n": '"%%i of %%n"',
    "$HOME": "$$HOME",
    "${HOME} sweet": '"$${HOME} sweet"',
    'say "hi"': '"say \\"hi\\""',
    "it's": '"it\'s"',
    "back\\slash": '"back\\\\slash"',
    "tab\tnew\nline\x01": '"tab\\tnew\\nline\\x01"',
    "grüße": '"grüße"',
    "#no": '"#no"',
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_argument_is_passed_unchanged(argument: str) -> None:
    assert exec_start(["iptables", argument, "-j"]) == "iptables %s -j" % ARGUMENTS[argument]


def test_program_is_quoted_without_variables() -> None:
    assert exec_start(["/opt/my $tools/100%/ip", "a"]) == '"/opt/my $tools/100%%/ip" a'
