# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a lab of user-mode Linux nodes, and the files and command lines derived from it. Pure.

A node's kernel is a process in a network namespace that is named after the node. The kernel's own links are attached
to the links of that namespace, which have no addresses. So the wiring is a lab of network namespaces (see
_netns/model.py) with one more host, `admin`, from which SSH reaches the nodes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from typing import Any, Mapping, NamedTuple

from .._common.errors import InputError
from .._common.systemd import word
from .._netns import server as netns_server
from .._netns.model import Host, Lab, Link, Server, integer, parse_lab

ADMIN = "admin"
# SSH listens on this link.
MANAGEMENT = "mgmt"
MEMORY = 256
# Keep the namespace's own kernel out: the packets are for the node.
CABLE_SYSCTLS = (("net.ipv6.conf.all.disable_ipv6", "1"), ("net.ipv6.conf.default.disable_ipv6", "1"))
# The value is part of the kernel's command line, where some characters are separators.
PATH = re.compile(r"(/[A-Za-z0-9_.@+-]+)+")
KERNEL = "linux.uml"


class Node(NamedTuple):
    """A virtual machine. `memory` is in MiB."""

    host: Host
    memory: int
    servers: tuple[Server, ...]

    @property
    def name(self) -> str:
        """Its host name, and the last part of its namespace's name."""
        return self.host.name

    @property
    def address(self) -> str:
        """The address that SSH uses."""
        return _management(self.host).addresses[0].partition("/")[0]


class Nodes(NamedTuple):
    """The whole declaration.

    folder -- the lab's folder on this machine's disk
    image -- the disk that all nodes start from
    wires -- the network namespaces of the kernels, and the one that SSH connects from
    """

    name: str
    folder: str
    image: str
    nodes: tuple[Node, ...]
    wires: Lab

    @property
    def ssh_config(self) -> str:
        """The configuration file for `ssh -F`."""
        return self.folder + "/ssh_config"


def _management(host: Host) -> Link:
    return next(link for link in host.links if link.name == MANAGEMENT)


def parse_nodes(name: Any, folder: str, image: str, hosts: Any, servers: Any, *, prefix: str = "") -> Nodes:
    """Turn the declaration into Nodes.

    prefix -- of the variables' names in messages: `node_lab_` for `node_lab_hosts[1]`
    """
    for at, path in (("folder", folder), ("image", image)):
        if path and (not PATH.fullmatch(path) or os.path.normpath(path) != path):
            raise InputError(
                "%s%s %s is not an absolute path of letters, digits and the characters _.@+- only: choose another"
                % (prefix, at, path)
            )
    lab = parse_lab(name, hosts, servers, prefix, extra=("memory",))
    memory = [
        integer(entry["memory"], "%shosts[%d].memory" % (prefix, index), 96, 65536)
        if entry.get("memory") is not None
        else MEMORY
        for index, entry in enumerate(hosts or [])
    ]
    _check(lab.hosts, prefix)
    nodes = tuple(
        Node(host, size, tuple(server for server in lab.servers if server.host == host.name))
        for host, size in zip(lab.hosts, memory)
    )
    cables = [
        host._replace(links=tuple(link._replace(addresses=()) for link in host.links), routes=(), sysctls=CABLE_SYSCTLS)
        for host in lab.hosts
    ]
    admin = [_admin(lab.hosts, prefix)] if nodes else []
    return Nodes(lab.name, folder, image, nodes, Lab(lab.name, (*admin, *cables), ()))


def _check(hosts: tuple[Host, ...], prefix: str) -> None:
    network = ""
    for index, host in enumerate(hosts):
        at = "%shosts[%d]" % (prefix, index)
        if host.name == ADMIN:
            raise InputError("%s.name %s is where SSH to the nodes comes from: choose another name" % (at, ADMIN))
        found = [link for link in host.links if link.name == MANAGEMENT and link.addresses]
        if not found:
            raise InputError(
                "%s.links has no link %s with an address, on which SSH answers: declare one as "
                "{name: %s, vlan: 1, addresses: [172.31.0.11/24]}" % (at, MANAGEMENT, MANAGEMENT)
            )
        own = "VLAN %d, %s" % (found[0].vlan, ipaddress.ip_interface(found[0].addresses[0]).network)
        network = network or own
        if own != network:
            raise InputError(
                "%s: the link %s is in the network %s, but that of %s in %s: SSH reaches one network only"
                % (at, MANAGEMENT, own, hosts[0].name, network)
            )


def _admin(hosts: tuple[Host, ...], prefix: str) -> Host:
    """The host that SSH connects from: it has the last free address of the management network."""
    link = _management(hosts[0])
    network = ipaddress.ip_interface(link.addresses[0]).network
    taken = {address.partition("/")[0] for host in hosts for link in host.links for address in link.addresses}
    for number in range(2, min(network.num_addresses, 2 + 256)):
        if str(network[-number]) not in taken:
            address = "%s/%d" % (network[-number], network.prefixlen)
            return Host(ADMIN, (link._replace(addresses=(address,)),), (), ())
    raise InputError("%shosts: no address of %s is left for SSH to come from: widen it" % (prefix, network))


def files_of(node: Node, lab: Nodes) -> dict[str, str]:
    """The files that a node copies at each boot, except its keys, by their path in the node."""
    files = {
        "etc/hostname": node.name + "\n",
        "etc/hosts": _hosts(lab.nodes, node),
        "run/sysctl.d/90-node.conf": "".join("%s = %s\n" % entry for entry in node.host.sysctls),
    }
    for link in node.host.links:
        files["run/systemd/network/10-%s.link" % link.name] = "[Match]\nMACAddress=%s\n\n[Link]\nName=%s\n" % (
            mac_of(node.name, link.name),
            link.name,
        )
        files["run/systemd/network/10-%s.network" % link.name] = _network(node.host, link)
    units = []
    for server in node.servers:
        units.append("node-server-%s-%d.service" % (server.protocol, server.port))
        files["run/systemd/system/" + units[-1]] = _unit(server, lab.name)
    if units:
        # These commands run before anyone can log in.
        files["run/systemd/system/ssh.service.d/node.conf"] = "[Unit]\nWants=%s\nAfter=%s\n" % (
            " ".join(units),
            " ".join(units),
        )
    return files


def _hosts(nodes: tuple[Node, ...], own: Node) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost", "127.0.1.1 %s" % own.name]
    lines += ["%s %s" % (node.address, node.name) for node in nodes if node is not own]
    return "".join(line + "\n" for line in lines)


def _network(host: Host, link: Link) -> str:
    lines = ["[Match]", "Name=%s" % link.name, "", "[Link]", "MTUBytes=%d" % link.mtu, ""]
    lines += ["[Network]", "IPv6AcceptRA=no", "ConfigureWithoutCarrier=yes"]
    for address in link.addresses:
        # Addresses are unique in the lab, so duplicate address detection is not needed.
        lines += ["", "[Address]", "Address=%s" % address, "DuplicateAddressDetection=none"]
    for route in host.routes:
        if route.dev == link.name:
            target = {4: "0.0.0.0/0", 6: "::/0"}[route.family] if route.to == "default" else route.to
            lines += ["", "[Route]", "Destination=%s" % target, "Gateway=%s" % route.via]
    return "\n".join(lines) + "\n"


def _unit(server: Server, lab: str) -> str:
    arguments = [netns_server.MARK, lab, server.protocol, str(server.port), word(server.text)]
    return (
        "[Service]\nType=forking\nRestart=on-failure\nExecStart=/usr/bin/python3 -I -S /run/node/server.py %s\n"
        % " ".join(arguments)
    )


def mac_of(node: str, link: str) -> str:
    """A hardware address that is the same every time, and marked as locally administered (IEEE 802)."""
    return "02:" + ":".join(re.findall("..", hashlib.sha256(("%s %s" % (node, link)).encode()).hexdigest()[:10]))


def command_of(node: Node, lab: Nodes, files: Mapping[str, str]) -> tuple[str, ...]:
    """The kernel's command line. It contains a hash of the node's files, so that a changed file changes it."""
    own = "%s/%s" % (lab.folder, node.name)
    known = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    return (
        KERNEL,
        # Keep the clock ticking in idle: otherwise a disk answer that arrives as the kernel goes idle waits for the
        # next tick.
        *("mem=%dM" % node.memory, "nohz=off"),
        *("root=/dev/ubda", "rw", "ubd0=%s,%s" % (disk_of(node.name, lab), lab.image)),
        *(
            "vec%d:transport=raw,ifname=%s,mac=%s,depth=128,gro=1" % (at, link.name, mac_of(node.name, link.name))
            for at, link in enumerate(node.host.links)
        ),
        # Its console goes to standard error, which is redirected to a file.
        *("con0=null,fd:2", "con=null", "ssl=null"),
        *("umid=" + node.name, "uml_dir=%s/uml/" % own),
        # Parameters that the kernel does not know become the environment of init.
        *("init=/usr/local/sbin/node-init", "NODE_FILES=%s/files" % own, "NODE_DECLARATION=" + known),
    )


def disk_of(node: str, lab: Nodes) -> str:
    """A node's copy-on-write file. It fits only one image, so its name contains the image's."""
    return "%s/%s/%s.cow" % (lab.folder, node, os.path.basename(lab.image))


def ssh_config(lab: Nodes) -> str:
    """The SSH configuration that logs in by `ssh -F FILE NODE`."""
    lines = []
    for node in lab.nodes:
        lines += ["Host %s" % node.name, "    HostName %s" % node.address]
    lines += [
        "Host *",
        "    User root",
        "    ProxyCommand ip netns exec %s nc %%h %%p" % lab.wires.namespace(ADMIN),
        "    IdentityFile %s/id_ed25519" % lab.folder,
        "    IdentitiesOnly yes",
        "    UserKnownHostsFile %s/known_hosts" % lab.folder,
        "    StrictHostKeyChecking yes",
        "    ControlMaster auto",
        "    ControlPath %s/ssh-%%C" % lab.folder,
        "    ControlPersist 60s",
        # A killed node does not close its connections.
        "    ConnectTimeout 10",
        "    ServerAliveInterval 5",
        "    ServerAliveCountMax 3",
    ]
    return "".join(line + "\n" for line in lines)
