# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes for the tests of iptables: network namespaces without a name, and what an onlooker sees in them.

A namespace without a name ends with the last process in it: nothing is left behind, whatever happens to a test.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Protocol, Sequence, TypeVar
from unittest import mock

from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.network import CLONE_NEWNET, enter
from ansible_collections.homelab.loadbalancer.tests.unit.project.returned_values import documented

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTIONS = {"PYTHONPATH": str(REPOSITORY / ".collections")}
MODULES = "ansible_collections.homelab.loadbalancer.plugins.modules."
BACKENDS = ("nft", "legacy")
FAMILIES = ("ipv4", "ipv6")

T = TypeVar("T")


def go_home(descriptor: int) -> None:
    """Back into the machine's network namespace. Nothing may ever run in the wrong one."""
    try:
        enter(descriptor, "the machine's own")
    except OSError:
        os.abort()


@contextlib.contextmanager
def fresh_network() -> Iterator[None]:
    """This thread, which must be the main one, and the programs it starts, in a new network namespace."""
    with open("/proc/thread-self/ns/net", encoding="ascii") as home:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            yield
        finally:
            go_home(home.fileno())


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """This thread, which must be the main one, and the programs it starts, in a named network namespace."""
    with open("/proc/thread-self/ns/net", encoding="ascii") as home:
        with open("/run/netns/" + name, encoding="ascii") as there:
            enter(there.fileno(), name)
        try:
            yield
        finally:
            go_home(home.fileno())


class Standing(Protocol):
    """A network for tests."""

    def up(self) -> None:
        """Build it."""

    def down(self) -> None:
        """Remove it, in whatever state it is."""


S = TypeVar("S", bound=Standing)


@contextlib.contextmanager
def standing(made: S) -> Iterator[S]:
    """Build a network, and remove it at the end."""
    try:
        made.up()
        yield made
    finally:
        made.down()


def module(module_name: str, check_mode: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
    """Run a module's own main() in this process, where it is fast and its parts can be replaced; return its result."""
    main = importlib.import_module(MODULES + module_name).main
    warnings._global_warnings.clear()
    arguments = {**options, "_ansible_check_mode": check_mode, "_ansible_diff": diff}
    said = io.StringIO()
    # It is on a node, where warnings are returned, also when a test has imported what belongs to the control node.
    node = mock.patch.object(_internal, "is_controller", False)
    with node, patch_module_args(arguments), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main()
    result: dict[str, Any] = json.loads(said.getvalue())
    result.pop("invocation", None)
    if "warnings" in result:
        result["warnings"] = [warning["event"]["msg"] for warning in result["warnings"]]
    if not result.get("failed"):
        known, returned = documented(module_name), set(result) - {"changed", "diff", "warnings"}
        always = {key for key, value in known.items() if value["returned"] == "success"}
        assert always <= returned <= set(known), "RETURN of %s" % module_name
    return result


def module_argv(name: str) -> list[str]:
    """The command that runs a module, which reads its arguments from standard input, with COLLECTIONS around it."""
    return [sys.executable, "-m", MODULES + name]


def start_module(
    module_name: str, check_mode: bool = False, diff: bool = True, inside: Sequence[str] = (), **options: Any
) -> subprocess.Popen[str]:
    """Start a module as Ansible does, as a process of its own.

    inside -- what its command line begins with, to run elsewhere
    """
    arguments = {**options, "_ansible_check_mode": check_mode, "_ansible_diff": diff}
    process = subprocess.Popen(
        [*inside, *module_argv(module_name)],
        env={**os.environ, **COLLECTIONS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    process.stdin.close()
    return process


def finish_module(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a started module and return its result."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        out, err = process.stdout.read(), process.stderr.read()
    assert out, err
    result: dict[str, Any] = json.loads(out)
    result.pop("invocation", None)
    return result


def kill_module(process: subprocess.Popen[str]) -> None:
    """Kill a started module and its child processes. It is stopped first, so that it starts no more of them."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        process.send_signal(signal.SIGSTOP)
        for child in Path("/proc/%d/task/%d/children" % (process.pid, process.pid)).read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
    with process:
        process.kill()


def wait_for(condition: Callable[[], T], what: str, limit: float = 120, every: float = 0.02) -> T:
    """Wait until a condition holds and return its value. The limit only needs to suffice on a busy machine."""
    end = time.monotonic() + limit
    while not (said := condition()):
        assert time.monotonic() < end, "timed out waiting for: " + what
        time.sleep(every)
    return said


def run_at_boot(commands: list[str], inside: Sequence[str] = ()) -> None:
    """Run what a module returns as `boot`, as systemd does."""
    for command in commands:
        words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command.lstrip("-"))]
        run([*inside, *words], check=not command.startswith("-"))


class Firewall:
    """One family's iptables of one backend, as an administrator uses it by hand."""

    def __init__(self, backend: str, family: str = "ipv4") -> None:
        self.backend = backend
        self.family = family
        self.command = "%s-%s" % ({"ipv4": "iptables", "ipv6": "ip6tables"}[family], backend)

    def __call__(self, line: str, table: str = "filter") -> None:
        run([self.command, "-t", table, *line.split()])

    def load(self, text: str) -> None:
        run([self.command + "-restore", "--noflush", "--counters"], text)

    def save(self, counters: bool = False) -> str:
        """What iptables-save prints, without the time of day."""
        out = run([self.command + "-save", *(["--counters"] if counters else [])]).out
        lines = [line for line in out.splitlines() if not line.startswith("#")]
        return "".join(line + "\n" for line in lines)

    def chains(self) -> dict[str, list[str]]:
        """Each chain's rules, by `table chain`."""
        return chains_of(self.save())

    def foreign(self, prefix: str) -> str:
        """What is saved with counters, less what `without_ours` leaves out."""
        return without_ours(self.save(counters=True), prefix)


def chains_of(saved: str) -> dict[str, list[str]]:
    """Each chain's rules, by `table chain`, of what iptables-save printed with or without counters."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in saved.splitlines():
        rule = re.fullmatch(r"(?:\[\d+:\d+\] )?-A (\S+) ?(.*)", line)
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found["%s %s" % (table, line[1:].split()[0])] = []
        elif rule:
            found["%s %s" % (table, rule[1])].append(rule[2])
    return found


def without_ours(saved: str, prefix: str) -> str:
    """What iptables-save printed, less the chains with the prefix, the jumps to them, and tables then empty."""
    ours = re.compile(r"^:%s|(^|\] )-A %s| -[jg] %s" % ((re.escape(prefix),) * 3))
    text = re.compile(r'"(\\.|[^"\\])*"')
    lines = saved.splitlines(keepends=True)
    return without_empty_tables("".join(line for line in lines if not ours.search(text.sub("", line))))


def without_empty_tables(saved: str) -> str:
    """Less the tables whose chains are all empty and accept, as the legacy backend keeps them once they were used."""
    tables = re.findall(r"^\*.*?^COMMIT\n", saved, re.DOTALL | re.MULTILINE)
    idle = re.compile(r"\*\w+\n(:[A-Z]+ ACCEPT \[\d+:\d+\]\n)+COMMIT\n")
    return "".join(table for table in tables if not idle.fullmatch(table))


def idle_tables(saved: str) -> list[str]:
    """The names of the tables that hold nothing but built-in chains that accept."""
    kept = set(re.findall(r"^\*(\w+)", without_empty_tables(saved), re.MULTILINE))
    return [name for name in re.findall(r"^\*(\w+)", saved, re.MULTILINE) if name not in kept]


def try_chains(firewall: Firewall, check_mode: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
    """Run iptables_chains for a firewall."""
    common = {"backend": firewall.backend, "family": firewall.family, "prefix": "LB-"}
    return module("iptables_chains", check_mode, diff, **{**common, **options})


def chains(firewall: Firewall, check_mode: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
    """Run iptables_chains where it has to succeed."""
    result = try_chains(firewall, check_mode, diff, **options)
    assert not result.get("failed"), result["msg"]
    return result


def converge(firewall: Firewall, **options: Any) -> dict[str, Any]:
    """Check, carry out, repeat: check mode changes nothing and predicts the run, which a second run leaves alone."""
    before = firewall.save(counters=True)
    predicted = chains(firewall, check_mode=True, **options)
    assert firewall.save(counters=True) == before
    result = chains(firewall, **options)
    assert result == predicted
    after = firewall.save(counters=True)
    again = chains(firewall, **options)
    assert again == {**result, "changed": False, "diff": []}
    assert firewall.save(counters=True) == after
    return result
