#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctls
short_description: Kernel parameters of the running node
version_added: 0.2.0
description:
  - Sets kernel parameters in the network namespace of the task, and stores them in a file only with O(save_to). The
    module M(ansible.posix.sysctl) always writes a file of the machine, even if the task runs in a network namespace.
  - Sets all values or none. If the kernel refuses one, the earlier ones are restored.
  - Some parameters change others. For example, C(net.ipv4.ip_forward) sets the forwarding of every link. The module
    writes changed values again until all of O(values) are in effect. If that is impossible, it restores all values.
  - Values are compared in the kernel's spelling. C(0x40) equals C(64), and C(9000,8080) equals C(8080,9000).
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  values:
    description:
      - The value of each parameter, with names as in C(sysctl(8\)).
    type: dict
    required: true
  save_to:
    description:
      - A file on the node that stores the values for C(sysctl -p) or systemd-sysctl. Its folder must exist. The module
        writes the file if it differs. Parameters that change others come first.
    type: path
seealso:
  - module: ansible.posix.sysctl
"""

EXAMPLES = r"""
- name: Forward packets
  homelab.loadbalancer.sysctls:
    values:
      net.ipv4.ip_forward: 1
      net.ipv6.conf.all.forwarding: 1
"""

RETURN = r"""
before:
  description: The values of the parameters before the task.
  returned: success
  type: dict
  sample: {net.ipv4.ip_forward: '0'}
"""

from ..module_utils._common import files
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import NodeModule
from ..module_utils._sysctls.run import Change


def main() -> None:
    module = NodeModule(
        argument_spec={
            "values": {"type": "dict", "required": True},
            "save_to": {"type": "path"},
        },
    )
    path = module.params["save_to"]
    result = {}
    try:
        change = Change(module.params["values"])
        kept = [files.edit(path, change.text)] if path else []
        if not module.check_mode:
            change.apply()
            try:
                for file in kept:
                    file.write()
            except OSError:
                change.undo()
                raise
        result = {"changed": change.changed or any(file.changed for file in kept), "before": change.have}
        if module._diff:
            result["diff"] = files.with_files(change.diff(), kept)
    except (InputError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
