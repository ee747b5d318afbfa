# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a declaration that a boot restores: two systemd units, addresses and kernel modules."""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional, Sequence, Union

from .._common.systemd import exec_start

UNITS = "/etc/systemd/system"
MODULES = "/etc/modules-load.d"
# The host's own declaration. Its jumps come before those of others.
HOST = "homelab-loadbalancer"
# Paths and contents. None stands for no file.
Contents = Dict[str, Optional[Union[str, bytes]]]
_HEADER = "# Managed by Ansible, collection homelab.loadbalancer\n"

_RULES = """\
[Unit]
Description=Rules, kernel parameters and addresses of the load balancer
DefaultDependencies=no
# Other firewalls flush when they start; the rules come after them, and before any interface is configured.
After=local-fs.target systemd-modules-load.service systemd-sysctl.service
After=nftables.service netfilter-persistent.service ufw.service firewalld.service
# When one of them is restarted, the rules are loaded again.
PartOf=nftables.service netfilter-persistent.service ufw.service firewalld.service
Wants=network-pre.target
Before=network-pre.target shutdown.target
%(before)sConflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
%(starts)s
[Install]
WantedBy=multi-user.target nftables.service netfilter-persistent.service ufw.service firewalld.service
"""
_ADDRESSES = """\
[Unit]
Description=Addresses and kernel parameters of the load balancer, once more after the network is configured
Documentation=man:ip-address(8)
# These remove unknown addresses from a link when they configure it, also when they are restarted.
After=network-online.target %(name)s-rules.service
After=networking.service systemd-networkd.service NetworkManager.service
PartOf=networking.service systemd-networkd.service NetworkManager.service
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
%(starts)s
[Install]
WantedBy=multi-user.target networking.service systemd-networkd.service NetworkManager.service
"""


class Restored(NamedTuple):
    """What a boot restores.

    name -- the beginning of the names of the units
    path -- the folder of the files that the commands read
    commands -- values of ExecStart= that load the rules, in order
    addresses -- lines for `ip -batch`
    sysctls -- kernel parameters, as sysctl.d(5) has them
    rules -- paths and contents of the files for the commands; None if they are not ours to write
    """

    name: str
    path: str
    kernel_modules: Sequence[str] = ()
    commands: Sequence[str] = ()
    addresses: Sequence[str] = ()
    sysctls: str = ""
    rules: Mapping[str, str | bytes] | None = None

    @property
    def units(self) -> tuple[str, str]:
        return self.name + "-rules.service", self.name + "-addresses.service"

    @property
    def modules_file(self) -> str:
        return "%s/%s.conf" % (MODULES, self.name)

    @property
    def batch_file(self) -> str:
        return self.path + "/addresses.batch"

    def protecting(self) -> Contents:
        """The files that a boot needs for everything but the addresses. None stands for no file."""
        return {
            **(self.rules or {}),
            self._sysctls_file: self.sysctls or None,
            self.modules_file: _lines(self.kernel_modules) or None,
            "%s/%s" % (UNITS, self.units[0]): self._rules_unit(),
        }

    def serving(self) -> Contents:
        """The files for the addresses."""
        return {self.batch_file: _lines(self.addresses), "%s/%s" % (UNITS, self.units[1]): self._addresses_unit()}

    @property
    def _sysctls_file(self) -> str:
        return self.path + "/sysctl.conf"

    def _rules_unit(self) -> str:
        # Each declaration puts its jumps first, so the host's own comes last.
        before = "" if self.name == HOST else "Before=%s-rules.service\n" % HOST
        starts = _starts(*self.commands, *self._load_sysctls(), self._add_addresses(may_fail=True))
        return _HEADER + _RULES % {"before": before, "starts": starts}

    def _addresses_unit(self) -> str:
        # `ip` reports an existing link as an error.
        makes_link = any(line.startswith("link add") for line in self.addresses)
        # Kernel parameters of links that came after the rules.
        starts = _starts(self._add_addresses(may_fail=makes_link), *self._load_sysctls(may_fail=True))
        return _HEADER + _ADDRESSES % {"name": self.name, "starts": starts}

    def _add_addresses(self, may_fail: bool) -> str:
        return exec_start(["ip", "-force", "-batch", self.batch_file], may_fail)

    def _load_sysctls(self, may_fail: bool = False) -> list[str]:
        command = ["/lib/systemd/systemd-sysctl", self._sysctls_file]
        return [exec_start(command, may_fail)] if self.sysctls else []


def _starts(*commands: str) -> str:
    return "".join("ExecStart=%s\n" % command for command in commands)


def _lines(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)
