# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, values and the all-or-nothing of kernel parameters, on a folder that stands for /proc/sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _sysctls
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net/ipv4/conf/eth0.10").mkdir(parents=True)
    (tmp_path / "net/ipv4/ip_forward").write_text("0\n")
    (tmp_path / "net/ipv4/tcp_rmem").write_text("4096\t131072\t6291456\n")
    (tmp_path / "net/ipv4/conf/eth0.10/rp_filter").write_text("2\n")
    monkeypatch.setattr(_sysctls, "ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.10/rp_filter", "net/ipv4/conf/eth0.10/rp_filter"),
        ("net.ipv4.conf.eth0/10.rp_filter", "net/ipv4/conf/eth0.10/rp_filter"),
    ],
)
def test_a_name_leads_to_its_file(proc: Path, name: str, path: str) -> None:
    assert _sysctls.path_of(name) == str(proc / path)


@pytest.mark.parametrize("name", ["", "net..ipv4", "/etc/passwd", "../../etc/passwd", "net/../../x"])
def test_a_name_cannot_lead_out_of_proc_sys(proc: Path, name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a kernel parameter"):
        _sysctls.path_of(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (True, "1"), (False, "0"), ("4096 131072\t6291456", "4096 131072 6291456"), (" 2 ", "2")],
)
def test_values_have_one_spelling(value: object, text: str) -> None:
    assert _sysctls.normal(value) == text


def test_read_says_which_one_is_not_there(proc: Path) -> None:
    assert _sysctls.read(["net.ipv4.tcp_rmem"]) == {"net.ipv4.tcp_rmem": "4096 131072 6291456"}
    with pytest.raises(InputError, match=r"values\.net\.ipv4\.vs\.conntrack cannot be read"):
        _sysctls.read(["net.ipv4.vs.conntrack"])


def test_a_refused_value_takes_the_earlier_ones_back(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have = _sysctls.read(["net.ipv4.ip_forward", "net/ipv4/conf/eth0.10/rp_filter"])
    write = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if data == b"9\n":
            raise OSError(22, "Invalid argument")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(InputError, match="rp_filter 9 is refused by the kernel: Invalid argument"):
        _sysctls.write(have, {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.10/rp_filter": "9"})
    assert _sysctls.read(list(have)) == have
