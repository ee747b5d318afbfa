# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remembered table: recalled only while nothing has changed the ruleset, and never if the file is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services import memory

FOLDER = "run"
TEXT = "table inet LB {\n}\n"


class Kernel:
    """The generation of the ruleset, and the name of the network namespace."""

    def __init__(self) -> None:
        self.at = 7
        self.name = "1a"
        self.fails = False

    def generation(self) -> int:
        if self.fails:
            raise OSError("no nf_tables")
        return self.at

    def namespace(self) -> str:
        return self.name


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(memory, "FOLDER", str(tmp_path / FOLDER))
    monkeypatch.setattr(memory, "generation", made.generation)
    monkeypatch.setattr(memory, "namespace", made.namespace)
    return made


def test_table_is_recalled_at_its_generation(kernel: Kernel) -> None:
    assert memory.recall("LB") is None
    memory.remember("LB", 7, TEXT)
    assert memory.recall("LB") == (7, TEXT)
    assert memory.recall("LB2") is None


def test_changed_ruleset_ends_the_memory(kernel: Kernel) -> None:
    memory.remember("LB", 7, TEXT)
    kernel.at = 8
    assert memory.recall("LB") is None
    kernel.at = 6
    assert memory.recall("LB") is None


def test_another_network_namespace_has_its_own_memory(kernel: Kernel) -> None:
    memory.remember("LB", 7, TEXT)
    kernel.name = "1b"
    assert memory.recall("LB") is None


@pytest.mark.parametrize("missing", ["namespace", "generation"])
def test_kernel_without_names_or_generations_has_no_memory(kernel: Kernel, missing: str) -> None:
    if missing == "namespace":
        kernel.name = ""
    else:
        kernel.fails = True
        assert memory.current() == 0
    memory.remember("LB", memory.current(), TEXT)
    assert memory.recall("LB") is None
    memory.forget("LB")
    kernel.name, kernel.fails, kernel.at = "1a", False, 0
    assert memory.recall("LB") is None


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-4],
    "another text": lambda content: content.replace(b"LB", b"XX"),
    "no numbers": lambda content: b"x y\n" + content,
    "one number": lambda content: b"7\n" + TEXT.encode(),
    "no text": lambda content: content + b"\xff",
    "longer": lambda content: content + b"}\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_memory_is_not_recalled(kernel: Kernel, damage: str) -> None:
    memory.remember("LB", 7, TEXT)
    file = Path(memory.path("LB"))
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert memory.recall("LB") is None


def test_forgotten_table_leaves_no_file(kernel: Kernel, tmp_path: Path) -> None:
    memory.forget("LB")
    memory.remember("LB", 7, TEXT)
    memory.forget("LB")
    assert memory.recall("LB") is None
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_memory_that_cannot_be_written_is_no_error(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file in the place of the folder", encoding="ascii")
    memory.remember("LB", 7, TEXT)
    assert memory.recall("LB") is None
