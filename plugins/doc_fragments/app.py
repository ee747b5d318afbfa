# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the module app and the filter app_manifest share."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of an application besides its name and image, used as `homelab.loadbalancer.app`."""

    DOCUMENTATION = r"""
options:
  namespace:
    description: The namespace, which must exist.
    type: str
    default: default
  replicas:
    description:
      - Number of pods. With V(null), another controller sets it, such as a HorizontalPodAutoscaler.
    type: raw
    default: 1
  strategy:
    description:
      - How pods are replaced. With C(RollingUpdate), old pods work until new ones are ready. With C(Recreate), old
        pods end first.
      - C(auto) is C(Recreate) if a writable volume can be used by only one pod (a claim without C(ReadWriteMany), or a
        C(host_path)), and otherwise C(RollingUpdate).
    type: str
    choices: [auto, RollingUpdate, Recreate]
    default: auto
  ports:
    description:
      - The ports of the Service. Each is a number, or a mapping of C(port), C(target_port) (of the pods, default
        C(port)), C(protocol) (C(tcp), C(udp) or C(sctp), default C(tcp)), C(name) (default C(tcp-80) for 80/tcp) and
        C(node_port) (by default the cluster chooses it).
      - With an empty list, no Service is made.
    type: list
    elements: raw
    default: [{port: 80, target_port: 8080}]
  command:
    description: The program, instead of the image's entrypoint.
    type: list
    elements: str
    default: []
  args:
    description: The program's arguments, instead of the image's.
    type: list
    elements: str
    default: []
  env:
    description:
      - Environment variables of the program. A value is a text, or a mapping of one of C(secretKeyRef),
        C(configMapKeyRef), C(fieldRef) and C(resourceFieldRef) to its content in Kubernetes's format.
    type: dict
    default: {}
  config:
    description: Configuration files, a mapping of file names to contents. When one changes, the pods are replaced.
    type: dict
    default: {}
  config_path:
    description: The folder where the container sees the files of O(config). The default is C(/etc/) and the
      application's name.
    type: str
    default: ''
  writable_paths:
    description: Folders to which the program may write. They are empty when it starts, and lost with the pod.
    type: list
    elements: str
    default: [/tmp]
  volumes:
    description:
      - Volumes for the program's data and files. Each has a C(name), a C(path) (the mount point in the container),
        C(read_only) (default V(false)), C(sub_path) (mount only this folder or file of the volume), and exactly one of
        the following sources.
      - "C(claim) makes a PersistentVolumeClaim, named after the application and the volume: C(size), such as
        V(5Gi), C(storage_class) (default that of the cluster; V('') for none), C(access_modes) (default
        C([ReadWriteOnce])), and C(keep). The claim stays when the application or the entry is removed, unless C(keep)
        is V(false)."
      - C(existing_claim) is the name of an existing claim.
      - "C(host_path) is a path on the node, or a mapping of C(path) and C(type), one of Kubernetes's types.
        The default C(Directory) must exist."
      - "C(empty_dir) is lost with the pod: C({}), or a mapping of C(medium) (C(Memory)) and C(size_limit)."
      - "C(config_map) is the name of a ConfigMap, a mapping of C(name) and C(items) (its keys and their file
        paths), or a mapping of C(files) (names and contents) from which a ConfigMap is made.
        C(secret) is the name of a Secret, or a mapping of C(name) and C(items). Both are read-only."
    type: list
    elements: dict
    default: []
  readiness_probe:
    description:
      - How the kubelet decides whether a pod is ready for connections. A mapping of C(type) (C(tcp) connects, C(http)
        expects a status below 400, C(exec) runs a program, C(none)), C(port) (of the pod, default the first tcp port),
        C(path) (for C(http), default C(/)), C(command) (for C(exec)), C(delay), C(interval) and C(timeout) in seconds,
        and C(retries). Kubernetes's defaults apply to keys that are left out.
      - If empty, it is C(tcp) if there is a tcp port, and otherwise C(none).
    type: dict
    default: {}
  liveness_probe:
    description: How the kubelet decides to restart a container, written as O(readiness_probe). If empty, there is none.
    type: dict
    default: {}
  startup_probe:
    description: The probe that must succeed before the others count, written as O(readiness_probe). If empty, there is
      none.
    type: dict
    default: {}
  drain:
    description:
      - How many seconds a terminating pod keeps serving before the program gets SIGTERM. During that time, nodes may
        still send it connections. Kubernetes before 1.30 needs V(0), which sends SIGTERM at once.
    type: int
    default: 5
  resources:
    description: "C(requests) and C(limits), each a mapping such as C({cpu: 250m, memory: 64Mi})."
    type: dict
    default: {}
  security_context:
    description:
      - Fields of the container's security context that replace or complete the default ones, which are
        C(allowPrivilegeEscalation) false, C(capabilities) with C(drop) ALL, C(readOnlyRootFilesystem) true,
        C(runAsNonRoot) true and C(seccompProfile) RuntimeDefault.
      - An image that runs as root needs C(runAsUser) here.
      - C(fsGroup) and other fields that exist only for a pod are set on the pod. With O(volumes), the default of
        C(fsGroup) is C(runAsGroup), C(runAsUser) or 65532, so that the program may write to a new volume.
    type: dict
    default: {}
  service_account:
    description: The service account whose token the pods get. If empty, they get no token.
    type: str
    default: ''
  image_pull_secrets:
    description: Secrets for pulling the image.
    type: list
    elements: str
    default: []
  node_selector:
    description: Labels of the nodes on which pods may run.
    type: dict
    default: {}
  tolerations:
    description: Tolerations of the pods, in Kubernetes's format.
    type: list
    elements: dict
    default: []
  labels:
    description: Additional labels of the objects and pods.
    type: dict
    default: {}
  annotations:
    description: Annotations of the objects.
    type: dict
    default: {}
  service_type:
    description: The type of the Service.
    type: str
    choices: [ClusterIP, NodePort, LoadBalancer]
    default: ClusterIP
  load_balancer_ips:
    description: The address that MetalLB gives the Service, or one for each address family. If empty, MetalLB chooses.
    type: list
    elements: str
    default: []
  load_balancer_class:
    description: The load balancer class of the Service. It cannot be changed later.
    type: str
    default: ''
  load_balancer_source_ranges:
    description: Networks that may connect to the load balancer's address. If empty, all.
    type: list
    elements: str
    default: []
  external_traffic_policy:
    description:
      - With V(Local), a node forwards connections only to its own pods, which see the client's address.
    type: str
    choices: [Cluster, Local]
    default: Cluster
"""
