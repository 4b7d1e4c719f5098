"""Makes the snapshots beside it: `python examples/snapshots/make.py [FILE]`.

FILE is a snapshot of the testbed (`chaosext snapshot --context kind-chaosext -o FILE`); its nodes get other names, and
it becomes story.json. mitigated.json is the same with kube-dns kept off the control plane; larger.json.gz is generated:
3 control-plane nodes and 60 others in three zones, as `kubectl get … -o json` would list them.
"""

from __future__ import annotations

import gzip
import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.rehearsal.snapshot.prune import WANTED, least

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).parent

NAMES = {
    "chaosext-control-plane": "cp-1",
    "chaosext-worker2": "worker-2",
    "chaosext-worker": "worker-1",
    "kind-chaosext": "story",
}
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
APART = {"matchExpressions": [{"key": CONTROL_PLANE, "operator": "DoesNotExist"}]}

Item = dict[str, Any]


def main(arguments: list[str]) -> None:
    story = json.loads((HERE / "story.json").read_text()) if not arguments else _story(Path(arguments[0]))
    _write("story.json", story)
    _write("mitigated.json", _mitigated(story))
    _write("larger.json.gz", {"apiVersion": "v1", "kind": "List", "items": list(_larger())})


def _write(name: str, listed: Item) -> None:
    lines = ",\n".join(json.dumps(item, separators=(",", ":")) for item in listed["items"])
    head = json.dumps({key: value for key, value in listed.items() if key != "items"})[:-1]
    text = f'{head}, "items": [\n{lines}\n]}}\n'.encode()
    (HERE / name).write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)


def _story(path: Path) -> Item:
    """The testbed's, with names that anybody could have."""
    text = path.read_text()
    for old, new in NAMES.items():
        text = text.replace(old, new)
    known, listed = {wanted.kind: wanted for wanted in WANTED}, json.loads(text)
    kept = [item for item in listed["items"] if item["kind"] in known]
    return {"apiVersion": "v1", "kind": "List", "items": [least(known[item["kind"]], item) for item in kept]}


def _mitigated(story: Item) -> Item:
    """kube-dns' template keeps off nodes of the control plane."""
    listed = deepcopy(story)
    for item in listed["items"]:
        if item["kind"] == "Pod" and item["metadata"].get("labels", {}).get("k8s-app") == "kube-dns":
            required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [APART]}}
            item["spec"].setdefault("affinity", {})["nodeAffinity"] = required
    return listed


# -- a larger one: 3 + 60 nodes in three zones ---------------------------------------------------------------------

ZONES = ("a", "b", "c")
APPS = (("shop", "storefront", 40), ("shop", "catalog", 40), ("bank", "ledger", 30), ("bank", "teller", 60))
LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
DAEMONS = ("calico-node", "kube-proxy")


def _larger() -> Iterator[Item]:
    masters = [f"cp-{number}" for number in range(1, 4)]
    workers = [f"worker-{number}" for number in range(1, 61)]
    yield from (_node(name, at) for at, name in enumerate((*masters, *workers)))
    yield from (_made("v1", "Namespace", "", name) for name in ("kube-system", "shop", "bank"))
    yield _service("kube-system", "kube-dns", {"k8s-app": "kube-dns"}, "10.96.0.10")
    yield from _calico()
    for name in masters:
        for component in ("kube-apiserver", "kube-controller-manager"):
            yield _pod("kube-system", f"{component}-{name}", name, {"component": component}, f"Node/{name}")
    for daemon in DAEMONS:
        yield _made("apps/v1", "DaemonSet", "kube-system", daemon)
        for name in (*masters, *workers):
            yield _pod("kube-system", f"{daemon}-{name}", name, {"k8s-app": daemon}, f"DaemonSet/{daemon}")
    yield from _deployed("kube-system", "coredns", 6, workers, {"k8s-app": "kube-dns"}, anywhere=True)
    for namespace, app, count in APPS:
        yield from _deployed(namespace, app, count, workers, {"app": app})


def _made(api: str, kind: str, namespace: str, name: str, **more: Any) -> Item:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": meta | more.pop("metadata", {}), **more}


def _node(name: str, at: int) -> Item:
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": ZONES[at % 3]}
    spec: Item = {}
    if name.startswith("cp-"):
        labels[CONTROL_PLANE] = ""
        spec["taints"] = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": f"10.0.{at // 200}.{at % 200 + 10}"}],
        "allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"},
        "nodeInfo": {"kubeletVersion": "v1.34.4"},
    }
    return _made("v1", "Node", "", name, metadata={"labels": labels}, spec=spec, status=status)


def _service(namespace: str, name: str, selector: dict[str, str], address: str) -> Item:
    return _made("v1", "Service", namespace, name, spec={"selector": selector, "clusterIP": address})


def _calico() -> Iterator[Item]:
    """BGP with a leaf for each zone, and for nodes of the control plane nowhere."""
    api = "crd.projectcalico.org/v1"
    yield _made(api, "BGPConfiguration", "", "default", spec={"nodeToNodeMeshEnabled": False})
    yield _made(api, "IPPool", "", "pods", spec={"cidr": "10.244.0.0/16", "ipipMode": "Never"})
    for at, zone in enumerate(ZONES):
        chosen = f"topology.kubernetes.io/zone == '{zone}' && !has({CONTROL_PLANE})"
        spec = {"peerIP": f"10.255.0.{at + 1}", "asNumber": 64512, "nodeSelector": chosen}
        yield _made(api, "BGPPeer", "", f"leaf-{zone}", spec=spec)


def _pod(
    namespace: str, name: str, node: str, labels: dict[str, str], owner: str, tolerations: Iterable[Item] = ()
) -> Item:
    kind, _, owned_by = owner.partition("/")
    meta = {"labels": labels, "ownerReferences": [{"kind": kind, "name": owned_by, "controller": True}]}
    everything = [{"operator": "Exists"}]
    spec = {
        "nodeName": node,
        "tolerations": list(tolerations) or everything,
        "containers": [
            {
                "name": "main",
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "readinessProbe": {},
            }
        ],
    }
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return _made("v1", "Pod", namespace, name, metadata=meta, spec=spec, status=status)


def _deployed(
    namespace: str, app: str, count: int, nodes: list[str], labels: dict[str, str], *, anywhere: bool = False
) -> Iterator[Item]:
    """A Deployment, its ReplicaSet, and Pods on nodes in turn; `anywhere`: on the control plane's nodes, too."""
    replicas, own = f"{app}-5d9c7f6b8", {"replicas": count}
    yield _made("apps/v1", "Deployment", namespace, app, spec=own)
    owner = [{"kind": "Deployment", "name": app, "controller": True}]
    yield _made("apps/v1", "ReplicaSet", namespace, replicas, metadata={"ownerReferences": owner}, spec=own)
    tolerations = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300} for key in LOST
    ]
    if anywhere:
        tolerations.append({"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"})
    for at in range(count):
        known = {**labels, "pod-template-hash": "5d9c7f6b8"}
        node = nodes[at * 7 % len(nodes)]
        yield _pod(namespace, f"{replicas}-{at:05}", node, known, f"ReplicaSet/{replicas}", tolerations)


if __name__ == "__main__":
    main(sys.argv[1:])
