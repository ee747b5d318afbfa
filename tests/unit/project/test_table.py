# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that sets tables for the terminal."""

from __future__ import annotations

import ast
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.filter import table as table_filter
from ansible_collections.homelab.loadbalancer.plugins.filter.table import AROUND, WIDE, table

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_rows_are_set_below_their_headings() -> None:
    assert table([["ping", "no answer"], ["curl", "Hello"]], ["from a", "seen"], "The lab").splitlines() == [
        "The lab",
        "╭────────┬───────────╮",
        "│ from a │ seen      │",
        "├────────┼───────────┤",
        "│ ping   │ no answer │",
        "│ curl   │ Hello     │",
        "╰────────┴───────────╯",
    ]


def test_wide_characters_take_two_columns() -> None:
    lines = table([["日本", "x"], ["e\u0301", "y"]], ["a", "b"]).splitlines()
    assert lines[3:5] == ["│ 日本 │ x │", "│ e\u0301    │ y │"]


def test_an_empty_table_has_its_headings() -> None:
    assert len(table([], ["namespace", "name"]).splitlines()) == 4


def test_long_text_is_broken_between_words_and_stays_within_the_width() -> None:
    lines = table([["word " * 60, "sentence " * 30]], ["one", "two"]).splitlines()
    assert max(map(len, lines)) <= 80 - AROUND
    text = " ".join(lines)
    assert text.split().count("word") == 60
    assert text.split().count("sentence") == 30


def test_a_name_is_never_broken() -> None:
    names = ["%s-6c5f7d9b-8xk2p" % ("application" * 4), "registry.example.org/team/" + "web" * 20 + ":1.2"]
    text = table([["default", *names, "10.244.100.200", "a sentence of some words"]], ["a", "b", "c", "d", "e"])
    assert all(any(name in line for line in text.splitlines()) for name in names)


def test_a_word_that_is_too_long_for_a_name_is_broken() -> None:
    lines = table([["x" * 10000]], ["one"]).splitlines()
    assert max(map(len, lines)) < 300
    assert "".join(lines).count("x") == 10000


def test_a_row_with_a_cell_too_few_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="row 1 has 1 cells, but there are 2 columns"):
        table([["a", "b"], ["c"]], ["one", "two"])


def test_a_hostile_node_cannot_write_to_the_terminal() -> None:
    text = table([["\x1b]0;owned\x07\x1b[2J", "[red]not markup[/red]"]], ["from", "seen"], "\x1b[2J")
    assert text.replace("\n", "").isprintable()
    assert r"\x1b]0;owned\x07" in text
    assert "[red]not markup[/red]" in text


CODE = """
import os, sys
sys.path.insert(0, %r)
from ansible_collections.homelab.loadbalancer.plugins.filter.table import _terminal
if sys.argv[1] == "child":  # as Ansible renders messages
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        for number in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        os.write(write, b"%%d" %% _terminal())
        os._exit(0)
    sys.stderr.write(os.read(read, 20).decode())
else:
    sys.stderr.write("%%d" %% _terminal())
"""


def columns(process: str, stdout: int) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-c", CODE % str(ROOT / ".collections"), process]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, text=True, check=True
    ).stderr


@pytest.mark.parametrize("process", ["itself", "child"])
def test_table_is_as_wide_as_the_terminal(process: str) -> None:
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 111, 0, 0))
        assert columns(process, follower) == "111"
    finally:
        os.close(leader)
        os.close(follower)


@pytest.mark.parametrize("process", ["itself", "child"])
def test_table_is_wide_without_a_terminal(process: str) -> None:
    assert columns(process, subprocess.DEVNULL) == str(WIDE)


def test_table_needs_only_ansible() -> None:
    tree = ast.parse(Path(table_filter.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {node.module for node in froms if node.module and not node.level}
    assert {name.split(".")[0] for name in names | modules} - set(sys.stdlib_module_names) == {"ansible"}
