# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demos say the same in both languages, and one file lists their data planes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._common.columns import display_width
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._steps.report import TITLE
from ansible_collections.homelab.loadbalancer.tools.demo_experiments import Experiment, experiments

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "playbooks/vars/demo"
# A template, and a command.
SHARED = re.compile(r"\{\{.*?\}\}|\bmake [a-z-]+|\b[A-Z]+=\S+")
# Templates in titles stand for words of about this width.
NAMES = 10


def load(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


LANGUAGES = {path.stem: load(path.name) for path in FOLDER.glob("??.yml")}
VARIABLES = [load(name) for name in ("common.yml", "balancer.yml", "cluster.yml")]
PAGE, PLANES = load("page.yml")["demo_page"], load("planes.yml")["demo_planes"]


def test_languages_have_the_same_keys_in_the_same_order() -> None:
    assert set(LANGUAGES) == {"en", "ja"}
    assert list(LANGUAGES["ja"]) == list(LANGUAGES["en"])


def test_languages_have_the_same_commands_and_names() -> None:
    for key, text in LANGUAGES["en"].items():
        assert sorted(set(SHARED.findall(LANGUAGES["ja"][key]))) == sorted(set(SHARED.findall(text))), key


def test_english_and_all_that_is_shared_is_ascii() -> None:
    """Terminals without UTF-8 can show it."""
    assert all(text.isascii() for text in LANGUAGES["en"].values())
    assert (PAGE + yaml.safe_dump([VARIABLES, PLANES], allow_unicode=True)).isascii()


def test_no_text_is_missing_or_unused() -> None:
    texts = {key for key in LANGUAGES["en"] if key.startswith("demo_")}
    files = [*FOLDER.parent.parent.glob("demo*.yml"), *FOLDER.glob("???*.yml")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in files)
    used = set(re.findall(r"\bdemo_(?:say|step)_\w+\b", sources)) - {"demo_say_NAME"}
    for values in VARIABLES:
        used |= {"demo_say_" + experiment["name"] for experiment in values.get("demo_experiments", [])}
    # The Kubernetes demo has a step for each role of playbooks/site.yml.
    roles = re.findall(r"name: homelab\.loadbalancer\.(\w+)", (ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    used |= {"demo_step_" + role for role in roles}
    assert used == texts


def test_titles_fit_their_column() -> None:
    for texts in LANGUAGES.values():
        for key, text in texts.items():
            if key.startswith("demo_step_"):
                assert display_width(re.sub(r"\{\{.*?\}\}", "x" * NAMES, text)) <= TITLE, key


def test_labels_of_results_align() -> None:
    for texts in LANGUAGES.values():
        for pair in (("before", "now"), ("held", "new")):
            assert len({display_width(texts["demo_say_" + name]) for name in pair}) == 1, pair


def test_each_data_plane_has_a_playbook_and_the_same_keys() -> None:
    assert {"iptables", "ipvs"} <= set(PLANES)
    for name, plane in PLANES.items():
        assert (ROOT / "playbooks" / (name + "_lb.yml")).is_file()
        assert set(plane) == set(PLANES["iptables"])


def test_make_knows_the_data_planes_of_that_file() -> None:
    done = subprocess.run(["make", "DATAPLANE=none", "help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "DATAPLANE=none is none of: %s. " % " ".join(PLANES) in done.stderr


def test_experiments_are_read_from_the_page() -> None:
    page = "Break it:\n\n1. Text.\n     one\n     two\n       -> curl: (7)\n   Back:\n     three\n\n2. Text.\n"
    page += "     four\n       -> curl: (28)\n   Back:\n     five\n\nRemove it:\n     make demo-down\n"
    assert experiments(page) == [
        Experiment(["one"], "two", "curl: (7)", "three"),
        Experiment([], "four", "curl: (28)", "five"),
    ]
