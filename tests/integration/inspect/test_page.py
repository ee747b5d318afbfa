# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of an inspection in a browser, headless Chromium: what it shows, and what it does not run."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.homelab.loadbalancer.plugins.filter.inspect_page import inspect_page
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._inspect.html import shown
from ansible_collections.homelab.loadbalancer.tests.unit.inspect import inspect_dom, inspect_reports
from ansible_collections.homelab.loadbalancer.tests.unit.inspect.test_page import SAMPLES, check_tables

# Seconds; fifty hosts take four on an idle machine.
LIMIT = 120


class Seen(NamedTuple):
    """What the browser made of a page: its document, and what it has to say against it"""

    dom: str
    console: list[str]


class Browser:
    """Headless Chromium, started anew for each page, with a profile that is thrown away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def run(self, page: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Open a page from a file."""
        self.count += 1
        path = self.folder / ("page%d.html" % self.count)
        path.write_text(page, encoding="utf-8")
        argv = [
            # The tests run as root, for whom Chromium has no sandbox.
            *["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            *["--user-data-dir=%s" % (self.folder / ("profile%d" % self.count)), "--enable-logging=stderr"],
            *["--no-first-run", "--disable-background-networking", "--hide-scrollbars", *options, path.as_uri()],
        ]
        pipe = subprocess.PIPE
        # In a session of its own, so that its many processes can be ended by the one id.
        with subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
            try:
                out, err = process.communicate(timeout=LIMIT)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        assert process.returncode == 0, err
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def open(self, page: str, *options: str) -> Seen:
        """The document after its scripts have run."""
        done = self.run(page, "--dump-dom", "--virtual-time-budget=3000", *options)
        return Seen(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])

    def screenshot(self, page: str, *options: str) -> Path:
        """A picture of the top of the page, as a PNG file."""
        path = self.folder / ("page%d.png" % self.count)
        self.run(page, "--screenshot=%s" % path, *options)
        return path


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed: `make setup PROFILE=test` installs it")
    return Browser(tmp_path)


def with_script(page: str, code: str) -> str:
    """The page with one script more, which its policy is made to allow."""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    allowed = page.replace("script-src '", "script-src 'sha256-%s' '" % digest, 1)
    return allowed.replace("</body>", "<script>%s</script></body>" % code)


def said(seen: Seen) -> Any:
    """What a script of ours left in the document."""
    found = re.search('<body data-said="([^"]*)"', seen.dom)
    assert found, seen
    return json.loads(html.unescape(found[1]))


MEASURE = """
const cut = [];
document.querySelectorAll('svg g').forEach(function (group) {
  const frame = Array.from(group.children).find(child => child.tagName === 'rect');
  const texts = Array.from(group.querySelectorAll('text'));
  if (!frame) { return; }
  const room = frame.getBBox();
  texts.forEach(function (text) {
    const box = text.getBBox();
    const inside = box.x >= room.x && box.x + box.width <= room.x + room.width &&
      box.y >= room.y - 1 && box.y + box.height <= room.y + room.height + 1;
    if (!inside) { cut.push(text.textContent); }
  });
});
const texts = document.querySelectorAll('svg text').length;
document.body.dataset.said = JSON.stringify({cut: cut, texts: texts, wide: document.documentElement.scrollWidth});
"""


@pytest.mark.parametrize("name", ["host", "routed", "bridged", "failed", "hostile", "nothing", "tangled", "many"])
def test_the_browser_shows_what_the_reports_say(name: str, browser: Browser) -> None:
    """No text of the picture is cut in the fonts that are here, and the page is no wider than the window."""
    documents, cluster = SAMPLES[name]
    seen = browser.open(with_script(inspect_page(documents, cluster), MEASURE), "--window-size=1366,900")
    assert seen.console == []
    count = len(documents)
    assert inspect_dom.read(seen.dom).title == "Network of %d host%s" % (count, "" if count == 1 else "s")
    check_tables(seen.dom, documents, cluster)
    assert not re.search("<form [^>]*hidden", seen.dom)
    measured = said(seen)
    assert measured["cut"] == []
    assert measured["texts"] > 10 or name in ("failed", "nothing")
    assert measured["wide"] <= 1366


TOUCH = """
document.querySelectorAll('*').forEach(function (one) {
  ['mouseover', 'focus', 'load', 'error'].forEach(name => one.dispatchEvent(new Event(name)));
});
"""


def test_scripts_in_hostile_reports_do_not_run(browser: Browser) -> None:
    """Not even where the page's policy does not stop it."""
    documents, cluster = SAMPLES["hostile"]
    page = inspect_page(documents, cluster)
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert bare != page
    seen = browser.open(with_script(bare, TOUCH))
    assert seen.console == []
    found = inspect_dom.read(seen.dom)
    assert found.title == "Network of 2 hosts"
    assert not found.tags & {"img", "iframe"}
    assert not [key for key in found.attributes if key.startswith("on")]
    text = html.unescape(seen.dom)
    assert all(shown(one) in text for one in inspect_reports.HOSTILE)
    check_tables(seen.dom, documents, cluster)


INTRUDERS = (
    "<script>document.title='owned'</script>",
    "<img src='data:image/png;base64,x' onerror=\"document.title='owned'\">",
    "<iframe src=\"javascript:parent.document.title='owned'\"></iframe>",
)


def test_the_policy_stops_scripts_that_are_not_the_page_s_own(browser: Browser) -> None:
    seen = browser.open(inspect_page(*SAMPLES["host"]).replace("</body>", "".join(INTRUDERS) + "</body>"))
    assert inspect_dom.read(seen.dom).title == "Network of 1 host"
    refused = [line for line in seen.console if "Content Security Policy directive 'script-src" in line]
    assert len(refused) == len(INTRUDERS)


FIND = """
const field = document.getElementById('find');
field.value = 'CONTROLLER-58fdf44d87-tgp79';
field.dispatchEvent(new Event('input'));
setTimeout(function () {
  const rows = Array.from(document.querySelectorAll('tbody tr'));
  const seen = rows.filter(row => row.checkVisibility()).map(row => row.textContent);
  const count = document.querySelector('output').textContent;
  field.value = '';
  field.dispatchEvent(new Event('input'));
  setTimeout(function () {
    const again = rows.filter(row => row.checkVisibility()).length;
    const open = Array.from(document.querySelectorAll('details'), one => one.open);
    document.body.dataset.said = JSON.stringify({seen: seen, count: count, again: again, all: rows.length, open: open});
  }, 500);
}, 500);
"""


def test_search_finds_rows(browser: Browser) -> None:
    found = said(browser.open(with_script(inspect_page(*SAMPLES["bridged"]), FIND)))
    assert found["seen"]
    assert all("controller-58fdf44d87-tgp79" in row for row in found["seen"])
    assert found["count"] == "%d rows" % len(found["seen"])
    # Of each of three hosts: its namespace, the host's end of the veth pair, two links, two routes, a neighbour and
    # the container; and the pod in the cluster.
    assert len(found["seen"]) == 3 * (1 + 1 + 2 + 2 + 1 + 1 + 1)
    assert found["again"] == found["all"]
    assert all(found["open"])


def test_search_finds_rows_in_folded_tables(browser: Browser) -> None:
    documents, cluster = SAMPLES["many"]
    found = said(browser.open(with_script(inspect_page(documents, cluster), FIND)))
    assert len(found["seen"]) == 10 * (1 + 1 + 2 + 2 + 1 + 1 + 1)
    assert found["open"] == [False] * 10 + [True]


def test_page_is_complete_without_scripts(browser: Browser) -> None:
    documents, cluster = SAMPLES["routed"]
    page = inspect_page(documents, cluster)
    seen = browser.open(re.sub("script-src '[^']*'", "script-src 'none'", page))
    assert any("Content Security Policy" in line for line in seen.console)
    check_tables(seen.dom, documents, cluster)
    # What does nothing without the script does not show.
    assert re.search("<form [^>]*hidden", seen.dom)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_rendered(scheme: str, browser: Browser) -> None:
    dark = ("--blink-settings=preferredColorScheme=0",) if scheme == "dark" else ()
    lines = pixels(browser.screenshot(inspect_page(*SAMPLES["bridged"]), "--window-size=1366,900", *dark))
    assert len(lines) == 900
    assert len(set(lines)) > 300
    # The first pixel is not compressed: the page's paper.
    assert (sum(lines[0][1:4]) < 3 * 100) == (scheme == "dark")


def pixels(path: Path) -> list[bytes]:
    """The lines of a PNG file, as they are compressed: a line like the one above it is all zeros."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert (depth, kind in (2, 6)) == (8, True)
    body, place = b"", 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            body += data[place + 8 : place + 8 + length]
        place += length + 12
    raw = zlib.decompress(body)
    stride = 1 + width * (3 if kind == 2 else 4)
    assert len(raw) == height * stride
    return [raw[begin : begin + stride] for begin in range(0, len(raw), stride)]


def test_fifty_hosts_are_shown(browser: Browser) -> None:
    documents, cluster = inspect_reports.cluster_of(50, 30)
    seen = browser.open(inspect_page(documents, cluster))
    assert seen.console == []
    assert seen.dom.count('class="pod netns"') == 1500
