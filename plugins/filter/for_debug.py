# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: for_debug
short_description: Makes multi-line text readable for ansible.builtin.debug
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Ansible prints text of several lines as one escaped line. If it prints results as YAML
    (C(callback_result_format=yaml)), it breaks the lines of a list after 80 characters instead. So this filter returns
    the text for YAML output, and a list of lines otherwise.
  - Control characters in the text, which a hostile node might send, are escaped.
options:
  _input:
    description: The text, or its lines. Each may have several lines itself.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show the log
  ansible.builtin.debug:
    msg: "{{ web.text | homelab.loadbalancer.for_debug }}"
"""

RETURN = r"""
_value:
  description: The lines, or the text.
  type: raw
"""

from typing import Any, Callable, Sequence

from ansible import constants
from ansible.errors import AnsibleError

from ..module_utils._common.printable import printable


def _printed_as_yaml() -> bool:
    """Whether the default callback prints results as YAML."""
    try:
        setting = constants.config.get_config_value("result_format", plugin_type="callback", plugin_name="default")
    except AnsibleError:  # another callback prints the results
        return False
    return str(setting) == "yaml"


def for_debug(text: str | Sequence[str]) -> str | list[str]:
    """The text in the form that the current callback prints readably."""
    lines = printable(text if isinstance(text, str) else "\n".join(map(str, text))).split("\n")
    lines = [line.rstrip() for line in lines]
    return "\n".join(lines) if _printed_as_yaml() else lines


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"for_debug": for_debug}
