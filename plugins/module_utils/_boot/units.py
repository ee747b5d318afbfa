# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a declaration that a boot restores: two systemd units, addresses and kernel modules."""

from __future__ import annotations

from typing import NamedTuple, Sequence

from .._common.systemd import exec_start

UNITS = "/etc/systemd/system"
MODULES = "/etc/modules-load.d"
# The host's own declaration. Its jumps come before those of others.
HOST = "homelab-loadbalancer"
_HEADER = "# Managed by Ansible, module homelab.loadbalancer.boot_units\n"

_RULES = """\
[Unit]
Description=Rules, kernel parameters and addresses of the load balancer
DefaultDependencies=no
# Other firewalls flush when they start; the rules come after them, and before any interface is configured.
After=local-fs.target systemd-modules-load.service systemd-sysctl.service
After=nftables.service netfilter-persistent.service ufw.service firewalld.service
Wants=network-pre.target
Before=network-pre.target shutdown.target
%(before)sConflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
%(starts)s
[Install]
WantedBy=multi-user.target
"""
_ADDRESSES = """\
[Unit]
Description=Addresses and kernel parameters of the load balancer, once more after the network is configured
Documentation=man:ip-address(8)
# systemd-networkd and NetworkManager remove unknown addresses from a link when they configure it.
After=network-online.target %(name)s-rules.service
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
%(starts)s
[Install]
WantedBy=multi-user.target
"""


class Restored(NamedTuple):
    """What a boot restores.

    name -- the beginning of the names of the units
    path -- the folder of the files that the commands read
    commands -- values of ExecStart= that load the rules, in order
    addresses -- lines for `ip -batch`
    """

    name: str
    path: str
    kernel_modules: Sequence[str] = ()
    commands: Sequence[str] = ()
    addresses: Sequence[str] = ()

    @property
    def units(self) -> tuple[str, str]:
        return self.name + "-rules.service", self.name + "-addresses.service"

    @property
    def modules_file(self) -> str:
        return "%s/%s.conf" % (MODULES, self.name)

    def files(self) -> dict[str, str | None]:
        """The content of each file outside of the folder, and of the addresses in it. None stands for no file."""
        rules, addresses = ("%s/%s" % (UNITS, unit) for unit in self.units)
        return {
            self.path + "/addresses.batch": _lines(self.addresses),
            self.modules_file: _lines(self.kernel_modules) or None,
            rules: self._rules(),
            addresses: self._addresses(),
        }

    def _rules(self) -> str:
        # Each declaration puts its jumps first, so the host's own comes last.
        before = "" if self.name == HOST else "Before=%s-rules.service\n" % HOST
        starts = _starts(*self.commands, self._sysctls(), self._batch(may_fail=True))
        return _HEADER + _RULES % {"before": before, "starts": starts}

    def _addresses(self) -> str:
        # `ip` reports an existing link as an error.
        makes_link = any(line.startswith("link add") for line in self.addresses)
        # Kernel parameters of links that came after the rules.
        starts = _starts(self._batch(may_fail=makes_link), self._sysctls(may_fail=True))
        return _HEADER + _ADDRESSES % {"name": self.name, "starts": starts}

    def _batch(self, may_fail: bool) -> str:
        return exec_start(["ip", "-force", "-batch", self.path + "/addresses.batch"], may_fail)

    def _sysctls(self, may_fail: bool = False) -> str:
        return exec_start(["/lib/systemd/systemd-sysctl", self.path + "/sysctl.conf"], may_fail)


def _starts(*commands: str) -> str:
    return "".join("ExecStart=%s\n" % command for command in commands)


def _lines(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)
