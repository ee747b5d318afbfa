# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of the module app and of the filter app_manifest have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of an application beside its name and image, used as `homelab.loadbalancer.app`."""

    DOCUMENTATION = r"""
options:
  namespace:
    description: The namespace, which must exist.
    type: str
    default: default
  replicas:
    description:
      - How many pods. V(null) leaves them to somebody else, such as a HorizontalPodAutoscaler.
    type: raw
    default: 1
  strategy:
    description:
      - How pods are replaced. With C(RollingUpdate) those of before work until new ones are ready; with C(Recreate)
        they end first.
      - C(auto) is C(RollingUpdate), and C(Recreate) where a volume of O(volumes) is written that is meant for one pod,
        a claim without C(ReadWriteMany) or a C(host_path).
    type: str
    choices: [auto, RollingUpdate, Recreate]
    default: auto
  ports:
    description:
      - The ports of the Service. Each is a number, or a mapping of C(port), C(target_port) (of the pods, default
        C(port)), C(protocol) (C(tcp), C(udp) or C(sctp), default C(tcp)), C(name) (default C(tcp-80) for 80/tcp) and
        C(node_port) (by default the cluster chooses it).
      - Without any there is no Service.
    type: list
    elements: raw
    default: [{port: 80, target_port: 8080}]
  command:
    description: The program, in place of the image's.
    type: list
    elements: str
    default: []
  args:
    description: The program's arguments, in place of the image's.
    type: list
    elements: str
    default: []
  env:
    description:
      - Variables of the program. A value is a text, or a mapping of one of C(secretKeyRef), C(configMapKeyRef),
        C(fieldRef), C(resourceFieldRef) to what Kubernetes has there.
    type: dict
    default: {}
  config:
    description: Files by their names, each a text. When one changes, the pods are replaced.
    type: dict
    default: {}
  config_path:
    description: The folder in which the program finds the files of O(config). By default C(/etc/) and the name.
    type: str
    default: ''
  writable_paths:
    description: Folders to which the program may write. They are empty when it starts, and lost with the pod.
    type: list
    elements: str
    default: [/tmp]
  volumes:
    description:
      - Where the program keeps data and finds files, a list of mappings of C(name), C(path) (where the container sees
        it), C(read_only) (default V(false)), C(sub_path) (only this folder or file of it), and exactly one source.
      - "C(claim) makes a PersistentVolumeClaim, called by the application and the volume: C(size), such as V(5Gi),
        C(storage_class) (default that of the cluster; V('') for none), C(access_modes) (default
        C([ReadWriteOnce])), and C(keep). It stays when the application or the entry goes, unless C(keep) is
        V(false)."
      - C(existing_claim) is the name of one that is there.
      - "C(host_path) is a path of the node, or a mapping of C(path) and C(type), as Kubernetes has it, by default
        C(Directory), which must be there."
      - "C(empty_dir) is lost with the pod: C({}), or a mapping of C(medium) (C(Memory)) and C(size_limit)."
      - "C(config_map) is the name of one, or a mapping of C(name) and C(items) (its keys, and the paths of their
        files), or a mapping of C(files) (names and texts), of which one is made. C(secret) is the name of one, or a
        mapping of C(name) and C(items). Both are read-only."
    type: list
    elements: dict
    default: []
  readiness_probe:
    description:
      - How the kubelet sees whether a pod is ready for connections. A mapping of C(type) (C(tcp) connects, C(http)
        wants a status below 400, C(exec) runs a program, C(none)), C(port) (of the pod, default the first tcp port),
        C(path) (for C(http), default C(/)), C(command) (for C(exec)), C(delay), C(interval) and C(timeout) in seconds,
        and C(retries). What is left out is as Kubernetes has it.
      - Empty stands for C(tcp) where there is a tcp port.
    type: dict
    default: {}
  liveness_probe:
    description: How the kubelet sees that a container must be restarted, written as O(readiness_probe). Empty is none.
    type: dict
    default: {}
  startup_probe:
    description: What must succeed before the other probes count, written as O(readiness_probe). Empty is none.
    type: dict
    default: {}
  drain:
    description:
      - How many seconds a pod goes on serving when it is to stop, before the program is told. So long nodes may take to
        hear of it, and may still send connections. V(0) tells it at once, and is needed before Kubernetes 1.30.
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
      - An image that names no other user than root needs C(runAsUser) here.
      - C(fsGroup) and the other fields that only a pod has become the pod's. With O(volumes) C(fsGroup) is by default
        C(runAsGroup), C(runAsUser) or 65532, so that the program may write to a new volume.
    type: dict
    default: {}
  service_account:
    description: The service account whose token the pods get. Without one they get no token.
    type: str
    default: ''
  image_pull_secrets:
    description: Secrets with which the nodes may read the image.
    type: list
    elements: str
    default: []
  node_selector:
    description: Labels of the nodes on which pods may run.
    type: dict
    default: {}
  tolerations:
    description: Taints of nodes that the pods tolerate, as Kubernetes has them.
    type: list
    elements: dict
    default: []
  labels:
    description: More labels of the objects and pods.
    type: dict
    default: {}
  annotations:
    description: Annotations of the objects.
    type: dict
    default: {}
  service_type:
    description: Who reaches the Service.
    type: str
    choices: [ClusterIP, NodePort, LoadBalancer]
    default: ClusterIP
  load_balancer_ips:
    description: The address that MetalLB is to give the Service, or two, one a family. Without any it chooses one.
    type: list
    elements: str
    default: []
  load_balancer_class:
    description: Which load balancer is to serve the Service. It cannot be changed later.
    type: str
    default: ''
  load_balancer_source_ranges:
    description: Networks whose hosts may connect to the load balancer's address. Without any, all.
    type: list
    elements: str
    default: []
  external_traffic_policy:
    description:
      - With V(Local) a node passes connections to its own pods only, which see the client's address.
    type: str
    choices: [Cluster, Local]
    default: Cluster
"""
