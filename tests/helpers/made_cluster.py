"""A made cluster for diagnoses: the testbed's shape, healthy and measured, and ways to break it by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from chaosext.diagnose.cluster_sight import KINDS, ClusterSight, sight_of
from chaosext.rehearsal.snapshot.snapshot_files import listed_of

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
DNS_IP, LEAF = "10.2.112.10", "172.18.0.9"
CP, W1, W2 = "cp", "w1", "w2"
IPS = {CP: "172.18.0.2", W1: "172.18.0.3", W2: "172.18.0.4"}


def at(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")


class MadeCluster:
    """Change its parts, then ask for `sight()`."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {
            kind: []
            for kind in (
                *KINDS,
                "Namespace",
                "BGPPeer",
                "BGPConfiguration",
                "IPPool",
                "MutatingWebhookConfiguration",
            )
        }
        self.missed: dict[str, str] = {}
        self.sights: dict[str, dict[str, Any]] = {}
        self.blind: dict[str, str] = {}
        self.api = ""
        self.checks: dict[str, list[tuple[str, str, str]]] = {
            "dns_resolvable": [],
            "bgp_established": [],
            "xds_synced": [],
            "nodes_reach_pods": [],
        }
        for name in IPS:
            self.node(name)
        self._calico()
        self.workload("Deployment", "kube-system", "coredns", {"k8s-app": "kube-dns"}, [W1, W2], created=9000)
        self.service("kube-system", "kube-dns", {"k8s-app": "kube-dns"}, DNS_IP)
        self.workload("Deployment", "istio-system", "istiod", {"app": "istiod"}, [W1], created=9000)
        self.service("istio-system", "istiod", {"app": "istiod"}, "10.2.112.20")
        self.workload("Deployment", "shop", "cart", {"app": "cart"}, [W1, W2], created=9000, injected=True)
        self.service("shop", "cart", {"app": "cart"}, "10.2.112.30")
        self.service("default", "kubernetes", {}, "10.2.112.1")
        self.measure()

    # -- objects ---------------------------------------------------------------------------------------------------

    def add(self, kind: str, api: str, meta: dict[str, Any], **more: Any) -> dict[str, Any]:
        made = {"apiVersion": api, "kind": kind, "metadata": meta, **more}
        self.objects[kind].append(made)
        return made

    def node(self, name: str) -> None:
        labels = {"node-role.kubernetes.io/control-plane": ""} if name == CP else {}
        taints = (
            [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}] if name == CP else []
        )
        self.add(
            "Node",
            "v1",
            {"name": name, "labels": labels},
            spec={"taints": taints},
            status={
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(9000)}],
                "addresses": [{"type": "InternalIP", "address": IPS[name]}],
                "nodeInfo": {"kubeletVersion": "v1.34.4"},
            },
        )
        meta = {"name": name, "namespace": "kube-node-lease"}
        self.add(
            "Lease", "coordination.k8s.io/v1", meta, spec={"renewTime": at(4), "leaseDurationSeconds": 40}
        )

    def _calico(self) -> None:
        api = "crd.projectcalico.org/v1"
        self.add(
            "BGPPeer",
            api,
            {"name": "leaf"},
            spec={"peerIP": LEAF, "nodeSelector": "!has(node-role.kubernetes.io/control-plane)"},
        )
        self.add("BGPConfiguration", api, {"name": "default"}, spec={"nodeToNodeMeshEnabled": False})
        self.add("IPPool", api, {"name": "pool"}, spec={"cidr": "10.244.0.0/16", "ipipMode": "Never"})
        self.workload(
            "DaemonSet", "kube-system", "calico-node", {"k8s-app": "calico-node"}, [CP, W1, W2], created=9000
        )

    def workload(
        self,
        kind: str,
        namespace: str,
        name: str,
        labels: dict[str, str],
        nodes: list[str],
        *,
        created: float,
        injected: bool = False,
        wanted: int | None = None,
        **status: Any,
    ) -> None:
        """A workload with one Pod on each of `nodes`, all Ready, created so many seconds ago."""
        wanted = len(nodes) if wanted is None else wanted
        meta = {"name": name, "namespace": namespace, "generation": 1}
        numbers: dict[str, Any] = {
            "Deployment": {
                "replicas": len(nodes),
                "updatedReplicas": len(nodes),
                "availableReplicas": len(nodes),
                "conditions": [{"type": "Available", "status": "True", "lastTransitionTime": at(created)}],
            },
            "StatefulSet": {
                "replicas": len(nodes),
                "readyReplicas": len(nodes),
                "currentRevision": "a",
                "updateRevision": "a",
            },
            "DaemonSet": {
                "desiredNumberScheduled": wanted,
                "numberAvailable": len(nodes),
                "updatedNumberScheduled": wanted,
            },
        }[kind]
        self.add(
            kind,
            "apps/v1",
            meta,
            spec={"replicas": wanted},
            status={"observedGeneration": 1, **numbers, **status},
        )
        owner = {"kind": kind, "name": name, "controller": True}
        if kind == "Deployment":
            own = {"name": f"{name}-66bc", "namespace": namespace, "ownerReferences": [owner]}
            self.add("ReplicaSet", "apps/v1", own, spec={"replicas": wanted}, status={"replicas": len(nodes)})
            owner = {"kind": "ReplicaSet", "name": f"{name}-66bc", "controller": True}
        for number, node in enumerate(nodes):
            self.pod(namespace, f"{name}-{number}", node, labels, owner, created=created, injected=injected)

    def pod(
        self,
        namespace: str,
        name: str,
        node: str,
        labels: dict[str, str],
        owner: dict[str, Any] | None = None,
        *,
        created: float = 9000,
        injected: bool = False,
    ) -> dict[str, Any]:
        containers = [
            {"name": "main", "ports": [{"containerPort": 8080}]},
            *([{"name": "istio-proxy"}] if injected else []),
        ]
        tolerations = [
            {
                "key": f"node.kubernetes.io/{why}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
            for why in ("not-ready", "unreachable")
        ]
        return self.add(
            "Pod",
            "v1",
            {
                "name": name,
                "namespace": namespace,
                "uid": f"{namespace}-{name}",
                "labels": labels,
                "creationTimestamp": at(created),
                "ownerReferences": [owner] if owner else [],
            },
            spec={"nodeName": node, "containers": containers, "tolerations": tolerations},
            status={
                "phase": "Running",
                "podIP": self._ip(node),
                "startTime": at(created),
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(created - 5)}],
                "containerStatuses": [
                    {"name": each["name"], "ready": True, "restartCount": 0, "state": {"running": {}}}
                    for each in containers
                ],
            },
        )

    def _ip(self, node: str) -> str:
        return f"10.244.{list(IPS).index(node) if node in IPS else 9}.{len(self.objects['Pod']) + 5}"

    def service(self, namespace: str, name: str, selector: dict[str, str], ip: str) -> None:
        spec = {"clusterIP": ip, "selector": selector, "ports": [{"port": 53 if "dns" in name else 80}]}
        self.add("Service", "v1", {"name": name, "namespace": namespace}, spec=spec)

    def event(self, reason: str, involved: str, message: str, *, ago: float, kind: str = "Warning") -> None:
        first, *rest = involved.split("/")
        ref = {"kind": first, "name": rest[-1], **({"namespace": rest[0]} if len(rest) > 1 else {})}
        name = f"e{len(self.objects['Event'])}"
        self.add(
            "Event",
            "v1",
            {"name": name, "namespace": "default"},
            involvedObject=ref,
            reason=reason,
            message=message,
            type=kind,
            firstTimestamp=at(ago),
            lastTimestamp=at(ago),
        )

    def find(self, kind: str, name: str) -> dict[str, Any]:
        return next(each for each in self.objects[kind] if each["metadata"]["name"] == name)

    def pods_of(self, prefix: str) -> list[dict[str, Any]]:
        return [each for each in self.objects["Pod"] if each["metadata"]["name"].startswith(prefix)]

    def remove(self, kind: str, prefix: str) -> None:
        self.objects[kind] = [
            each for each in self.objects[kind] if not each["metadata"]["name"].startswith(prefix)
        ]

    # -- ways to break it ------------------------------------------------------------------------------------------

    def unready(
        self, pod: dict[str, Any], container: str = "main", waiting: str = "", *, ago: float = 300
    ) -> None:
        """A Pod that is not Ready since then, because of one container."""
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False", "lastTransitionTime": at(ago)}]
        for each in pod["status"]["containerStatuses"]:
            if each["name"] == container:
                each["ready"] = False
                each["state"] = {"waiting": {"reason": waiting}} if waiting else {"running": {}}

    def available(self, kind: str, name: str, number: int, *, ago: float = 300) -> None:
        status = self.find(kind, name)["status"]
        status |= {"availableReplicas": number, "readyReplicas": number, "numberAvailable": number}
        if kind == "Deployment":
            state = "True" if number == status["replicas"] else "False"
            status["conditions"] = [{"type": "Available", "status": state, "lastTransitionTime": at(ago)}]

    def lose(self, node: str, *, ago: float = 120) -> None:
        """A node whose kubelet has not reported for so long."""
        found = self.find("Node", node)
        found["status"]["conditions"][0] |= {"status": "Unknown", "lastTransitionTime": at(ago - 50)}
        found["spec"]["taints"] = [
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": at(ago - 50)}
        ]
        self.find("Lease", node)["spec"]["renewTime"] = at(ago)
        for pod in (each for each in self.objects["Pod"] if each["spec"]["nodeName"] == node):
            pod["status"]["conditions"] = [
                {"type": "Ready", "status": "False", "lastTransitionTime": at(ago - 50)}
            ]

    def move_dns(self, node: str = CP, *, ago: float = 200) -> None:
        """kube-dns was re-created on this node."""
        for pod in self.pods_of("coredns-"):
            pod["spec"]["nodeName"], pod["status"]["podIP"] = node, self._ip(node)
            pod["metadata"]["creationTimestamp"] = at(ago)
            pod["status"]["conditions"] = [
                {"type": "Ready", "status": "True", "lastTransitionTime": at(ago - 5)}
            ]

    # -- measurements ----------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Measure as a healthy cluster would answer: call it after moving Pods."""
        dns = [pod["status"]["podIP"] for pod in self.pods_of("coredns-")]
        self.checks["dns_resolvable"] = [
            (f"Node/{node} → {ip}:53/{protocol}", "healthy", "4 of 4 answered")
            for node in IPS
            for ip in (DNS_IP, *dns)
            for protocol in ("udp", "tcp")
        ]
        self.checks["bgp_established"] = [
            (f"Node/{node} → {LEAF}:179", "healthy", "Established") for node in (W1, W2)
        ]
        self.checks["nodes_reach_pods"] = [
            (f"Node/{node} → Pods on Node/{other}", "healthy", "open")
            for node in IPS
            for other in (W1, W2)
            if node != other
        ]
        self.checks["xds_synced"] = [
            (f"Pod/shop/{pod['metadata']['name']}", "healthy", "synced") for pod in self.pods_of("cart-")
        ]
        self.sights = {
            node: {
                "node": node,
                "cluster_dns": [DNS_IP],
                "api_server": f"https://{IPS[CP]}:6443",
                "api": "open",
                "serves": True if node == CP else None,
                "cuts": [],
                "nat": {"kube-system/kube-dns:dns": [f"{ip}:53" for ip in dns]},
            }
            for node in IPS
        }

    def fail(
        self, check: str, part: str, detail: str = "0 of 4 answered: 4 timed out", status: str = "unhealthy"
    ) -> None:
        """Every row of a check whose subject contains `part` answers otherwise."""
        self.checks[check] = [
            (subject, status, detail) if part in subject else (subject, before, said)
            for subject, before, said in self.checks[check]
        ]

    def blind_to_nodes(self) -> None:
        """Only the API is there."""
        self.sights, self.checks = {}, {}
        self.blind = dict.fromkeys(IPS, "no access to nodes")

    # -- the result ------------------------------------------------------------------------------------------------

    def _slices(self) -> None:
        self.objects["EndpointSlice"] = []
        for each in self.objects["Service"]:
            spec, meta = each["spec"], each["metadata"]
            pods = [
                pod
                for pod in self.objects["Pod"]
                if spec["selector"]
                and pod["metadata"]["namespace"] == meta["namespace"]
                and spec["selector"].items() <= pod["metadata"]["labels"].items()
                and pod["spec"]["nodeName"]
            ]
            addresses = [
                {
                    "addresses": [pod["status"]["podIP"]],
                    "nodeName": pod["spec"]["nodeName"],
                    "conditions": {"ready": pod["status"]["conditions"][0]["status"] == "True"},
                    "targetRef": {
                        "kind": "Pod",
                        "namespace": meta["namespace"],
                        "name": pod["metadata"]["name"],
                    },
                }
                for pod in pods
            ]
            own = {
                "name": f"{meta['name']}-x",
                "namespace": meta["namespace"],
                "labels": {"kubernetes.io/service-name": meta["name"]},
            }
            self.add(
                "EndpointSlice",
                "discovery.k8s.io/v1",
                own,
                endpoints=addresses,
                ports=[{"port": port["port"]} for port in spec["ports"]],
            )

    def text(self) -> str:
        self._slices()
        kinds = [kind for kind in self.objects if kind not in self.missed]
        findings = [
            {
                "check": name,
                "status": worst([row[1] for row in rows]),
                "summary": "",
                "evidence": [
                    {
                        "subject": subject,
                        "status": status,
                        "detail": detail,
                        "counts": not subject.startswith(f"Node/{CP}"),
                    }
                    for subject, status, detail in rows
                ],
            }
            for name, rows in self.checks.items()
        ]
        measured = {
            "context": "kind-x",
            "api": self.api,
            "findings": findings,
            "nodes": self.sights,
            "blind": self.blind,
        }
        about = {"taken_at": NOW.isoformat(), "kinds": kinds, "missed": self.missed, "measured": measured}
        items = [item for kind in kinds for item in self.objects[kind]]
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": items, "chaosext": about})

    def sight(self) -> ClusterSight:
        return sight_of(listed_of(self.text()))


def worst(statuses: list[str]) -> str:
    return next((each for each in ("unhealthy", "unknown") if each in statuses), "healthy")
