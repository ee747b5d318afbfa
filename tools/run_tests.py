# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the parts of `make check` or `make test` and count their tests.

    tools/run_tests.py check              lint, types and unit tests
    tools/run_tests.py test               everything
    tools/run_tests.py NAME...            only the named parts

It ends with the time of each part and the slowest tests. The last line printed is `N passed, N failed, N skipped`. The
exit code is 1 when anything failed. With CI=true in the environment a skipped test counts as failed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
STARTED = time.monotonic()
SLOWEST = 25  # number of tests in the list of slowest ones
RUNNING = "running"  # tools/pytest_results.py writes the name of the current test into this file
# Code that runs on managed nodes, which may have an old Python.
NODE_CODE = ("plugins/module_utils", "plugins/modules")


class Part(NamedTuple):
    """One command of the test run.

    needs -- a program; without it the part is skipped
    root -- whether the part must run as root; for other users by sudo
    limit -- seconds after which the part is ended and counts as failed
    """

    name: str
    argv: tuple[str, ...]
    needs: str = ""
    root: bool = False
    limit: float = 600


# The parts that have run: seconds and name.
PARTS: list[tuple[float, str]] = []
TESTS: list[tuple[float, str]] = []


class Counts(NamedTuple):
    """The number of tests by outcome."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: object) -> Counts:
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return "%d passed, %d failed, %d skipped" % self


CHECK = (
    Part("ansible-lint", ("ansible-lint", "--nocolor", "--format=pep8")),
    Part("mypy", ("mypy",)),
    Part("unit", ("pytest", "tests/unit")),
    Part("ruff", ("ruff", "check")),
    Part("format", ("ruff", "format", "--check")),
    Part("vermin", ("vermin", "--target=3.8-", "--no-tips", "--violations", *NODE_CODE)),
    Part("yamllint", ("yamllint", "--strict", ".")),
    Part("shellcheck", ("tools/shellcheck",), needs="shellcheck"),
    Part("changelog", ("antsibull-changelog", "lint")),
    Part("reference", ("tools/reference",)),
)
# The longest part first: the last parts are then short, so that no processor is idle for long.
SLOW = (
    # The whole chain, from an empty machine to a page by its name. It builds Kubernetes first unless that is cached.
    Part("cluster", ("pytest", "-v", "tests/cluster"), needs="go", root=True, limit=4800),
    Part("integration", ("pytest", "-v", "tests/integration"), root=True, limit=2400),
    Part("nodes", ("pytest", "-v", "tests/nodes"), needs="linux.uml", root=True, limit=3600),
    Part("kernel", ("tools/kernel", "pytest", "-v", "tests/kernel"), needs="linux.uml", root=True, limit=2400),
    Part("api", ("pytest", "-v", "tests/api"), needs="go", root=True, limit=2400),
    Part("sanity", ("tools/sanity",), limit=900),
    *(
        Part("molecule-" + name, ("tools/molecule", "test", "-s", name), needs="podman", root=True, limit=900)
        for name in sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    ),
    # The README's commands in a fresh clone.
    Part("readme", ("pytest", "-v", "tests/readme"), root=True),
    Part("demo", ("tools/demo-test",), root=True),
    Part("demo-ja", ("tools/demo-test", "ja"), root=True),
    Part("demo-nftables", ("env", "DATAPLANE=nftables", "tools/demo-test"), root=True),
)


def say(text: str, output: IO[str] | None = None) -> None:
    """Print whole lines with one call, so that no other thread writes in between."""
    output = output or sys.stdout
    output.write(text + "\n")
    output.flush()


def count(results: Path) -> Counts:
    """The counts in a folder's JUnit files; every test framework used here writes such files."""
    total = Counts()
    for report in sorted(results.glob("**/*.xml")):
        for case in ElementTree.parse(report).iter("testcase"):
            failed = case.find("failure") is not None or case.find("error") is not None
            skipped = case.find("skipped") is not None
            total += Counts(int(not failed and not skipped), int(failed), int(skipped and not failed))
    return total


def durations(part: Part, results: Path) -> list[tuple[float, str]]:
    """The name of each test, and its seconds including setup and teardown."""
    return [
        (float(case.get("time") or 0), "%s: %s.%s" % (part.name, case.get("classname"), case.get("name")))
        for report in results.glob("**/*.xml")
        for case in ElementTree.parse(report).iter("testcase")
    ]


def command(part: Part, results: Path) -> list[str]:
    """The argument list of the part, with its environment."""
    environment = {
        "PATH": "%s:%s" % (BIN, os.environ.get("PATH", "")),
        # pytest, also if started by molecule, writes its counts into RESULTS; so does tools/sanity.
        "PYTEST_ADDOPTS": "%s -p pytest_results" % os.environ.get("PYTEST_ADDOPTS", ""),
        "PYTHONPATH": str(ROOT / "tools"),
        "RESULTS": str(results),
    }
    as_root = ["sudo", "-H"] if part.root and os.geteuid() != 0 else []
    if as_root:
        # Bytecode that root writes into the tree could not be deleted by the user.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment["CI"] = os.environ.get("CI", "")
    return [*as_root, "env", *("%s=%s" % item for item in environment.items()), *part.argv]


def run(part: Part, output: IO[str] | None = None) -> Counts:
    """Run a part and count its tests; print its output live, or into `output` if given.

    A part without counts counts as one test; a part that fails without a failed test counts as one more.
    """
    if part.needs and not shutil.which(part.needs):
        hint = "get it from https://go.dev/dl" if part.needs == "go" else "`make setup PROFILE=test` installs it"
        say("%s is not installed: %s." % (part.needs, hint), output)
        return Counts(skipped=1)
    with tempfile.TemporaryDirectory(prefix="results-") as folder:
        process = subprocess.Popen(command(part, Path(folder)), cwd=ROOT, stdout=output, stderr=output, text=True)
        try:
            rc = process.wait(timeout=part.limit)
        except subprocess.TimeoutExpired:
            said = "%s did not end within %g s%s." % (part.name, part.limit, running(Path(folder)))
            say(said, output)
            rc = end(process)
        counts = count(Path(folder))
        TESTS.extend(durations(part, Path(folder)))
    if rc != 0 and counts.failed == 0:
        counts += Counts(failed=1)
    return counts if sum(counts) else Counts(passed=1)


def running(results: Path) -> str:
    """The name of the current test of a part, for a message."""
    names = [path.read_text(encoding="utf-8").strip() for path in results.glob(RUNNING)]
    return "; it was in %s" % names[0] if names else ""


def end(process: subprocess.Popen[str]) -> int:
    """Interrupt a process as Ctrl-C does, so that it cleans up; kill it if it does not end."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return 1


def report(part: Part, counts: Counts, seconds: float) -> None:
    """Print the last line of a part."""
    PARTS.append((seconds, part.name))
    say("==> %-12s %6.1f s  %s" % (part.name, seconds, counts))


def run_quietly(part: Part) -> tuple[Part, Counts, float, str]:
    """Run a part, and return its output when it has ended."""
    say("==> %s: %s" % (part.name, " ".join(part.argv)))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        start = time.monotonic()
        counts = run(part, output)
        output.seek(0)
        return part, counts, time.monotonic() - start, output.read()


def run_alone(part: Part) -> dict[str, Counts]:
    """Run one part with live output."""
    start = time.monotonic()
    counts = run(part)
    report(part, counts, time.monotonic() - start)
    return {part.name: counts}


def run_at_once(parts: list[Part]) -> dict[str, Counts]:
    """Run parts in parallel, and print the whole output of each one when it ends.

    One part more than there are processors: each part sometimes waits for timers and the network.
    """
    done = {}
    pool = ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1)
    try:
        for ended in as_completed([pool.submit(run_quietly, part) for part in parts]):
            part, counts, seconds, text = ended.result()
            # A linter without findings has no output of interest.
            if counts.failed or counts.skipped or part not in CHECK or part.name == "unit":
                say(text.rstrip())
            report(part, counts, seconds)
            done[part.name] = counts
    finally:
        # An interrupt ends the running parts; the others do not start.
        pool.shutdown(cancel_futures=True)
    return done


def print_times() -> None:
    """Print the time of each part, and the slowest tests."""
    for title, times in (("The parts", PARTS), ("The slowest tests", TESTS)):
        print("%s, in seconds:" % title)
        for seconds, name in sorted(times, reverse=True)[:SLOWEST]:
            print("%8.1f  %s" % (seconds, name))


def main(names: list[str]) -> int:
    """Run the parts on the command line and print the sum of their counts."""
    known = {part.name for part in CHECK + SLOW}
    tiers = {
        "check": {part.name for part in CHECK},
        "test": known,
        "molecule": {name for name in known if name.startswith("molecule-")},
    }
    wanted: set[str] = set()
    for name in names:
        wanted |= tiers.get(name, {name})
    if not wanted or wanted - known:
        print("usage: tools/run_tests.py check | test | %s" % " | ".join(sorted(known)), file=sys.stderr)
        return 2
    # A program started in the background ignores interrupts by inheritance, but parts are ended by an interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parts = [part for part in CHECK + SLOW if part.name in wanted]
    done = run_at_once(parts) if len(parts) > 1 else run_alone(parts[0])
    total = sum(done.values(), Counts())
    for name, counts in done.items():
        if counts.failed or counts.skipped:
            print("%s: %s" % (name, counts))
    if os.environ.get("CI") == "true" and total.skipped:
        print("In CI nothing may be skipped: %d skipped tests count as failed." % total.skipped)
        total = Counts(total.passed, total.failed + total.skipped, 0)
    print_times()
    print("%.0f s in all" % (time.monotonic() - STARTED))
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
