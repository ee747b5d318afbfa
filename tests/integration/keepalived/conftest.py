# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests in this folder need keepalived."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(autouse=True, scope="module")
def _keepalived() -> None:
    if not shutil.which("keepalived", path="/usr/sbin:/usr/local/sbin"):
        pytest.skip("keepalived is not installed: `make setup PROFILE=test` installs it")
