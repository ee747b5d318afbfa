# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iptables_chains on real kernels' tables of both backends, beside the rules of others."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    FAMILIES,
    Firewall,
    chains,
    converge,
    finish_module,
    idle_tables,
    module,
    start_module,
    without_empty_tables,
)

pytestmark = pytest.mark.usefixtures("fresh_node")

# As Docker, kube-proxy and firewalld (by its iptables backend) leave them, with packets counted already.
FOREIGN = """\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:PREROUTING_direct - [0:0]
[4:240] -A PREROUTING -j PREROUTING_direct
[0:0] -A PREROUTING -i docker0 -p tcp -j CT --notrack
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-KUBELET-CANARY - [0:0]
[9:540] -A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SEP-SXIVWICOYRO3J4NJ - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
[1:60] -A PREROUTING -m comment --comment "kubernetes service portals -j LB-X" -j KUBE-SERVICES
[2:120] -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
[3:180] -A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[4:240] -A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
[0:0] -A POSTROUTING -m comment --comment "it\\'s \\"kubernetes\\" postrouting rules" -j KUBE-POSTROUTING
[0:0] -A POSTROUTING -m mark --mark 0x2000/0x2000 -j MASQUERADE
[0:0] -A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination :80
[0:0] -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
[0:0] -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
[0:0] -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
[0:0] -A KUBE-POSTROUTING -j MASQUERADE --random-fully
[0:0] -A KUBE-SEP-SXIVWICOYRO3J4NJ -p tcp -m tcp -j DNAT --to-destination :6443
[0:0] -A KUBE-SERVICES -p tcp -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y
[0:0] -A KUBE-SVC-NPX46M4PTMTKRN6Y -m statistic --mode random --probability 0.50000000000 -j KUBE-MARK-MASQ
[0:0] -A KUBE-SVC-NPX46M4PTMTKRN6Y -j KUBE-SEP-SXIVWICOYRO3J4NJ
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:FORWARD_direct - [0:0]
:KUBE-FIREWALL - [0:0]
[5:300] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
[6:360] -A INPUT -j KUBE-FIREWALL
[7:420] -A FORWARD -j DOCKER-USER
[8:480] -A FORWARD -o docker0 -j DOCKER
[8:480] -A FORWARD -o docker0 -j DOCKER
[9:540] -A FORWARD -j FORWARD_direct
[1:60] -A DOCKER-USER -j RETURN
[0:0] -A FORWARD_direct -m limit --limit 5/min -j LOG --log-prefix "dropped: -j LB-X"
COMMIT
"""


def jump(rule: str, **where: str) -> dict[str, str]:
    return {"rule": rule, **where}


STATES: list[dict[str, Any]] = [
    {
        "nat": {
            "chains": {"LB-X": ["-p tcp --dport 80 -j DNAT --to :8080"], "LB-Y": []},
            "jumps": {
                "PREROUTING": [jump("-j LB-X")],
                "OUTPUT": [jump("-j LB-X", after="DOCKER")],
                "POSTROUTING": [jump("-j LB-Y", position="last")],
            },
        },
        "filter": {
            "chains": {"LB-X": ["-p tcp --dport 80 -j ACCEPT", "-j LB-Z"], "LB-Z": ["-j RETURN"]},
            "jumps": {
                "FORWARD": [jump("-i eth0 -j LB-X", before="DOCKER"), jump("-j LB-Z", after="DOCKER")],
                "DOCKER-USER": [jump("-j LB-X")],
            },
        },
        "mangle": {"chains": {"LB-X": ["-j MARK --set-mark 1"]}, "jumps": {"FORWARD": [jump("-j LB-X")]}},
        "raw": {"chains": {"LB-X": ["-p udp -j CT --notrack"]}, "jumps": {"PREROUTING": [jump("-j LB-X")]}},
    },
    {
        "nat": {
            "chains": {"LB-X": ["-p tcp --dport 81 -j DNAT --to :8080"], "LB-W": ["-j RETURN"]},
            "jumps": {
                "PREROUTING": [jump("-j LB-X", before="KUBE-SERVICES"), jump("-g LB-W", after="DOCKER")],
                "POSTROUTING": [jump("-j LB-W", position="first")],
            },
        },
        "filter": {"chains": {"LB-X": []}, "jumps": {"FORWARD": [jump("-j LB-X", after="DOCKER")], "DOCKER-USER": []}},
        "raw": {"chains": {"LB-X": ["-p udp -j CT --notrack"]}, "jumps": {"PREROUTING": [jump("-j LB-X")]}},
    },
]
HOSTS: dict[str, Any] = {"filter": {"jumps": {"DOCKER-USER": []}}}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def firewall(backend: str, family: str) -> Firewall:
    return Firewall(backend, family)


def by_table(text: str) -> list[str]:
    """The tables of a save, which come in another order from each backend."""
    return sorted(text.replace("*", "\0*").split("\0"))


def shown(firewall: Firewall, text: str) -> str:
    """The chains that a diff shows, as they are in the kernel."""
    kept = []
    names: dict[str, set[str]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            names.setdefault(table, set()).add(line[1:].split()[0])
    for line in firewall.save().splitlines():
        if line.startswith("*"):
            table = line[1:]
            kept += [line] if table in names else []
        elif line.startswith(":") and line[1:].split()[0] in names.get(table, ()):
            kept.append(line.rsplit(" ", 1)[0])
        elif line.startswith("-A ") and line.split()[1] in names.get(table, ()):
            kept.append(line)
    return "".join(line + "\n" for line in kept)


@pytest.mark.parametrize("diff", [True, False])
def test_rules_of_others_stay_byte_for_byte(firewall: Firewall, diff: bool) -> None:
    firewall.load(FOREIGN)
    before = firewall.save(counters=True)
    for tables in [*STATES, STATES[0]]:
        if diff:
            assert converge(firewall, tables=tables)["changed"]
        else:
            assert chains(firewall, diff=False, tables=tables)["changed"]
            assert not chains(firewall, diff=False, tables=tables)["changed"]
        assert firewall.foreign("LB-") == before
    assert chains(firewall, tables=HOSTS, state="absent", diff=diff)["changed"]
    assert firewall.save(counters=True) == before
    assert not chains(firewall, tables=HOSTS, state="absent", diff=diff)["changed"]


def test_jumps_are_where_they_were_declared(firewall: Firewall) -> None:
    firewall.load(FOREIGN)
    chains(firewall, tables=STATES[0])
    found = firewall.chains()
    assert found["nat PREROUTING"][0] == "-j LB-X"
    assert found["nat OUTPUT"][1:] == ["-m addrtype --dst-type LOCAL -j DOCKER", "-j LB-X"]
    assert found["nat POSTROUTING"][-1] == "-j LB-Y"
    assert found["filter FORWARD"] == [
        "-j DOCKER-USER",
        "-i eth0 -j LB-X",
        "-o docker0 -j DOCKER",
        "-o docker0 -j DOCKER",
        "-j LB-Z",
        "-j FORWARD_direct",
    ]
    assert found["filter DOCKER-USER"] == ["-j LB-X", "-j RETURN"]
    chains(firewall, tables=STATES[1])
    found = firewall.chains()
    assert [rule.split()[-1] for rule in found["nat PREROUTING"]] == ["LB-X", "KUBE-SERVICES", "DOCKER", "LB-W"]
    assert "-g LB-W" in found["nat PREROUTING"]
    assert found["nat OUTPUT"][1:] == ["-m addrtype --dst-type LOCAL -j DOCKER"]
    assert found["filter DOCKER-USER"] == ["-j RETURN"]
    assert found["nat LB-X"] == ["-p tcp -m tcp --dport 81 -j DNAT --to-destination :8080"]
    assert "nat LB-Y" not in found
    assert "mangle LB-X" not in found


def test_absent_leaves_a_fresh_node_fresh(firewall: Firewall) -> None:
    assert firewall.save() == ""
    tables: dict[str, Any] = {
        "nat": {
            "chains": {"LB-X": ["-p tcp --dport 81 -j DNAT --to :8080"], "LB-W": ["-j RETURN"]},
            "jumps": {"PREROUTING": [jump("-j LB-X")], "POSTROUTING": [jump("-j LB-W", position="last")]},
        },
        "filter": {"chains": {"LB-X": []}},
        "raw": {"chains": {"LB-X": ["-p udp -j CT --notrack"]}, "jumps": {"PREROUTING": [jump("-j LB-X")]}},
    }
    converge(firewall, tables=tables)
    # Table by table, so that the last use of a table is not always by state: absent.
    converge(firewall, tables={"nat": tables["nat"]})
    converge(firewall, tables={"nat": {"chains": {}, "jumps": {}}})
    converge(firewall, state="absent", tables={})
    left = firewall.save()
    assert without_empty_tables(left) == ""
    if firewall.backend == "nft":
        assert left == ""
    else:
        # The kernel keeps a table once it was used, and there is no way to take it out of a namespace.
        assert set(idle_tables(left)) <= set(tables)


def test_chains_diff_equals_iptables_save(firewall: Firewall) -> None:
    firewall.load(FOREIGN)
    for tables in [*STATES, {}]:
        hosts = tables or HOSTS
        state = "present" if tables else "absent"
        predicted = chains(firewall, check_mode=True, tables=hosts, state=state)
        before = predicted["diff"][0]["before"]
        assert by_table(shown(firewall, before)) == by_table(before)
        after = chains(firewall, tables=hosts, state=state)["diff"][0]["after"]
        assert after == predicted["diff"][0]["after"]
        assert by_table(shown(firewall, after)) == by_table(after)
        header = firewall.command.split("-")[0] + "-save"
        assert predicted["diff"][0]["before_header"] in (header, firewall.command + "-save")


def test_families_are_independent(backend: str) -> None:
    tables = {"filter": {"chains": {"LB-X": ["-j DROP"]}, "jumps": {"INPUT": [jump("-j LB-X")]}}}
    chains(Firewall(backend, "ipv4"), tables=tables)
    assert Firewall(backend, "ipv6").save() == ""
    chains(Firewall(backend, "ipv6"), tables=tables)
    chains(Firewall(backend, "ipv4"), state="absent")
    assert "-A INPUT -j LB-X" in Firewall(backend, "ipv6").save()


def test_backends_are_independent_and_give_a_warning(backend: str) -> None:
    other = {"nft": "legacy", "legacy": "nft"}[backend]
    tables = {"filter": {"chains": {"LB-X": ["-j DROP"]}, "jumps": {"INPUT": [jump("-j LB-X")]}}}
    result = chains(Firewall(backend), tables=tables)
    assert result["backend"] == backend
    assert result["iptables"][0].startswith("iptables v")
    assert result["iptables"][0].endswith({"nft": "(nf_tables)", "legacy": "(legacy)"}[backend])
    assert "warnings" not in result
    Firewall(other)("-P FORWARD DROP")
    Firewall(other)("-A INPUT -j ACCEPT")
    result = chains(Firewall(backend), tables=tables)
    name = result["iptables"][0]
    assert result["warnings"] == [
        "%s was used, but the %s backend of this node holds 2 rules or policies too, and packets pass through both: "
        "see iptables-%s-save, and move them to one backend" % (name, other, other)
    ]
    assert not result["changed"]
    assert chains(Firewall(other), state="absent")["changed"] is False
    # Tables that hold nothing are no reason to warn.
    Firewall(other)("-F INPUT")
    Firewall(other)("-P FORWARD ACCEPT")
    assert "warnings" not in chains(Firewall(backend), tables=tables)


def test_auto_is_the_backend_of_the_command_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: dict[str, Any] = {"filter": {"chains": {"LB-X": []}}}
    for backend in BACKENDS:
        for suffix in ("", "-save", "-restore"):
            link = tmp_path / ("iptables" + suffix)
            link.unlink(missing_ok=True)
            link.symlink_to("/usr/sbin/iptables-%s%s" % (backend, suffix))
        monkeypatch.setenv("PATH", "%s:/usr/sbin:/usr/bin:/sbin:/bin" % tmp_path)
        result = module("iptables_chains", prefix="LB-", tables=tables)
        assert result["backend"] == backend
        assert "filter LB-X" in Firewall(backend).chains()
        assert module("iptables_chains", prefix="LB-", state="absent")["changed"]


def test_a_module_process_and_a_playbook_do_the_same(tmp_path: Path) -> None:
    """From outside, as Ansible runs it: in a namespace with a name, by the connection plugin."""
    name, backend = "hlbchains-%d" % os.getpid(), "nft"
    firewall = Firewall(backend)
    tables = {"nat": {"chains": {"LB-X": ["-j RETURN"]}, "jumps": {"OUTPUT": [jump("-j LB-X")]}}}
    variables = {"prefix": "LB-", "backend": backend, "tables": tables}
    result = finish_module(start_module("iptables_chains", **variables))
    assert result["changed"], result
    expected = firewall.save()
    play = {
        "hosts": name,
        "gather_facts": False,
        "tasks": [
            {"homelab.loadbalancer.iptables_chains": variables, "register": "first", "diff": True},
            {"homelab.loadbalancer.iptables_chains": variables, "register": "second"},
            {"ansible.builtin.assert": {"that": ["first is changed", "second is not changed"]}},
            {"ansible.builtin.command": "iptables-%s-save" % backend, "register": "saved", "changed_when": False},
            {"ansible.builtin.copy": {"dest": str(tmp_path / "saved"), "content": "{{ saved.stdout }}"}},
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    (tmp_path / "hosts.yml").write_text(
        json.dumps(
            {
                "all": {
                    "hosts": {name: {}},
                    "vars": {
                        "ansible_connection": "homelab.loadbalancer.netns",
                        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                    },
                }
            }
        )
    )
    run(["ip", "netns", "add", name])
    try:
        done = subprocess.run(
            ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")],
            cwd=Path(__file__).resolve().parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        run(["ip", "netns", "del", name])
    assert done.returncode == 0, done.stdout + done.stderr
    saved = [line for line in (tmp_path / "saved").read_text().splitlines() if not line.startswith("#")]
    assert saved == expected.splitlines()
