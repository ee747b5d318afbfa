# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: podman
short_description: Run tasks in a podman container of the control node, with pipelining
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Runs modules and commands in a running container, by C(podman exec).
  - Unlike C(containers.podman.podman), it supports pipelining, which runs a module with one call of podman instead of
    seven. Files are copied through the container, so that they also reach its mounts.
  - Tasks run as the user of the container.
requirements:
  - The package podman on the control node. The container must belong to the user that runs Ansible.
options:
  container:
    description: Name or ID of the container.
    type: string
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: ansible_podman_container
  become_success_timeout:
    description:
      - Seconds to wait for become to succeed.
    type: int
    default: 10
    vars:
      - name: ansible_podman_become_success_timeout
  become_strip_preamble:
    description:
      - Whether to strip the output of become that precedes the command's output.
    type: bool
    default: true
    vars:
      - name: ansible_podman_become_strip_preamble
extends_documentation_fragment:
  - connection_pipelining
"""

EXAMPLES = r"""
# Inventory: the host worker1 is the container cluster-worker1.
lab:
  hosts:
    worker1:
      ansible_connection: homelab.loadbalancer.podman
      ansible_host: cluster-worker1
      ansible_python_interpreter: /usr/bin/python3
"""

import re
import shlex
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.connection.local import Connection as LocalConnection

# Safe as an argument of `podman exec`: never an option.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# podman-exec(1): 125 is an error of podman itself; 255 means that the container does not run.
PODMAN_FAILED = (125, 255)


class Connection(LocalConnection):  # type: ignore[misc] # ansible-core carries no types
    """The local connection, except that commands run in the container."""

    transport = "homelab.loadbalancer.podman"
    has_pipelining = True

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a shell command in the container; return its exit code, output and error output."""
        name = self.get_option("container")
        if not NAME.fullmatch(name):
            raise AnsibleConnectionFailure("%r is not the name of a container: set ansible_host to one" % name)
        # The local connection's shell runs outside; a second shell inside runs the unchanged command.
        argv = ["podman", "exec", "--interactive", name, "/bin/sh", "-c", cmd]
        result: Any = super().exec_command(shlex.join(argv), in_data=in_data, sudoable=sudoable)
        rc, dummy, error = result
        if rc in PODMAN_FAILED and error.startswith(b"Error: "):
            raise AnsibleConnectionFailure(
                "container %r cannot be used: %s" % (name, error.decode(errors="replace").strip()[7:])
            )
        return result  # type: ignore[no-any-return]

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file into the container."""
        self._copy("cat > %s" % shlex.quote(out_path), out_path, Path(in_path).read_bytes())

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file out of the container."""
        Path(out_path).write_bytes(self._copy("cat %s" % shlex.quote(in_path), in_path))

    def _copy(self, cmd: str, path: str, data: bytes | None = None) -> bytes:
        rc, output, error = self.exec_command(cmd, in_data=data, sudoable=False)
        if rc != 0:
            raise AnsibleError("%s cannot be copied: %s" % (path, error.decode(errors="replace").strip()))
        return output
