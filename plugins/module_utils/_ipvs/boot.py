# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore the virtual servers of a file at boot, without ipvsadm.

    python3 -m ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.boot FILE

The virtual servers of the file are created, or changed to match it; all others stay unchanged.
"""

from __future__ import annotations

import sys

from .._common.errors import InputError, NodeError
from . import model as ipvs_model
from . import plan as ipvs


def restore(path: str) -> None:
    """Apply a file in the syntax of `ipvsadm -Sn`."""
    with open(path, encoding="utf-8") as file:
        want = ipvs_model.parse(file.read())
    fronts = {virtual.front for virtual in want}
    ipvs.apply(ipvs.plan(ipvs.read(fronts.__contains__), want))


def main() -> None:
    try:
        restore(sys.argv[1])
    except (InputError, NodeError, OSError) as error:
        raise SystemExit("%s: %s" % (sys.argv[1], error)) from error


if __name__ == "__main__":
    main()
