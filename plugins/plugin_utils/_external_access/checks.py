# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates observations of a cluster's external access, from its API, its nodes and clients outside. Pure.

No single place sees everything. The API knows which node announces an address, a client sees which host answers for it,
and only the nodes know whether they reach each other.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, NamedTuple, Sequence

from .causes import Around, why_closed, why_lost, why_misplaced

Object = Dict[str, Any]

_OPEN_PORTS = "open 7946/tcp and 7946/udp on %s, for instance with the role firewalld_ports"
_SHARED = "look for the host with that MAC address, and give it or the Service another address"


class Check(NamedTuple):
    """The result of one check.

    kind -- speaker | memberlist | client | address | neighbor | http | tcp | udp | sctp | url
    place -- where it was observed: `API`, or a host of the inventory
    subject -- the checked thing, in words
    result -- proved | fault | unknown
    found -- the observation
    cause, remedy -- of a fault; empty if another check says it
    """

    kind: str
    place: str
    subject: str
    result: str
    found: str
    cause: str = ""
    remedy: str = ""


class Report(NamedTuple):
    """The observations of a host of the play; None for those that it did not report."""

    host: str
    place: str  # node | client
    answers: list[Object] | None  # of probe_ports, except those for URLs
    owners: list[Object] | None  # of probe_owners
    links: Mapping[str, str]  # the MAC addresses of its links
    urls: Sequence[Object] = ()  # answers of probe_ports, one for each URL
    networks: Sequence[str] | None = None  # of its links


_HOST = "the host"  # the subject if a host made no observations at all


class Known(NamedTuple):
    """Facts about the nodes, for judging a client's link."""

    macs: Mapping[str, str]  # the node, by MAC address
    complete: bool  # whether a MAC address of every node is known
    split: bool  # whether some speakers do not reach each other
    around: Around


def judge(cluster: Object, reports: Sequence[Report]) -> list[Check]:
    """All checks, the API's first."""
    nodes = [report for report in reports if report.place == "node"]
    clients = [report for report in reports if report.place == "client"]
    memberlist = list(_memberlist(cluster, nodes))
    # A host without observations is no evidence of a split.
    split = any(check.result == "fault" and check.subject != _HOST for check in memberlist)
    checks = [*_api(cluster), *memberlist]
    if not clients:
        checks.append(
            Check("client", "clients", "outside the cluster", "unknown", "no host of the group is in the play")
        )
    for client in clients:
        checks += _client(cluster, client, nodes, split)
    return checks


def _api(cluster: Object) -> Iterator[Check]:
    nodes = {node["name"]: node for node in cluster["nodes"]}
    for speaker in cluster["speakers"]:
        if speaker["trouble"]:
            node = nodes.get(speaker["node"]) or {"trouble": ""}
            cause = "MetalLB's speaker on %s does not run: %s" % (speaker["node"], speaker["trouble"])
            remedy = "look at `kubectl describe pod` of it in MetalLB's namespace"
            if node["trouble"]:
                cause, remedy = "%s, and announces no address" % node["trouble"], node["remedy"]
            found = "its node is NotReady" if node["trouble"] else speaker["trouble"]
            subject = "MetalLB's speaker on %s" % speaker["node"]
            yield Check("speaker", "API", subject, "fault", found, cause, remedy)
    for node in cluster["nodes"]:
        if node["excluded"] and cluster["metallb"]["installed"]:
            yield Check("speaker", "API", node["name"], "unknown", "announces no address: excluded by its label")
    if not cluster["services"]:
        yield Check("address", "API", "Services", "unknown", "none of the type LoadBalancer")
    for service in cluster["services"]:
        yield _address(service)


def _address(service: Object) -> Check:
    trouble = service["pending"] or service["unannounced"]
    addresses = ", ".join([*service["addresses"], *service["names"]]) or "pending"
    if service["aside"]:
        return Check("address", "API", service["name"], "unknown", "%s: %s" % (addresses, service["aside"]))
    if trouble:
        found = addresses if service["pending"] else "%s, not announced" % addresses
        return Check("address", "API", service["name"], "fault", found, trouble["cause"], trouble["remedy"])
    by = ", announced by %s" % ", ".join(service["announcers"]) if service["announcers"] else ""
    return Check("address", "API", service["name"], "proved", addresses + by)


def _memberlist(cluster: Object, nodes: Sequence[Report]) -> Iterator[Check]:
    """Whether the speakers' nodes reach each other: one check for each protocol, and one for each fault."""
    speakers = {one["address"]: one["node"] for one in cluster["speakers"] if one["address"]}
    names = {address: node["name"] for node in cluster["nodes"] for address in node["addresses"]}
    # A speaker always reaches itself.
    seen = [
        (names.get(answer["source"], report.host), answer)
        for report in nodes
        for answer in report.answers or []
        if answer["address"] in speakers and answer["source"] != answer["address"]
    ]
    yield from _missing(nodes)
    unseen = sorted(set(speakers.values()) - {node for node, dummy in seen})
    if len(speakers) > 1 and nodes and unseen:
        yield Check("memberlist", "nodes", ", ".join(unseen), "unknown", "not looked from there: not in the play")
    for protocol in ("tcp", "udp"):
        paths = [answer for dummy, answer in seen if answer["protocol"] == protocol]
        good = [answer for answer in paths if answer["state"] == "open" or (protocol, answer["state"]) == _QUIET]
        if paths:
            subject = "%s %d between speakers" % (protocol, paths[0]["port"])
            found = "%d of %d %s" % (len(good), len(paths), "open" if protocol == "tcp" else "not refused")
            result = "fault" if len(good) < len(paths) else "proved" if protocol == "tcp" else "unknown"
            yield Check("memberlist", "nodes", subject, result, found)
    yield from _closed(seen, speakers, around_of(cluster, nodes))


_QUIET = ("udp", "silent")  # UDP has no confirmation, so an open port may be silent too


def _closed(seen: Sequence[tuple[str, Object]], speakers: Mapping[str, str], around: Around) -> Iterator[Check]:
    """One fault for each closed port and way in which it is closed, with all hosts that cannot reach it."""
    closed: dict[tuple[str, int, str, str, str, str], list[str]] = {}
    for node, answer in seen:
        if answer["state"] != "open" and (answer["protocol"], answer["state"]) != _QUIET:
            if speakers[answer["address"]] in around.lost:
                continue  # the API's check of the speaker says it
            key = (answer["address"], answer["port"], answer["protocol"], answer["state"], answer["detail"])
            closed.setdefault((*key, answer.get("sender") or ""), []).append(node)
    for (address, port, protocol, state, detail, sender), sources in closed.items():
        node = "%s (%s)" % (speakers[address], address)
        causes = {
            "refused": "its speaker does not listen there, or a firewall of %s refuses" % node,
            "prohibited": "a firewall of %s does not let it in" % (node if sender in ("", address) else sender),
            "silent": "a firewall of %s, or one on the way, drops it" % node,
            "unreachable": "%s is down or cut off" % node,
        }
        remedy = "look at the network of %s" if state == "unreachable" else _OPEN_PORTS
        yield Check(
            "memberlist",
            ", ".join(sorted(sources)),
            "%s %d of %s" % (protocol, port, speakers[address]),
            "fault",
            detail,
            "%s, and speakers that do not hear each other may announce one address twice, and take over late"
            % causes[state],
            remedy % speakers[address],
        )


def _missing(reports: Sequence[Report]) -> Iterator[Check]:
    for report in reports:
        if report.answers is None:
            place = "client" if report.place == "client" else "memberlist"
            yield Check(
                place, report.host, _HOST, "fault", "nothing seen", "it could not be asked: see its failed task"
            )


def _client(cluster: Object, client: Report, nodes: Sequence[Report], split: bool) -> Iterator[Check]:
    """The checks of each Service from a client outside."""
    if client.answers is None:
        yield from _missing([client])
        return
    own = node_of(cluster, client)
    if own:
        found = "is the node %s: proves nothing about outside" % own
        yield Check("client", client.host, "outside the cluster", "unknown", found)
        return
    owners = {one["address"]: one for one in client.owners or []}
    known = _known(cluster, owners, nodes, split)
    for service in cluster["services"]:
        for address in [] if service["aside"] else service["addresses"]:
            neighbor = _neighbor(service, owners.get(address), client.host, known)
            if neighbor:
                yield neighbor
            told = bool(service["unannounced"] or (neighbor and neighbor.result == "fault"))
            yield from _ports(service, address, client, told, known.around)


def node_of(cluster: Object, client: Report) -> str:
    """The name of the node if the client is one, found by its source addresses; empty for a client outside."""
    inside = {address: node["name"] for node in cluster["nodes"] for address in node["addresses"]}
    sources = {one["source"] for one in [*(client.answers or []), *(client.owners or []), *client.urls]}
    return min((inside[source] for source in sources & set(inside)), default="")


def _known(cluster: Object, owners: Mapping[str, Object], nodes: Sequence[Report], split: bool) -> Known:
    """The nodes' MAC addresses, from the nodes' reports and from the ARP and NDP answers for the nodes' addresses."""
    names = {address: node["name"] for node in cluster["nodes"] for address in node["addresses"]}
    found: dict[str, str] = {}
    for report in nodes:
        name = next((names[one["source"]] for one in report.answers or [] if one["source"] in names), report.host)
        found.update(dict.fromkeys(report.links.values(), name))
    for address, name in names.items():
        for mac in (owners.get(address) or {}).get("macs") or []:
            found.setdefault(mac, name)
    around = around_of(cluster, nodes)
    return Known(found, len(set(found.values())) >= len(cluster["nodes"]), split, around)


def around_of(cluster: Object, nodes: Sequence[Report]) -> Around:
    """Facts about the nodes, from the API and from the nodes' own reports."""
    reported = [report.networks for report in nodes if report.networks]
    return Around(
        {address: node["name"] for node in cluster["nodes"] for address in node["addresses"]},
        {node["name"]: (node["trouble"], node["remedy"]) for node in cluster["nodes"] if node["trouble"]},
        sorted({one for networks in reported for one in networks}) if len(reported) >= len(cluster["nodes"]) else [],
    )


def _neighbor(service: Object, seen: Object | None, host: str, known: Known) -> Check | None:
    """Whether exactly one host answers for an address, and whether it is a node."""
    if seen is None:
        return None
    subject = "%s by %s" % (seen["address"], "NDP" if ":" in seen["address"] else "ARP")
    if seen["macs"] is None:
        return Check("neighbor", host, subject, "unknown", "not asked: %s" % seen["reason"])
    named = ["%s (%s)" % (mac, known.macs.get(mac, "no node known")) for mac in seen["macs"]]
    found = ", ".join(named) or "nobody answers"
    strangers = [mac for mac in seen["macs"] if mac not in known.macs]
    if len(named) == 1 and not strangers:
        otherwise = _otherwise(service["announcers"], known.macs[seen["macs"][0]])
        return Check("neighbor", host, subject, "proved", "one MAC: %s%s" % (found, otherwise))
    if len(named) == 1 and not known.complete:
        return Check("neighbor", host, subject, "unknown", "one MAC: %s" % found)
    if not named:
        cause, remedy = _why_nobody(service, seen["address"], known.around)
    elif strangers:
        cause = "%s is answered for by %s, which is no node" % (seen["address"], " and ".join(strangers))
        if not known.complete:
            cause += " whose MAC address is known, as those of all nodes are not"
        remedy = _SHARED
    else:
        cause, remedy = _why_several(seen["address"], [known.macs[mac] for mac in seen["macs"]], known.split)
    return Check("neighbor", host, subject, "fault", found, cause, remedy)


def _otherwise(announcers: Sequence[str], node: str) -> str:
    """An addition to the text if a different node answers than the one that the API names.

    MetalLB's speakers share one status of a Service, and each deletes only the one with its own name. So the status may
    still name the previous node after a handover (MetalLB's internal/k8s/controllers/layer2_status_controller.go).
    """
    if not announcers or node in announcers:
        return ""
    return ", and not %s, which MetalLB's status still names" % ", ".join(announcers)


def _why_nobody(service: Object, address: str, around: Around) -> tuple[str, str]:
    if service["unannounced"]:
        return "", ""  # the API's check says it
    elsewhere = why_misplaced(service, address, around) or why_lost(service, around)
    if elsewhere:
        return elsewhere
    if service["protocols"] == ["bgp"]:
        return (
            "it is advertised by BGP alone, and is on the client's own link",
            "take a pool outside of the client's network, or add an L2Advertisement: role metallb_pool",
        )
    return (
        "%s, but no answer comes"
        % ("%s announces it" % ", ".join(service["announcers"]) if service["announcers"] else "it is given out"),
        "see that the client is on the nodes' link, that an L2Advertisement lets this link's interface, and that no "
        "switch or hypervisor filters foreign addresses; then the speakers' log: kubectl logs",
    )


def _why_several(address: str, nodes: Sequence[str], split: bool) -> tuple[str, str]:
    cause = "%s is answered for by several nodes at once: %s" % (address, ", ".join(nodes))
    if split:
        return cause + ", whose speakers do not hear each other", "open the ports that are named above"
    # MetalLB's internal/speakerlist looks for new members every five minutes, and asks them to join every minute.
    return (
        cause,
        "speakers for which 7946 was opened just now find each other within six minutes, or at once by kubectl rollout "
        "restart daemonset speaker; with kube-proxy in ipvs mode set strictARP (the role metallb does); else take the "
        "address off the nodes' own links",
    )


def _ports(service: Object, address: str, client: Report, told: bool, around: Around) -> Iterator[Check]:
    """The checks of a Service's ports.

    told -- whether an earlier check has already said why the address does not work
    """
    answers = {(one["address"], one["port"], one["protocol"]): one for one in client.answers or []}
    for port in service["ports"]:
        shown = "[%s]" % address if ":" in address else address
        subject = "%s %s:%d" % (port["protocol"], shown, port["port"])
        answer = answers.get((address, port["port"], port["protocol"]))
        if answer is None:
            found = "not asked: only its clients know what to ask"
            yield Check(port["protocol"], client.host, subject, "unknown", found)
            continue
        good = answer["state"] == "open" and (
            port["protocol"] == "tcp" or (answer["status"] is not None and answer["status"] < 500)
        )
        found = "%s, %g ms" % (answer["detail"], answer["milliseconds"]) if good else answer["detail"]
        cause, remedy = ("", "") if good or told else why_closed(service, answer, around)
        yield Check(port["protocol"], client.host, subject, "proved" if good else "fault", found, cause, remedy)


def sentence(check: Check) -> str:
    """A check in one sentence: place, subject, observation, cause and remedy."""
    seen = "%s, %s: %s" % (check.place, check.subject, check.found)
    return ": ".join(filter(None, ["; ".join(filter(None, [seen, check.cause])), check.remedy]))
