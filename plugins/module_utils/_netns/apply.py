# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the changes that a plan lists. When a step fails, the next run does the rest."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from importlib.util import find_spec
from typing import Callable, Iterable, Sequence

from .._common.command import run
from .._common.errors import InputError
from .._sysctls.node import ROUNDS
from . import server as netns_server
from .node import Running, batch, entered, processes, read_sysctl, sysctl_path
from .plan import Plan

# Seconds that a process has to end by itself, and then to disappear after SIGKILL.
GRACE = 5.0


def apply(plan: Plan) -> None:
    """Change the node."""
    if plan.remove:
        end(lambda: [pid for pids in processes(plan.remove).values() for pid in pids])
        batch(None, ["netns delete %s" % name for name in plan.remove])
    if plan.stop:
        end(lambda: [pid for pid in plan.stop if _alive(pid)])
    batch(None, ["netns add %s" % name for name in plan.create])
    _write(plan.early)
    for namespace, link in plan.unplug:
        # The link may have gone together with its other end; if it cannot be deleted, the next step fails.
        run(["ip", "-netns", namespace, "link", "delete", link], check=False)
    for namespace, lines in plan.batches:
        batch(namespace, lines)
    _hold(plan.late)
    _write(plan.renew)
    for namespace, server in plan.start:
        _start(plan.lab, namespace, server)


def end(find: Callable[[], list[int]], grace: float = GRACE, gently: bool = True) -> None:
    """End the processes that `find` lists, and repeat until it lists none.

    gently -- first ask the processes to end
    """
    asked: set[int] = set()
    begin = time.monotonic()
    while True:
        pids = find()
        if not pids:
            return
        waited = time.monotonic() - begin
        if waited > 2 * grace:
            raise InputError("processes %s do not end: end them by hand" % ", ".join(map(str, pids)))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if gently and pid not in asked:
                    asked.add(pid)
                    os.kill(pid, signal.SIGTERM)
                elif not gently or waited > grace:
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _alive(pid: int) -> bool:
    """Whether a process runs. A zombie does not."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _hold(sysctls: Sequence[tuple[str, str, str]]) -> None:
    """Write sysctls until all have their values, because some change others."""
    stands: dict[tuple[str, str, str], str | None] = {}
    moved = list(sysctls)
    for _turn in range(ROUNDS):
        for entry in moved:
            _write([entry])
            stands[entry] = _value(entry)
        moved = [entry for entry in sysctls if _value(entry) != stands[entry]]
        if not moved:
            return
    raise InputError(
        "sysctl %s of network namespace %s does not stay at %s, for writing another one changes it: leave one out"
        % (moved[0][1], moved[0][0], moved[0][2])
    )


def _value(sysctl: tuple[str, str, str]) -> str | None:
    with entered(sysctl[0]):
        return read_sysctl(sysctl[1])


def _write(sysctls: Iterable[tuple[str, str, str]]) -> None:
    for namespace, key, value in sysctls:
        try:
            with entered(namespace), open(sysctl_path(key), "w", encoding="utf-8") as file:
                file.write(value)
        except FileNotFoundError as error:
            raise InputError("sysctl %s does not exist in network namespace %s" % (key, namespace)) from error
        except OSError as error:
            raise InputError(
                "sysctl %s of network namespace %s does not take %s: %s" % (key, namespace, value, error.strerror)
            ) from error


def server_program() -> str:
    """The source of the server program, from a file or from the archive that Ansible sends."""
    spec = find_spec(netns_server.__name__)
    return str(spec.loader.get_source(netns_server.__name__))  # type: ignore[union-attr]


def _start(lab: str, namespace: str, server: Running) -> None:
    wanted = [netns_server.MARK, lab, server.protocol, str(server.port), server.text]
    with entered(namespace):
        # -I -S: without files of the user or the site, and a quick start. It returns once the server listens.
        done = run([sys.executable, "-I", "-S", "-", *wanted], stdin=server_program(), check=False)
    if done.rc != 0:
        said = done.err.strip().splitlines() or ["exit code %d" % done.rc]
        raise InputError("the server in network namespace %s did not start: %s" % (namespace, said[-1]))
