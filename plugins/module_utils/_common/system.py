# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operating system of the host: most modules need Linux, and a client may run macOS."""

from __future__ import annotations

import os


def name() -> str:
    """The name of the kernel: Linux, or Darwin on macOS."""
    return os.uname().sysname
