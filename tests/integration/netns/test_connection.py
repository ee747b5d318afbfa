# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection plugin netns: Ansible's ways of running and copying, inside of a real namespace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run

PLAYBOOK = """
- hosts: {name}
  gather_facts: false
  tasks:
    - name: A module, and what it sees of the network
      ansible.builtin.setup:
        gather_subset: ['!all', network]
    - name: Facts are those of the namespace, from its own /sys too
      ansible.builtin.assert:
        that:
          - ansible_facts.interfaces == ['lo', 'only0'] or ansible_facts.interfaces == ['only0', 'lo']
          - ansible_facts.only0.ipv4.address == '192.0.2.1'
          - ansible_facts.only0.mtu == 1400
    - name: A network sysctl of the namespace
      ansible.builtin.command: cat /proc/sys/net/ipv4/ip_default_ttl /sys/class/net/only0/mtu
      register: shown
      changed_when: false
    - ansible.builtin.assert: {{that: "shown.stdout_lines == ['77', '1400']"}}
    - name: A shell's quoting
      ansible.builtin.shell: |
        printf '%s\\n' "a  'b'" '$HOME "c"' | cat
      register: quoted
    - ansible.builtin.assert: {{that: "quoted.stdout_lines == [\\"a  'b'\\", '$HOME \\"c\\"']"}}
    - name: Without a module
      ansible.builtin.raw: ip -o link show only0 | wc -l
      register: raw
    - ansible.builtin.assert: {{that: "raw.stdout | trim == '1'"}}
    - name: A file to the namespace, which shares this machine's files
      ansible.builtin.copy: {{content: "hello\\n", dest: "{folder}/copied", mode: "0600"}}
    - name: A file back
      ansible.builtin.fetch: {{src: "{folder}/copied", dest: "{folder}/fetched", flat: true}}
    - name: In the background
      ansible.builtin.command: ip -br link show only0
      async: 60
      poll: 1
      register: background
    - ansible.builtin.assert: {{that: "'only0' in background.stdout"}}
    - name: As another user
      ansible.builtin.raw: id -un; ip -br link show only0
      become: true
      become_method: su
      become_user: nobody
      become_flags: -s /bin/sh
      register: other
    - ansible.builtin.assert: {{that: "other.stdout_lines[0] == 'nobody' and 'only0' in other.stdout_lines[1]"}}
    - name: For another host of the play
      ansible.builtin.command: ip -o link show only0
      delegate_to: by-variable
      register: delegated
    - ansible.builtin.assert: {{that: "'only0' in delegated.stdout"}}
"""


def playbook(root: Path, folder: Path, name: str, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "hosts").write_text(
        "[all]\n%s\nby-variable ansible_netns_prefix=%s ansible_netns_name=%s\n[all:vars]\n"
        "ansible_connection=homelab.loadbalancer.netns\nansible_python_interpreter={{ ansible_playbook_python }}\n"
        % (name, name[:2], name[2:])
    )
    (folder / "play.yml").write_text(text.format(name=name, folder=folder))
    return subprocess.run(
        ["ansible-playbook", "-i", str(folder / "hosts"), str(folder / "play.yml")],
        cwd=root,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_ASYNC_DIR": str(folder / "async"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def namespace() -> Iterator[str]:
    name = "nct%d" % os.getpid()
    run(["ip", "netns", "add", name])
    try:
        lines = "link add only0 mtu 1400 type bridge\naddress add 192.0.2.1/24 dev only0\nlink set only0 up\n"
        run(["ip", "-n", name, "-batch", "-"], stdin=lines)
        run(["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_default_ttl=77"])
        yield name
    finally:
        run(["ip", "netns", "del", name])


@pytest.mark.parametrize("pipelining", ["1", "0"])
def test_tasks_run_inside(root: Path, tmp_path: Path, namespace: str, pipelining: str) -> None:
    done = playbook(root, tmp_path, namespace, PLAYBOOK, ANSIBLE_PIPELINING=pipelining)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "fetched").read_text() == "hello\n"


def test_missing_namespace_makes_the_host_unreachable(root: Path, tmp_path: Path) -> None:
    done = playbook(root, tmp_path, "nct-none", "- hosts: {name}\n  gather_facts: false\n  tasks: [ping: ]\n")
    assert "UNREACHABLE" in done.stdout
    assert "network namespace 'nct-none' does not exist: create it with" in done.stdout
    assert done.returncode == 4
