# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of several modules for Kubernetes has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `extends_documentation_fragment: homelab.loadbalancer.kubernetes` or `...kubernetes.reading`.

    DOCUMENTATION -- the options by which all of them find the API server
    DECLARING -- the attributes of those that bring a cluster to what is declared
    APPLYING -- the options of those that apply lists of objects
    READING -- the attributes of those that only read
    """

    DOCUMENTATION = r"""
notes:
  - The API server is asked by the process of Ansible itself where the host of the task is the control node, and
    otherwise by a module on that host, M(homelab.loadbalancer.k8s_request).
requirements:
  - The Python package kubernetes >= 24.2.0, < 38, on the control node where the host of the task is that, otherwise on
    the host
  - With O(eks), the Python package botocore on the control node
options:
  kubeconfig:
    description:
      - The path of a kubeconfig on the host. Without one it is that of E(K8S_AUTH_KUBECONFIG), in a pod the token of
        its service account, that of E(KUBECONFIG), or C(~/.kube/config).
      - The default is the variable C(k8s_kubeconfig).
    type: raw
    default: ''
  context:
    description:
      - The context of the kubeconfig. Without one, its current context.
      - The default is the variable C(k8s_context).
    type: str
    default: ''
  prefix:
    description:
      - What the names of the variables that the options come from begin with, for error messages.
    type: str
    default: ''
  eks:
    description:
      - An Amazon EKS cluster to log in to by AWS IAM, instead of a kubeconfig. The AWS credentials are those of the
        control node, found as the tools of AWS find them. One login serves all tasks of a run, for seven minutes.
      - The default is the variable C(k8s_eks).
    type: dict
    suboptions:
      cluster:
        description:
          - The name of the cluster.
        type: str
        required: true
      region:
        description:
          - The region of AWS. Without one, that of the AWS configuration.
        type: str
      profile:
        description:
          - The profile of the AWS configuration. Without one, the environment variable E(AWS_PROFILE), or the default.
        type: str
      role_arn:
        description:
          - A role to assume, for looking up the cluster and for the login to it.
        type: str
      external_id:
        description:
          - What the trust policy of the role asks for, when it belongs to somebody else.
        type: str
      session_name:
        description:
          - The name of the role's session, as CloudTrail and the cluster's audit log show it.
        type: str
        default: homelab.loadbalancer
"""

    DECLARING = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - An object whose namespace or kind is not there yet cannot be tried. In check mode it counts as one that would be
        created.
  diff_mode:
    support: full
    details:
      - The values of Secrets are never shown.
  idempotent:
    support: full
"""

    APPLYING = r"""
options:
  state:
    description:
      - Whether the objects are to be there. They are removed in the opposite order, and that is awaited, that of pods
        which belong to an object as well.
    type: str
    choices: [present, absent]
    default: present
  field_manager:
    description:
      - The name under which the API server keeps which fields are ours.
    type: str
    default: homelab.loadbalancer
  force_conflicts:
    description:
      - Take over fields that somebody else manages and that have another value. Otherwise that is an error, which names
        the other manager.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until the pods of the Deployments, DaemonSets and StatefulSets among the objects are as declared
        and available, for O(timeout) seconds, as M(homelab.loadbalancer.k8s_rollout) does. Not in check mode.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for a CustomResourceDefinition to be established, for each object to be gone, and with
        O(wait) for all pods together.
    type: int
    default: 120
"""

    READING = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - It changes nothing.
  diff_mode:
    support: none
    details:
      - It changes nothing.
  idempotent:
    support: full
"""
