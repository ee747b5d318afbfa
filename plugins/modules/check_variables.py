#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name implements it.

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Refuse misspelt variables of a role
version_added: 0.2.0
description:
  - Fails if the name of a variable of the host begins like the variables of the role, but no role of this collection
    has such a variable. The message suggests the most similar name. Every role of this collection runs this check
    before it changes anything.
  - For example, C(lb_service) instead of C(lb_services) is an error, and not a declaration without services.
  - Also fails on values that Ansible accepts for an option but that have another meaning for a role, such as an empty
    string for a list, C(y) for a boolean, or a negative number of seconds.
  - If your own variables have such a prefix, list them in C(homelab_loadbalancer_own_variables), by name or with a
    pattern such as C(app_version_*).
  - It runs on the control node, and needs no connection to the host.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  role:
    description: The role whose variables are checked. Inside a role, the default is that role.
    type: str
"""

EXAMPLES = r"""
- name: Check the inventory for misspelt variables
  hosts: routers
  gather_facts: false
  vars:
    homelab_loadbalancer_own_variables: [lb_owner]
  tasks:
    - name: Check the variables of iptables_lb
      homelab.loadbalancer.check_variables:
        role: iptables_lb
"""

RETURN = r""" # """
