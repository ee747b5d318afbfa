# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented return values of modules."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import yaml

MODULES = Path(__file__).resolve().parents[3] / "plugins/modules"


@functools.lru_cache(maxsize=None)
def documented(module: str) -> dict[str, Any]:
    """The values that a module documents, by name."""
    for node in ast.parse((MODULES / (module + ".py")).read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "RETURN":
            return yaml.safe_load(ast.literal_eval(node.value)) or {}
    return {}
