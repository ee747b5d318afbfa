# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin: each run leaves a JUnit file of its own in $RESULTS, and there the name of the test that runs.

One part of the test run may start pytest several times, as molecule does for each of its verify steps.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Say where the JUnit file goes, before pytest's own plugin looks."""
    config.option.xmlpath = os.path.join(os.environ["RESULTS"], "pytest-%d.xml" % os.getpid())


def pytest_runtest_logstart(nodeid: str) -> None:
    """Note which test runs, for who must end a run that hangs."""
    Path(os.environ["RESULTS"], "running").write_text(nodeid, encoding="utf-8")
