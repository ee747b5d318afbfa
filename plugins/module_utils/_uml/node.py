# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that user-mode Linux nodes run on: read a lab's state, apply a plan, wait for SSH.

No file lists the processes: a process belongs to a node by the kernel's program name and the node's network namespace.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from typing import Iterator

from .._common.command import find, run
from .._common.errors import InputError
from .._netns import apply as netns_apply
from .._netns import node as netns_state
from .._netns.plan import sysctls_of
from .model import ADMIN, KERNEL, Node, Nodes, disk_of
from .plan import Have, Plan

# The kernels keep their memory in files here.
MEMORY_FOLDER = "/dev/shm"  # noqa: S108 -- the kernel's own choice
KEYS = ("id_ed25519", "id_ed25519.pub", "known_hosts", "ssh_host_key")
# Seconds that a node has to shut down cleanly.
SHUTDOWN = 30.0


def read(lab: Nodes) -> Have:
    """The state of the lab."""
    wires = netns_state.read(lab.name, sysctls_of(lab.wires))
    running = {}
    for name, state in wires.namespaces.items():
        for pid in state.pids:
            command = _command_line(pid)
            # The kernel's first process leads a session; its forked processes do not.
            if command[:1] == (KERNEL,) and _session(pid) == pid:
                running[name[len(lab.name) + 1 :]] = command
    keys = all(os.path.exists(os.path.join(lab.folder, key)) for key in KEYS)
    folders: tuple[str, ...] = ()
    if os.path.isdir(lab.folder):
        folders = tuple(sorted(entry.name for entry in os.scandir(lab.folder) if entry.is_dir()))
    return Have(wires, running, keys, dict(_files(lab.folder)), folders)


def _files(folder: str) -> Iterator[tuple[str, str]]:
    """The declared files of the lab, with their paths in its folder."""
    found = [os.path.join(folder, "ssh_config")] if os.path.exists(os.path.join(folder, "ssh_config")) else []
    for base, _folders, names in os.walk(folder):
        parts = os.path.relpath(base, folder).split("/")
        # The keys and the server's program are added when a node is started.
        if parts[1:2] == ["files"] and parts[2:4] != ["run", "node"]:
            found += [os.path.join(base, name) for name in names]
    for path in found:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            yield os.path.relpath(path, folder), file.read()


def _command_line(pid: int) -> tuple[str, ...]:
    try:
        with open("/proc/%d/cmdline" % pid, encoding="utf-8", errors="surrogateescape") as file:
            words = file.read().rstrip("\0").split("\0")
    except OSError:
        return ()
    return (os.path.basename(words[0]), *words[1:])


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def preflight(lab: Nodes, plan: Plan) -> None:
    """Raise an error, before anything changes, if this machine cannot run the nodes."""
    if not plan.start:
        return
    tools = {KERNEL: "user-mode-linux", "ssh-keygen": "openssh-client", "nc": "netcat-openbsd"}
    for tool, package in tools.items():
        if find(tool) is None:
            raise InputError("the program %s is not installed: install the package %s" % (tool, package))
    if not os.path.isfile(lab.image):
        raise InputError("the nodes' disk %s is not there: build it by `tools/node-image`" % (lab.image or "(none)"))
    needed = sum(node.memory for node in lab.nodes if node.name in plan.start)
    free = os.statvfs(MEMORY_FOLDER)
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(int(line.split()[1]) // 1024 for line in file if line.startswith("MemAvailable:"))
    for what, size in ((MEMORY_FOLDER, free.f_bavail * free.f_frsize >> 20), ("this machine", available)):
        if size < needed:
            raise InputError(
                "the nodes need %d MiB of memory, but %s has %d MiB free: declare fewer nodes or less memory for each"
                % (needed, what, size)
            )


def apply(lab: Nodes, plan: Plan) -> None:
    """Change the machine. When a step fails, the next run continues."""
    _shut_down(lab, plan.stop)
    for name in (*plan.remove, *plan.start):
        _kill(lab, name)
    netns_apply.apply(plan.wires)
    for name in plan.remove:
        shutil.rmtree(os.path.join(lab.folder, name), ignore_errors=True)
    if plan.absent:
        shutil.rmtree(lab.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(lab.folder))  # fails if another lab is in it
        return
    os.makedirs(lab.folder, mode=0o700, exist_ok=True)
    if plan.keys:
        _make_keys(lab)
    for path, text in plan.write.items():
        _write(os.path.join(lab.folder, path), text)
    processors = sorted(os.sched_getaffinity(0))
    for at, node in enumerate(lab.nodes):
        if node.name in plan.start:
            _start(lab, node, plan.start[node.name], processors[at % len(processors)])


def _pids(lab: Nodes, name: str) -> list[int]:
    """The processes of a node's kernel, including leftovers of a killed one."""
    namespace = lab.wires.namespace(name)
    return [pid for pid in netns_state.processes([namespace])[namespace] if _command_line(pid)[:1] == (KERNEL,)]


def _kill(lab: Nodes, name: str) -> None:
    """Kill a node at once, like pulling its plug."""
    # The processes need no clean-up, and some wait for a tracer that is gone.
    netns_apply.end(lambda: _pids(lab, name), gently=False)


def _shut_down(lab: Nodes, names: tuple[str, ...]) -> None:
    """Shut nodes down, so that they write their data to disk. The next step kills a node that does not answer."""
    for name in names:
        run(["ssh", "-F", lab.ssh_config, name, "poweroff"], check=False)
    end = time.monotonic() + SHUTDOWN
    while any(_pids(lab, name) for name in names) and time.monotonic() < end:
        time.sleep(0.05)


def _make_keys(lab: Nodes) -> None:
    """Make a key to log in with, and a host key that all nodes share."""
    for name in KEYS:
        _write(os.path.join(lab.folder, name), None)
    for name in ("id_ed25519", "ssh_host_key"):
        path = os.path.join(lab.folder, name)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab " + lab.name, "-f", path])
    with open(os.path.join(lab.folder, "ssh_host_key.pub"), encoding="ascii") as file:
        _write(os.path.join(lab.folder, "known_hosts"), "* " + file.read())


def _write(path: str, text: str | None) -> None:
    if text is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _start(lab: Nodes, node: Node, command: tuple[str, ...], processor: int) -> None:
    """Start a node's kernel, on one processor.

    Each system call of a node switches to another process and back, which takes three times as long between processors.
    """
    own = os.path.join(lab.folder, node.name)
    # A kept SSH connection to a killed node is dead.
    run(["ssh", "-F", lab.ssh_config, "-O", "exit", node.name], check=False)
    # Remove the disk of another image and the socket of a killed kernel.
    for entry in os.scandir(own):
        if entry.name.endswith(".cow") and entry.path != disk_of(node.name, lab):
            os.unlink(entry.path)
    shutil.rmtree(os.path.join(own, "uml"), ignore_errors=True)
    shutil.rmtree(os.path.join(own, "files/run/node"), ignore_errors=True)
    os.makedirs(os.path.join(own, "uml"))
    os.makedirs(os.path.join(own, "files/run/node"))
    for name, copy in (("id_ed25519.pub", "authorized_keys"), ("ssh_host_key", "ssh_host_key")):
        shutil.copy(os.path.join(lab.folder, name), os.path.join(own, "files/run/node", copy))
    _write(os.path.join(own, "files/run/node/server.py"), netns_apply.server_program())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(own + "/pid")
    with netns_state.entered(lab.wires.namespace(node.name)):
        run(
            [
                *["start-stop-daemon", "--start", "--background", "--output", own + "/console"],
                *["--make-pidfile", "--pidfile", own + "/pid", "--startas", shutil.which("taskset") or "taskset"],
                *["--", "--cpu-list", str(processor), *command],
            ],
            env={"TMPDIR": MEMORY_FOLDER},
        )


def wait(lab: Nodes, timeout: float) -> None:
    """Wait until each node answers SSH."""
    end = time.monotonic() + timeout
    for node in lab.nodes:
        while not _answers(lab, node.address):
            if not _pids(lab, node.name):
                raise InputError("node %s ended. %s" % (node.name, _last_words(lab, node.name)))
            if time.monotonic() > end:
                raise InputError(
                    "node %s did not answer SSH at %s within %g s. %s"
                    % (node.name, node.address, timeout, _last_words(lab, node.name))
                )
            time.sleep(0.1)


def _answers(lab: Nodes, address: str) -> bool:
    try:
        with netns_state.entered(lab.wires.namespace(ADMIN)):
            connection = socket.create_connection((address, 22), timeout=2)
        with connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _last_words(lab: Nodes, name: str) -> str:
    path = "%s/%s/console" % (lab.folder, name)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()[-15:]
    except OSError:
        lines = []
    return "The end of its console, %s:\n%s" % (path, "\n".join(lines))
