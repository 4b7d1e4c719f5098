"""The rehearsal of a large cluster, of many cuts of a smaller one, and of the examples: time and memory.

The cluster is made up, its List is as `kubectl get … -o json` would write it, with all that a rehearsal doesn't need:
5,000 nodes, 150,000 Pods, more than 400 MB. Each measurement is a process of its own, and compared with what is
allowed. The examples are whole commands, as a reader of the README types them; what is allowed for them is a multiple
of a baseline of the same run: events of a heap, as simulations have them, so that a slow machine is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES, PODS, MASTERS = 5_000, 150_000, 3
SCENARIO_NODES, SCENARIO_PODS, SCENARIOS = 200, 4_000, 1_000
ALLOWED_READ_S, ALLOWED_PREDICT_S, ALLOWED_MIB, ALLOWED_SCENARIOS_S = 15.0, 3.0, 2048.0, 60.0
LEAST_MB = 400.0

EXAMPLES = Path(__file__).parent.parent / "examples/snapshots"
ALLOWED_EXAMPLES_S = {"story.json": 1.0, "larger.json.gz": 3.0}
"""Seconds of `chaosext rehearse`, advice included, where the baseline takes `BASELINE_S`."""

BASELINE_S, BASELINE_EVENTS, BASELINE_RUNS = 0.09, 20_000, 200
EXAMPLE_RUNS = 3

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
ZONES = ("a", "b", "c")
PER_REPLICA_SET, DNS_PODS = 30, 8

Item = dict[str, Any]


def main() -> None:
    """Print each value and its ratio to its limit. Raises SystemExit where one is broken."""
    with tempfile.TemporaryDirectory() as root:
        large, small = Path(root) / "large.json", Path(root) / "small.json"
        write(large, NODES, PODS)
        write(small, SCENARIO_NODES, SCENARIO_PODS)
        size_mb = large.stat().st_size / 1e6
        read_s, predict_s, mib = _predicted(large)
        scenarios_s = _scenarios(small, Path(root) / "scenarios.json")
    slowness = max(1.0, baseline_s() / BASELINE_S)
    print(
        f"baseline: this machine takes {slowness:.2f} x the time of the one that the limits of examples are for"
    )
    print(f"{NODES} nodes, {PODS} Pods, {size_mb:.0f} MB; {SCENARIOS} scenarios over {SCENARIO_NODES} nodes")
    found = (
        ("read", read_s, ALLOWED_READ_S, "s"),
        ("predict", predict_s, ALLOWED_PREDICT_S, "s"),
        ("memory", mib, ALLOWED_MIB, "MiB"),
        ("scenarios", scenarios_s, ALLOWED_SCENARIOS_S, "s"),
        *(
            (name.partition(".")[0], _rehearsed_s(EXAMPLES / name), allowed_s * slowness, "s")
            for name, allowed_s in ALLOWED_EXAMPLES_S.items()
        ),
    )
    for name, value, allowed, unit in found:
        print(
            f"{name:<10}{value:8.2f} {unit:<4}{value / allowed:6.2f} x of the {allowed:.4g} {unit} allowed",
            flush=True,
        )
    if size_mb < LEAST_MB or any(value > allowed for _, value, allowed, _ in found):
        raise SystemExit(1)


def baseline_s() -> float:
    """Seconds of ten times `BASELINE_EVENTS` events of a heap, at the best of many tries."""
    return 10 * min(_events_s() for _ in range(BASELINE_RUNS))


def _events_s() -> float:
    heap: list[tuple[int, int]] = []
    seen: dict[int, int] = {}
    began = time.monotonic()
    for turn in range(BASELINE_EVENTS):
        heappush(heap, (turn * 7919 % 10_007, turn))
        if len(heap) > 64:
            at, number = heappop(heap)
            seen[at] = seen.get(at, 0) + number
    return time.monotonic() - began


def _rehearsed_s(path: Path) -> float:
    """Seconds of the whole command for an example, the best of a few."""
    command = [sys.executable, "-m", "chaosext", "rehearse", "--snapshot", path]

    def seconds() -> float:
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        return time.monotonic() - began

    return min(seconds() for _ in range(EXAMPLE_RUNS))


def _predicted(path: Path) -> tuple[float, float, float]:
    """Seconds to read, seconds to predict, peak MiB."""
    program = (
        "import resource, sys, time; from pathlib import Path; began = time.monotonic();"
        "from chaosext.rehearsal.simulate.planned_cut import Plan;"
        "from chaosext.rehearsal.predict.predict import rehearse;"
        "from chaosext.rehearsal.snapshot.reader import read_snapshot;"
        "from chaosext.rehearsal.snapshot.cut_targets import cut_nodes;"
        "world = read_snapshot([Path(sys.argv[1])]); read = time.monotonic();"
        "rehearse(world, Plan(cut_nodes=cut_nodes(world))); done = time.monotonic();"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(read - began, done - read, used.ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True)
    read_s, predict_s, mib = map(float, done.stdout.split())
    return read_s, predict_s, mib


def _scenarios(path: Path, scenarios: Path) -> float:
    """Seconds of the whole command, on all cores."""
    scenarios.write_text(json.dumps([_scenario(at) for at in range(SCENARIOS)]))
    program = (
        "import sys, time; from chaosext.cli.main import invoke; began = time.monotonic();"
        "code = invoke(sys.argv[1:]); print(time.monotonic() - began, file=sys.stderr); sys.exit(code)"
    )
    command = [
        sys.executable,
        "-c",
        program,
        "rehearse",
        "--snapshot",
        path,
        "--scenarios",
        scenarios,
        "--json",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stderr.split()[-1])


def _scenario(at: int) -> Item:
    """Every zone, a third of the nodes in turn, and all of them, for cuts of one to eight minutes."""
    workers = [f"worker-{n}" for n in range(SCENARIO_NODES - MASTERS)]
    chosen = (
        *(f"topology.kubernetes.io/zone={zone},!{CONTROL_PLANE}" for zone in ZONES),
        workers[at % 3 :: 3],
        "",
    )
    return {"name": f"s-{at}", "cut_nodes": chosen[at % 5], "cut_for": 60 + at % 8 * 60, "seed": at}


# -- the list --------------------------------------------------------------------------------------------------


def write(path: Path, nodes: int, pods: int) -> None:
    """A List of a cluster of so many nodes and Pods."""
    with path.open("w", encoding="utf-8") as file:
        between = '{"apiVersion": "v1", "items": [\n'
        for item in _items(nodes, pods):
            file.write(f"{between}{json.dumps(item, indent=1)}")
            between = ",\n"
        file.write('\n], "kind": "List", "metadata": {"resourceVersion": ""}}\n')


def _items(nodes: int, pods: int) -> Iterator[Item]:
    names = [f"cp-{n}" for n in range(MASTERS)] + [f"worker-{n}" for n in range(nodes - MASTERS)]
    yield from (_node(name, at) for at, name in enumerate(names))
    dns = {"selector": {"k8s-app": "kube-dns"}, "clusterIP": "10.96.0.10"}
    yield _made("v1", "Service", "kube-system", "kube-dns", spec=dns)
    yield from _calico()
    yield from map(_agent, names)
    workers = names[MASTERS:]
    for at in range(pods - nodes + PER_REPLICA_SET - DNS_PODS):
        yield from _workload(at, workers[at % len(workers)])


def _made(api: str, kind: str, namespace: str, name: str, **more: Any) -> Item:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {}) | more.pop("metadata", {})
    return {"apiVersion": api, "kind": kind, "metadata": meta, **more}


def _node(name: str, at: int) -> Item:
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": ZONES[at % 3]}
    master = name.startswith("cp-")
    return _made(
        "v1",
        "Node",
        "",
        name,
        metadata={"labels": labels | ({CONTROL_PLANE: ""} if master else {})},
        spec={"taints": [{"key": CONTROL_PLANE, "effect": "NoSchedule"}] if master else []},
        status={
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}"}],
            "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "110"},
            "images": [{"names": [f"registry.example/app-{n}:1.0"], "sizeBytes": 1 << 28} for n in range(30)],
            "nodeInfo": {"kubeletVersion": "v1.34.4"},
        },
    )


def _calico() -> Iterator[Item]:
    api = "crd.projectcalico.org/v1"
    yield _made(api, "BGPConfiguration", "", "default", spec={"nodeToNodeMeshEnabled": False})
    yield _made(api, "IPPool", "", "pods", spec={"cidr": "10.244.0.0/14", "ipipMode": "Never"})
    spec = {"peerIP": "10.255.0.1", "asNumber": 64512, "nodeSelector": f"!has({CONTROL_PLANE})"}
    yield _made(api, "BGPPeer", "", "leaf", spec=spec)


def _agent(node: str) -> Item:
    """Calico's, which shows that its routes are those of Pod traffic."""
    pod = _pod("kube-system", f"calico-node-{node}", node, {"k8s-app": "calico-node"}, "calico-node")
    pod["metadata"]["ownerReferences"][0].update(kind="DaemonSet", apiVersion="apps/v1")
    pod["spec"].update(hostNetwork=True, tolerations=[{"operator": "Exists"}])
    return pod


def _workload(at: int, node: str) -> Iterator[Item]:
    """A Pod, and before the first of a ReplicaSet that and its Deployment. The first one is kube-dns."""
    app, member = divmod(at, PER_REPLICA_SET)
    if not app and member >= DNS_PODS:
        return
    namespace = f"team-{app % 200}" if app else "kube-system"
    name, labels = (f"app-{app}", {"app": f"app-{app}"}) if app else ("coredns", {"k8s-app": "kube-dns"})
    owner = f"{name}-6c9f7d5b8"
    if not member:
        yield _made("apps/v1", "Deployment", namespace, name, spec={"replicas": PER_REPLICA_SET})
        owners = [{"kind": "Deployment", "name": name, "controller": True}]
        meta = {"ownerReferences": owners}
        yield _made(
            "apps/v1", "ReplicaSet", namespace, owner, metadata=meta, spec={"replicas": PER_REPLICA_SET}
        )
    yield _pod(namespace, f"{owner}-{member:05}", node, labels | {"pod-template-hash": "6c9f7d5b8"}, owner)


def _pod(namespace: str, name: str, node: str, labels: Item, owner: str) -> Item:
    lost = [f"node.kubernetes.io/{what}" for what in ("not-ready", "unreachable")]
    tolerations = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300} for key in lost
    ]
    if namespace == "kube-system":
        tolerations.append({"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"})
    return _made(
        "v1",
        "Pod",
        namespace,
        name,
        metadata={
            "uid": "0f3c2d1e-5b6a-4c7d-8e9f-001122334455",
            "creationTimestamp": "2026-11-23T08:00:00Z",
            "generateName": f"{owner}-",
            "labels": labels,
            "annotations": {"cni.projectcalico.org/podIP": "10.244.3.7/32", "prometheus.io/scrape": "true"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": owner,
                    "controller": True,
                    "uid": owner,
                }
            ],
        },
        spec={
            "nodeName": node,
            "containers": [_container(owner)],
            "tolerations": tolerations,
            "serviceAccountName": "default",
            "terminationGracePeriodSeconds": 30,
            "volumes": [
                {"name": "kube-api-access", "projected": {"sources": [{"configMap": {"name": "ca"}}]}}
            ],
        },
        status={
            "phase": "Running",
            "podIP": "10.244.3.7",
            "conditions": [
                {
                    "type": kind,
                    "status": "True",
                    "lastProbeTime": None,
                    "lastTransitionTime": "2026-11-23T08:00:00Z",
                }
                for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "containerStatuses": [
                {"name": "main", "ready": True, "restartCount": 0, "image": "registry.example/app:1.0"}
            ],
        },
    )


def _container(owner: str) -> Item:
    return {
        "name": "main",
        "image": f"registry.example/{owner}:1.0",
        "env": [{"name": f"SETTING_{n}", "value": f"value of setting {n}"} for n in range(12)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 10},
        "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets", "readOnly": True}],
    }
