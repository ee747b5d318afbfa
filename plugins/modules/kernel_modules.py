#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_modules
short_description: Load kernel modules
version_added: 0.2.0
description:
  - Loads modules of the running kernel with C(modprobe), all of them by one task. Modules that are loaded or built into
    the kernel stay as they are.
  - Loads nothing if the kernel lacks one of the modules.
  - A reboot unloads them. M(homelab.loadbalancer.boot_units) loads modules at boot.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - modprobe on the node
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
  names:
    description: The modules, such as C(ip_vs).
    type: list
    elements: str
    required: true
seealso:
  - module: homelab.loadbalancer.boot_units
"""

EXAMPLES = r"""
- name: Load IPVS with the scheduler wrr
  homelab.loadbalancer.kernel_modules:
    names: [ip_vs, ip_vs_wrr]
"""

RETURN = r"""
loaded:
  description: The modules that the task loaded, or would load in check mode. It includes dependencies.
  returned: success
  type: list
  elements: str
  sample: [ip_vs, ip_vs_wrr]
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.module import NodeModule
from ..module_utils._kernel_modules import node


def main() -> None:
    module = NodeModule(argument_spec={"names": {"type": "list", "elements": "str", "required": True}})
    names = module.params["names"]
    result = {}
    try:
        missing = node.missing(names)
        result = {"changed": bool(missing), "loaded": missing}
        if missing and not module.check_mode:
            node.load(names)
    except CommandError as error:
        module.fail_json(msg="kernel modules cannot be loaded: %s" % error)
    if module._diff:
        result["diff"] = {"before": "", "after": "".join(name + "\n" for name in missing)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
