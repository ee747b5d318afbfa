# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test run counts what ran: a failure is never lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tools import run_tests
from ansible_collections.homelab.loadbalancer.tools.run_tests import Counts, Part

REPORT = """\
<testsuites><testsuite>
<testcase name="a"/>
<testcase name="b"><failure message="no"/></testcase>
<testcase name="c"><error message="no"/></testcase>
<testcase name="d"><skipped message="no"/></testcase>
<testcase name="e"/>
</testsuite></testsuites>
"""
WRITE = "import os, sys; open(os.environ['RESULTS'] + '/x.xml', 'w').write(%r); sys.exit(%d)"


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        ("", Counts(1, 0, 0)),
        ("raise SystemExit(3)", Counts(0, 1, 0)),
        (WRITE % ("<testsuite><testcase/><testcase/></testsuite>", 0), Counts(2, 0, 0)),
        (WRITE % ("<testsuite><testcase/><testcase/></testsuite>", 1), Counts(2, 1, 0)),
        (WRITE % (REPORT, 1), Counts(2, 2, 1)),
    ],
)
def test_a_part_is_counted(code: str, counts: Counts) -> None:
    assert run_tests.run(Part("part", (sys.executable, "-c", code))) == counts


def test_part_without_its_program_is_skipped() -> None:
    assert run_tests.run(Part("part", ("true",), needs="no-such-program")) == Counts(skipped=1)


def test_part_that_hangs_is_ended_and_says_in_which_test(capfd: pytest.CaptureFixture[str]) -> None:
    # A process that was started in the background would ignore the interrupt.
    forever = ("env", "--default-signal=INT", "sh", "-c", "echo test_x >$RESULTS/running; exec sleep 600")
    assert run_tests.run(Part("part", forever, limit=2)) == Counts(failed=1)
    assert "part did not end within 2 s; it was in test_x." in capfd.readouterr().out


def test_slowest_tests_are_printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    cases = "".join('<testcase classname="c" name="t%d" time="%d"/>' % (index, index) for index in range(40))
    monkeypatch.setattr(run_tests, "TESTS", [])
    run_tests.run(Part("part", (sys.executable, "-c", WRITE % ("<testsuite>%s</testsuite>" % cases, 0))))
    run_tests.print_times()
    said = [line.split() for line in capfd.readouterr().out.partition("The slowest tests")[2].splitlines()[1:]]
    assert said == [["%d.0" % index, "part:", "c.t%d" % index] for index in range(39, 14, -1)]


@pytest.mark.parametrize(
    ("ci", "argv", "rc", "last"),
    [
        ("", ("true",), 0, "1 passed, 0 failed, 0 skipped"),
        ("", ("false",), 1, "0 passed, 1 failed, 0 skipped"),
        ("", (), 0, "0 passed, 0 failed, 1 skipped"),
        ("true", (), 1, "0 passed, 1 failed, 0 skipped"),
    ],
)
def test_the_last_line_is_the_sum(
    ci: str,
    argv: tuple[str, ...],
    rc: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    part = Part("part", argv or ("true",), needs="" if argv else "no-such-program")
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(run_tests, "CHECK", ())
    monkeypatch.setattr(run_tests, "SLOW", (part,))
    assert run_tests.main(["test"]) == rc
    assert capfd.readouterr().out.splitlines()[-1] == last


def test_every_part_that_is_a_program_of_ours_exists() -> None:
    ours = {part.argv[0] for part in run_tests.CHECK + run_tests.SLOW if part.argv[0].startswith("tools/")}
    assert ours
    assert [program for program in ours if not (Path(run_tests.ROOT) / program).exists()] == []


def test_parts_at_once_are_one_more_than_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of three parts waits for the file of another, so none ends unless all run at once."""

    def part(name: str, other: str) -> Part:
        code = "touch %s; until [ -e %s ]; do sleep 0.01; done" % (name, other)
        return Part(name, ("sh", "-c", "cd %s; %s" % (tmp_path, code)), limit=60)

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    done = run_tests.run_at_once([part("one", "two"), part("two", "three"), part("three", "one")])
    assert done == {name: Counts(passed=1) for name in ("one", "two", "three")}


def test_an_unknown_part_is_refused() -> None:
    assert run_tests.main(["no-such-part"]) == 2
