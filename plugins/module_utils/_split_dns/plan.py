# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolver files that make a client send queries for one zone to the zone's servers.

Everything here is pure. `node.py` reads the client.

Sources: resolved.conf(5), systemd.dns-delegate(5), systemd-resolved.service(8) (how it chooses a server for a name),
dnsmasq(8), NetworkManager.conf(5), and resolver(5) of macOS.
"""

from __future__ import annotations

import posixpath
from typing import Any, Mapping, NamedTuple, Sequence

from .._common.errors import InputError
from .._common.printable import printable
from .._common.values import check_keys, parse_list, parse_number
from .._k8s.values import SUBDOMAIN
from .._services.model import parse_address

# The services that resolve names on Linux, in order of preference.
SERVICES = ("systemd-resolved", "dnsmasq", "NetworkManager")
RESOLVERS = (*SERVICES, "macos")
# The first line of all files of the role, by which it recognises them.
MARK = "# Managed by homelab.loadbalancer, role split_dns\n"

# The first versions of systemd with DNS delegates, and with ports of servers.
DELEGATES = 258
PORTS = 246


class Server(NamedTuple):
    """A server of the zone."""

    address: str
    family: str
    port: int


class Client(NamedTuple):
    """The resolvers of a client, and its configuration."""

    system: str
    systemd: int
    active: list[str]
    programs: list[str]
    servers: list[str]  # by scope, as resolvectl shows them
    domains: list[str]  # likewise
    manager_dns: str
    hosts: list[str]
    nameservers: list[str]
    files: list[str]
    ours: list[str]
    drop_ins: list[str]


class Plan(NamedTuple):
    """The files to write and to remove, and the services that read them."""

    resolver: str
    write: dict[str, str]  # contents by path
    remove: list[str]
    restart: dict[str, str]  # for each path, the service that reads it
    notes: list[str]


def parse_client(sections: Mapping[str, str]) -> Client:
    """A client from the output of its programs and the content of its files. A missing section counts as empty."""

    def lines(name: str) -> list[str]:
        return [line.strip() for line in sections.get(name, "").splitlines() if line.strip()]

    def words(name: str) -> list[str]:
        return sections.get(name, "").split()

    return Client(
        system="".join(lines("system")),
        systemd=int((words("systemd") or ["0"])[0]),
        active=words("active"),
        programs=[posixpath.basename(path) for path in words("programs")],
        servers=lines("servers"),
        domains=lines("domains"),
        manager_dns="".join(lines("network-manager")[-1:]),
        hosts=words("hosts"),
        nameservers=words("nameservers"),
        files=lines("files"),
        ours=lines("ours"),
        drop_ins=lines("drop-ins"),
    )


def plan(declared: Mapping[str, Any], client: Client) -> Plan:
    """The files to write and to remove on a client.

    declared -- zone, servers, resolver and state, and the prefix of their names in messages
    Raises InputError for a wrong value, and if the result would not work on this client.
    """
    prefix = declared["prefix"]
    zone = _zone(declared["zone"], prefix)
    standing = [path for path in client.ours if path in _paths(zone)]
    if declared["state"] == "absent":
        return Plan("", {}, standing, _readers(standing, zone, client), [])
    servers = _servers(declared["servers"], prefix + "servers")
    resolver = _resolver(declared["resolver"], prefix, client)
    write = _files(resolver, zone, servers, client, prefix)
    for path in write:
        if path in client.files and path not in client.ours:
            raise InputError("%s is there and is not of this role: move what it says elsewhere, or remove it" % path)
    stale = [path for path in standing if path not in write]
    return Plan(resolver, write, stale, _readers([*write, *stale], zone, client), _notes(resolver, zone, client))


def _zone(raw: Any, prefix: str) -> str:
    zone = str(raw).rstrip(".").lower()
    if not SUBDOMAIN.match(zone) or any(len(label) > 63 for label in zone.split(".")):
        raise InputError("%szone %s is not a domain: write it like k8s.local" % (prefix, raw))
    if zone == "local":
        raise InputError(
            "%szone local belongs to multicast DNS, by which hosts and printers find each other: "
            "take a domain below it, such as k8s.local" % prefix
        )
    return zone


def _servers(raw: Any, where: str) -> list[Server]:
    servers = []
    for index, entry in enumerate(parse_list(raw, where)):
        place = "%s[%d]" % (where, index)
        check_keys(entry, ("address", "port"), ("address",), place)
        address, family = parse_address(entry["address"], place + ".address")
        port = entry.get("port")
        servers.append(
            Server(address, family, 53 if port is None else parse_number(port, 1, 65535, place + ".port", "a port"))
        )
    if not servers:
        raise InputError(
            "%s is empty: name the servers of the zone, such as {address: 172.16.0.11, port: 30053}" % where
        )
    return servers


def _resolver(asked: str, prefix: str, client: Client) -> str:
    """The resolver to use: the declared one, or for `auto` one that runs on the client."""
    there = ["macos"] if client.system == "Darwin" else [name for name in SERVICES if name in client.active]
    if asked != "auto":
        if asked not in there:
            raise InputError(
                "%sresolver %s: it does not run here; %s" % (prefix, asked, _spoken(there) or "nor does any other")
            )
        return asked
    if not there:
        raise InputError(
            "no resolver runs here that can tell zones apart: install and start systemd-resolved or dnsmasq, and let "
            "/etc/resolv.conf name it"
        )
    if "NetworkManager" in there and client.manager_dns == "dnsmasq":
        return "NetworkManager"
    return there[0]


def _spoken(there: Sequence[str]) -> str:
    return "what runs is %s" % ", ".join(there) if there else ""


def _paths(zone: str) -> dict[str, str]:
    """The files that the role may make for a zone, and the resolver that reads each."""
    name = "homelab-loadbalancer-" + zone
    return {
        "/etc/systemd/resolved.conf.d/%s.conf" % name: "systemd-resolved",
        "/etc/systemd/dns-delegate.d/%s.dns-delegate" % name: "systemd-resolved",
        "/etc/dnsmasq.d/%s.conf" % name: "dnsmasq",
        "/etc/NetworkManager/conf.d/%s.conf" % name: "NetworkManager",
        "/etc/NetworkManager/dnsmasq.d/%s.conf" % name: "NetworkManager",
        "/etc/resolver/%s" % zone: "macos",
    }


def _readers(paths: Sequence[str], zone: str, client: Client) -> dict[str, str]:
    """For each path, the running service that reads it. macOS notices changed files by itself."""
    readers = _paths(zone)
    return {path: readers[path] for path in paths if readers[path] in client.active}


def _files(resolver: str, zone: str, servers: Sequence[Server], client: Client, prefix: str) -> dict[str, str]:
    make = {"systemd-resolved": _resolved, "dnsmasq": _dnsmasq, "NetworkManager": _manager, "macos": _macos}[resolver]
    paths = [path for path, reader in _paths(zone).items() if reader == resolver]
    return {path: MARK + content for path, content in zip(paths, make(zone, servers, client, prefix)) if content}


def _resolved(zone: str, servers: Sequence[Server], client: Client, prefix: str) -> list[str]:
    if client.systemd < PORTS and any(server.port != 53 for server in servers):
        raise InputError(
            "%sservers: systemd-resolved takes a port since %d, and this is %d: give the servers port 53"
            % (prefix, PORTS, client.systemd)
        )
    names = [_resolved_name(server) for server in servers]
    settings = "DNS=%s\nDomains=~%s\n" % (" ".join(names), zone)
    if client.systemd >= DELEGATES:
        return ["", "[Delegate]\n" + settings]
    path = next(iter(_paths(zone)))
    before = [word for line in client.drop_ins if line.startswith(path + ":") for word in line.split("=", 1)[1].split()]
    others = [server for server in _scopes(client.servers).get("Global", []) if server not in (*names, *before)]
    if others:
        # systemd-resolved treats all servers of the global scope as interchangeable.
        raise InputError(
            "systemd-resolved has %s as global servers, which would be asked for %s too, and this zone's servers for "
            "all other names: give them to a link instead, as DHCP does (`DNS=` of its .network file, or `nmcli "
            "connection modify NAME ipv4.dns`), and take them out of resolved.conf and /etc/resolv.conf"
            % (printable(", ".join(others)), zone)
        )
    return ["[Resolve]\n" + settings, ""]


def _resolved_name(server: Server) -> str:
    if server.port == 53:
        return server.address
    return ("[%s]:%d" if server.family == "ipv6" else "%s:%d") % (server.address, server.port)


def _dnsmasq(zone: str, servers: Sequence[Server], client: Client, prefix: str) -> list[str]:
    lines = ["server=/%s/%s#%d" % (zone, server.address, server.port) for server in servers]
    # With stop-dns-rebind, dnsmasq refuses answers with private addresses. Those of the zone are allowed.
    return ["\n".join([*lines, "rebind-domain-ok=/%s/" % zone, ""])]


def _manager(zone: str, servers: Sequence[Server], client: Client, prefix: str) -> list[str]:
    if "dnsmasq" not in client.programs:
        raise InputError(
            "NetworkManager tells zones apart by dnsmasq, which is missing: install it (Debian: dnsmasq-base)"
        )
    return ["[main]\ndns=dnsmasq\n", *_dnsmasq(zone, servers, client, prefix)]


def _macos(zone: str, servers: Sequence[Server], client: Client, prefix: str) -> list[str]:
    ports = {server.port for server in servers}
    if len(ports) > 1:
        raise InputError("%sservers have several ports: macOS takes one for all servers of a zone" % prefix)
    if len(servers) > 3:
        raise InputError("%sservers are %d: macOS takes three at most" % (prefix, len(servers)))
    return ["".join("nameserver %s\n" % server.address for server in servers) + "port %d\n" % ports.pop()]


def _scopes(lines: Sequence[str]) -> dict[str, list[str]]:
    """The output of resolvectl by scope, such as `Global: 192.168.1.1` and `Link 2 (eth0): 192.168.1.1`."""
    return {scope: words.split() for scope, dummy, words in (line.partition(": ") for line in lines)}


def _notes(resolver: str, zone: str, client: Client) -> list[str]:
    """Settings that may prevent correct lookups in the zone although they are not errors."""
    notes = []
    if resolver == "systemd-resolved" and client.systemd < DELEGATES:
        links = [scope for scope, domains in _scopes(client.domains).items() if "~." in domains]
        if not links:
            notes.append(
                "systemd-resolved before %d asks global servers for all names that no link claims, so %s's servers "
                "will see other names as well: have the link of your usual servers claim them, by `Domains=~.` in its "
                ".network file, or `nmcli connection modify NAME ipv4.dns-search '~.'`" % (DELEGATES, zone)
            )
    if resolver != "macos":
        notes += _switch_notes(resolver, zone, client)
    return notes


def _switch_notes(resolver: str, zone: str, client: Client) -> list[str]:
    """Notes on /etc/nsswitch.conf and /etc/resolv.conf, which determine the resolver that programs use."""
    notes = []
    asked = [name for name in client.hosts if name == "dns" or (resolver == "systemd-resolved" and name == "resolve")]
    before = client.hosts[: client.hosts.index(asked[0])] if asked else client.hosts
    multicast = [name for name in before if name.startswith("mdns")]
    if multicast and zone.endswith(".local"):
        notes.append(
            "/etc/nsswitch.conf has %s before %s: .local belongs to multicast DNS (RFC 6762), so names of %s may be "
            "asked there and not found: put it behind, or take a zone outside .local"
            % (printable(multicast[0]), asked[0] if asked else "dns", zone)
        )
    local = any(server.startswith("127.") or server == "::1" for server in client.nameservers[:1])
    # When its dnsmasq is enabled, NetworkManager writes /etc/resolv.conf itself.
    if resolver != "NetworkManager" and "resolve" not in asked and not local:
        notes.append(
            "/etc/resolv.conf does not name %s first, so programs do not ask it: have it name 127.0.0.1 (dnsmasq) or "
            "be a link to /run/systemd/resolve/stub-resolv.conf (systemd-resolved)" % resolver
        )
    return notes


def asking(resolver: str, name: str) -> list[str]:
    """The command that looks up a name as the client's programs do."""
    ask = ["dscacheutil", "-q", "host", "-a", "name"] if resolver == "macos" else ["getent", "ahosts"]
    return [*ask, name]


def not_found(name: str, made: Plan, servers: Sequence[Mapping[str, Any]]) -> str:
    """The error message if a name of the zone is not found."""
    return (
        "%s does not find %s by %s: see that %s can be reached from here and know the name. %s"
        % (
            asking(made.resolver, name)[0],
            name,
            made.resolver,
            ", ".join(str(server["address"]) for server in servers),
            ". ".join(made.notes),
        )
    ).rstrip()
