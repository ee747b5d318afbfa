# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search of the documentation site works in a browser that opened the site as files, without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_search_finds_a_word_in_the_guides_and_in_the_reference(tmp_path: Path) -> None:
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed: `make setup PROFILE=test` installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", "tools/site/mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run([*command, "--site-dir", str(tmp_path / "site")], cwd=ROOT, env=environment, check=True)
    browser = ["unshare", "--net", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    options = ["--user-data-dir=%s" % (tmp_path / "profile"), "--virtual-time-budget=5000", "--dump-dom"]
    page = (tmp_path / "site" / "index.html").as_uri() + "?q=metallb_pool_allow_moves"
    seen = subprocess.run([*browser, *options, page], capture_output=True, text=True, check=True, timeout=120)
    results = set(re.findall(r'<a href="([^"#?]*)[^"]*" class="md-search-result__link"', seen.stdout))
    assert {"metallb.html", "reference/metallb_pool_role.html"} <= {link.rpartition("site/")[2] for link in results}
