# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options by which the modules for Kubernetes find the API server."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `extends_documentation_fragment: homelab.loadbalancer.kubernetes`."""

    DOCUMENTATION = r"""
requirements:
  - The Python package kubernetes >= 24.2.0 on the host
options:
  kubeconfig:
    description:
      - The kubeconfig on the host. Without one, what M(kubernetes.core.k8s) finds by itself.
    type: str
    default: ''
  context:
    description:
      - The context of the kubeconfig. Without one, its current context.
    type: str
    default: ''
"""
