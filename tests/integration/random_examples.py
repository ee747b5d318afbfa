# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of random examples that take seconds each."""

from __future__ import annotations

import os
from typing import Callable, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


def try_examples(count: int, examples: SearchStrategy[T], test: Callable[[T], None]) -> None:
    """Run a test with random examples, the same in every run unless HYPOTHESIS_SEED is in the environment."""
    limits = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a smaller example would take minutes to find
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    seed(int(os.environ.get("HYPOTHESIS_SEED", "1")))(limits(given(examples)(test)))()
