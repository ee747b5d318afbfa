# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systems that `make compat` runs the collection on."""

from __future__ import annotations

# Managed nodes: the names of releases, and of the systems.
NODES = {"bullseye": "Debian 11", "bookworm": "Debian 12", "trixie": "Debian 13", "sid": "Debian sid"}
# Control nodes: the release whose Python runs Ansible, and ansible-core.
CONTROL = (
    ("bookworm", "2.17"),
    ("bookworm", "2.18"),
    ("bookworm", "2.19"),
    ("trixie", "2.20"),
    ("trixie", "2.21"),
)
# The release that `make demo` runs on, with its own Python and the pinned packages of requirements/.
DEMO = "trixie"
# The scenarios of molecule that run on every node with systemd.
SCENARIOS = ("iptables_lb", "firewalld_ports", "vip_failover")
# The roles that carry services in a container, each with its playbook.
DATA_PLANES = ("iptables_lb", "nftables_lb")
