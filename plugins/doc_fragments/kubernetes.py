# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that several modules for Kubernetes share."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `extends_documentation_fragment: homelab.loadbalancer.kubernetes` or `...kubernetes.reading`.

    DOCUMENTATION -- the options that find the API server
    DECLARING -- the attributes of modules that declare objects
    APPLYING -- the options of modules that apply lists of objects
    READING -- the attributes of modules that only read
    """

    DOCUMENTATION = r"""
notes:
  - If the host of the task is the control node, Ansible's own process sends the requests to the API server. Otherwise
    the module M(homelab.loadbalancer.k8s_request) sends them from that host.
requirements:
  - The Python package kubernetes >= 24.2.0, < 38, on the host of the task
  - With O(eks), the Python package botocore on the control node
options:
  kubeconfig:
    description:
      - Path of the kubeconfig on the host. If empty, the first of E(K8S_AUTH_KUBECONFIG), the service account of a
        pod, E(KUBECONFIG) and C(~/.kube/config) is used.
      - The default is the variable C(k8s_kubeconfig).
    type: raw
    default: ''
  context:
    description:
      - The context of the kubeconfig. If empty, its current context.
      - The default is the variable C(k8s_context).
    type: str
    default: ''
  prefix:
    description:
      - Prefix of option names in error messages. A role sets it to the prefix of its variables.
    type: str
    default: ''
  eks:
    description:
      - An Amazon EKS cluster to log in to with AWS IAM, instead of a kubeconfig. The AWS credentials are those of the
        control node, found as the AWS CLI finds them. All tasks of a run share one login for seven minutes.
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
          - The AWS region. If empty, that of the AWS configuration.
        type: str
      profile:
        description:
          - The profile of the AWS configuration. If empty, E(AWS_PROFILE) or the default profile.
        type: str
      role_arn:
        description:
          - The ARN of a role to assume for looking up the cluster and logging in to it.
        type: str
      external_id:
        description:
          - The external ID that the trust policy of the role requires, if it belongs to another AWS account.
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
      - An object cannot be tried before its namespace and kind exist. In check mode it counts as created.
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
      - Whether the objects exist. V(absent) removes them in reverse order, and waits until they and their pods are
        gone.
    type: str
    choices: [present, absent]
    default: present
  field_manager:
    description:
      - The field manager, the name by which the API server records the fields that this module owns.
    type: str
    default: homelab.loadbalancer
  force_conflicts:
    description:
      - Whether to take over fields that another manager owns with a different value. Otherwise they are an error that
        names the other manager.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait up to O(timeout) seconds until the Deployments, DaemonSets and StatefulSets among the objects
        have rolled out, as M(homelab.loadbalancer.k8s_rollout) does. Check mode does not wait.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for a CustomResourceDefinition to be established, for each object that is removed, and
        with O(wait) for all pods together.
    type: int
    default: 120
"""

    READING = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - The module changes nothing.
  diff_mode:
    support: none
    details:
      - The module changes nothing.
  idempotent:
    support: full
"""
