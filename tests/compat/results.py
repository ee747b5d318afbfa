# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test ran, for the table of docs/systems.md."""

from __future__ import annotations

from typing import Callable

# The system, what ran, and the versions of the programs.
Record = Callable[[str, str, str], None]
