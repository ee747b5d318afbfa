# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin: each run writes its own JUnit file into $RESULTS, and the name of the current test into a file.

A part of the test run may start pytest several times, as molecule does in each verify step.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the path of the JUnit file before pytest's own plugin reads it."""
    config.option.xmlpath = os.path.join(os.environ["RESULTS"], "pytest-%d.xml" % os.getpid())


def pytest_runtest_logstart(nodeid: str) -> None:
    """Record the current test, so that it can be named if the run hangs and is ended."""
    Path(os.environ["RESULTS"], "running").write_text(nodeid, encoding="utf-8")
