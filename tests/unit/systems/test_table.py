# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of supported systems: what `make compat` writes, and what the page promises."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.homelab.loadbalancer.tests.compat.matrix import CONTROL, DATA_PLANES, DEMO, NODES
from ansible_collections.homelab.loadbalancer.tools import compat
from ansible_collections.homelab.loadbalancer.tools.compat import Row

ROOT = Path(__file__).resolve().parents[3]
PAGE = "# Page\n\n%s%s%s\nmore\n" % (compat.BEGIN, compat.HEAD, compat.END)
REPORT = """\
<testsuites><testsuite>
<testcase name="a"><properties><property name="row" value='["Debian 12", "role `x`", ""]'/>
<property name="row" value='["Debian 12", "role `x`", "nft 1.0.6"]'/></properties></testcase>
<testcase name="b"><properties><property name="row" value='["Debian 11", "role `x`", ""]'/></properties>
<failure message="no"/></testcase>
<testcase name="c"><properties><property name="row" value='["Debian 13", "role `x`", ""]'/></properties>
<skipped message="no systemd"/></testcase>
<testcase name="d"/>
</testsuite></testsuites>
"""


def test_results_become_rows(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    assert list(compat.results(tmp_path / "report.xml", "2026-11-29")) == [
        Row("Debian 12", "role `x`", "nft 1.0.6", "works", "2026-11-29"),
        Row("Debian 11", "role `x`", "", "fails", "2026-11-29"),
        Row("Debian 13", "role `x`", "", "not run: no systemd", "2026-11-29"),
    ]


def test_rows_are_written_sorted_and_read_back() -> None:
    node = Row("Debian 11", "role `x`", "nft 0.9.8", "works", "2026-11-29")
    core = Row("ansible-core 2.17", "lab", "", "works", "2026-11-29")
    rows = {(row.system, row.ran): row for row in (node, core)}
    text = compat.with_table(PAGE, rows)
    assert text == "# Page\n\n%s%s%s%s%s\nmore\n" % (
        compat.BEGIN,
        compat.HEAD,
        "| ansible-core 2.17 | lab |  | works | 2026-11-29 |\n",
        "| Debian 11 | role `x` | nft 0.9.8 | works | 2026-11-29 |\n",
        compat.END,
    )
    assert compat.read_table(text) == rows
    assert compat.with_table(text, compat.read_table(text)) == text


def test_the_page_has_a_row_for_each_system() -> None:
    rows = compat.read_table(compat.PAGE.read_text())
    wanted = {
        *((system, "role `%s`" % role) for system in NODES.values() for role in DATA_PLANES),
        *((system, "module `nftables_table`") for system in NODES.values()),
    }
    assert wanted - set(rows) == set(), "run make compat"
    systems = {system for system, dummy in rows}
    control = {*("ansible-core " + core for dummy, core in CONTROL), NODES[DEMO] + " as control machine"}
    assert systems == {*NODES.values(), *control}


def test_no_listed_system_fails() -> None:
    assert [row for row in compat.read_table(compat.PAGE.read_text()).values() if row.result == "fails"] == []


def test_oldest_ansible_core_is_the_one_that_the_collection_asks_for() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    assert runtime["requires_ansible"] == ">=%s.0" % CONTROL[0][1]
