# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, values and the all-or-nothing of kernel parameters, on a folder that stands for /proc/sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._sysctls import node as sysctls


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net/ipv4/conf/eth0.10").mkdir(parents=True)
    (tmp_path / "net/ipv4/ip_forward").write_text("0\n")
    (tmp_path / "net/ipv4/tcp_rmem").write_text("4096\t131072\t6291456\n")
    (tmp_path / "net/ipv4/conf/eth0.10/rp_filter").write_text("2\n")
    monkeypatch.setattr(sysctls, "ROOT", str(tmp_path))
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
    assert sysctls.path_of(name) == str(proc / path)


@pytest.mark.parametrize("name", ["", "net..ipv4", "/etc/passwd", "../../etc/passwd", "net/../../x"])
def test_a_name_cannot_lead_out_of_proc_sys(proc: Path, name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a kernel parameter"):
        sysctls.path_of(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (True, "1"), (False, "0"), ("4096 131072\t6291456", "4096 131072 6291456"), (" 2 ", "2")],
)
def test_values_have_one_spelling(value: object, text: str) -> None:
    assert sysctls.normal(value) == text


def test_missing_name_is_reported(proc: Path) -> None:
    assert sysctls.read(["net.ipv4.tcp_rmem"]) == {"net.ipv4.tcp_rmem": "4096 131072 6291456"}
    with pytest.raises(InputError, match=r"values\.net\.ipv4\.vs\.conntrack cannot be read"):
        sysctls.read(["net.ipv4.vs.conntrack"])


def test_refused_value_rolls_back_the_earlier_ones(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have = sysctls.read(["net.ipv4.ip_forward", "net/ipv4/conf/eth0.10/rp_filter"])
    write = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if data == b"9\n":
            raise OSError(22, "Invalid argument")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(InputError, match="rp_filter 9 is refused by the kernel: Invalid argument"):
        sysctls.write(have, {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.10/rp_filter": "9"})
    assert sysctls.read(list(have)) == have


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("0x40", "64", True),
        ("0100", "64", True),
        ("4096 0x20000 6291456", "4096 131072 6291456", True),
        ("9000,8080", "8080,9000", True),
        ("8080,8081-8090,8091", "8080-8091", True),
        ("8080-8080", "8080", True),
        ("-1", "-01", True),
        ("8080,9000", "8080", False),
        ("9000-8080", "8080-9000", False),
        ("70000,1", "1,70000", False),
        ("64", "65", False),
        ("cubic", "reno", False),
        ("0x", "0", False),
        ("", "0", False),
    ],
)
def test_equal_spellings_are_one_value(one: str, other: str, equal: bool) -> None:
    assert sysctls.same(one, other) == equal


def test_values_that_set_others_are_written_first() -> None:
    names = [
        "net.ipv4.conf.eth1.forwarding",
        "net.ipv4.conf.default.forwarding",
        "net/ipv4/conf/all/accept_redirects",
        "net.ipv6.conf.all.forwarding",
        "net.ipv4.ip_forward",
    ]
    assert list(sysctls.ordered(dict.fromkeys(names, "1"))) == names[::-1]


def spread(proc: Path, monkeypatch: pytest.MonkeyPatch, **follows: str) -> None:
    """As the kernel does for forwarding: a write to one parameter changes another one as well."""
    put = sysctls._put

    def write(path: str, value: str) -> None:
        put(path, value)
        if os.path.basename(path) in follows:
            put(str(proc / "net/ipv4" / follows[os.path.basename(path)]), value)

    monkeypatch.setattr(sysctls, "_put", write)


def test_values_changed_by_others_are_written_again(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spread(proc, monkeypatch, ip_forward="conf/eth0.10/rp_filter")
    want = {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.10/rp_filter": "2"}
    have = sysctls.read(list(want))
    assert sysctls.write(have, want) == sysctls.predicted(have, want) == want
    assert sysctls.read(list(want)) == want


def test_conflicting_values_are_refused_and_rolled_back(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spread(proc, monkeypatch, ip_forward="conf/eth0.10/rp_filter", rp_filter="ip_forward")
    want = {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.10/rp_filter": "0"}
    have = sysctls.read(list(want))
    with pytest.raises(
        InputError, match=r"values.net.ipv4.ip_forward 1, values.net/ipv4/conf/eth0.10/rp_filter 0 do not stand"
    ):
        sysctls.write(have, want)
