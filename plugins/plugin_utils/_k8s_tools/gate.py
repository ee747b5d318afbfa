# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Allow the tools to write to a cluster only with the user's permission."""

from __future__ import annotations

from ...module_utils._common.errors import InputError

CLOSED = (
    "nothing was sent to the API server, because writes to the cluster are disabled: set k8s_allow_write: true "
    "(-e k8s_allow_write=true; of a module, allow_write: true), or try it with --check, which writes nothing"
)


def refuse_writing(allowed: bool, check_mode: bool) -> None:
    """InputError unless writes are allowed. A dry run writes nothing."""
    if not allowed and not check_mode:
        raise InputError(CLOSED)
