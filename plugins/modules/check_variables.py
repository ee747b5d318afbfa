#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Refuse misspelt variables of a role
version_added: 0.1.0
description:
  - Fails when a variable of the host begins as the variables of a role of this collection do, and is none of them. The
    message names the closest one that is. Every role of this collection does so first, before it changes anything.
  - So C(lb_service) for C(lb_services) is an error, and not a declaration without services.
  - Fails also for what Ansible takes as a value of an option, and what would mean something else to a role, such as an
    empty text for a list, C(y) for a boolean, or a negative number of seconds.
  - Variables of your own that begin so go into the list C(homelab_loadbalancer_own_variables), by name or by a pattern
    such as C(app_version_*).
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
    description: The role whose variables are looked at. In a role, it is that role.
    type: str
"""

EXAMPLES = r"""
- name: See early that the inventory has no misspelt variable
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
