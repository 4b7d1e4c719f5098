"""Who runs the control plane, recognised by the nodes, and what follows: timings, patched controllers, node repair.

Everything here comes from documents: EKS best practices, "Hybrid nodes and network disconnections", and "Enable
automatic node repair"; GKE, Google Distributed Cloud and GKE on Azure, "Auto-repairing nodes"; AKS, "Node
auto-repair"; OpenShift, "Worker latency profiles" and "Deploying machine health checks"; Kubespray, "Kubernetes
reliability"; kubernetes/kubernetes#131481 and #131294 (EKS' node lifecycle controller).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from chaosext.cluster.objects import CONTROL_PLANE_LABELS, Taint
from chaosext.cluster.timings import GRACE_FLAG
from chaosext.rehearsal.snapshot.world import Alternative, ControlPlane, Node, NodeRepair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot.world import Labels, Pod, World

Values = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A way to run Kubernetes. A node belongs to it by a label, its kubelet's version, or its provider's scheme.

    `apart`: its control plane is not on nodes, unless one has the role. `settings`: fields of `ControlPlane`
    that differ from Kubernetes' defaults, `grace_s` among them. `otherwise`: what -> settings that may be in force
    instead. `repair_s`: after how many seconds it replaces a node that is not Ready, 0: never.
    """

    name: str
    labels: tuple[str, ...] = ()
    version: str = ""
    schemes: tuple[str, ...] = ()
    apart: bool = False
    settings: Values
    otherwise: Mapping[str, Values]
    repair_s: float = 0.0

    def runs(self, node: Node) -> bool:
        """Whether the node belongs to this platform."""
        return (
            any(_has(node.labels, label) for label in self.labels)
            or bool(self.version and re.search(self.version, node.kubelet_version))
            or node.provider in self.schemes
        )


def _has(labels: Labels, wanted: str) -> bool:
    """Whether the labels have a key, or a key with a value ("key=value")."""
    key, equals, value = wanted.partition("=")
    return labels.get(key) == value if equals else key in labels


OLD, NEW = {"grace_s": 40.0}, {"grace_s": 50.0}
FAST = {"grace_s": 20.0, "monitor_period_s": 2.0, "eviction_rate": 1.0, "unhealthy_threshold": 1.01}
"""Kubernetes' default grace period before and since 1.32; Kubespray's fast reaction, with evictions that are fast too
and go on in a disrupted zone."""

EITHER = {"a grace period of 40 s": OLD, "a grace period of 50 s": NEW}
SELF_RUN = {"a fast reaction (a grace period of 20 s, fast evictions)": FAST}

PLATFORMS = (
    Platform(
        name="EKS hybrid nodes",
        labels=("eks.amazonaws.com/compute-type=hybrid", "eks.amazonaws.com/hybrid-credential-provider"),
        schemes=("eks-hybrid",),
        apart=True,
        settings=OLD | {"large_cluster_size": 100_000, "evicts_lost_zones": False},
        otherwise={"Kubernetes' own node lifecycle controller": {"evicts_lost_zones": True}, **EITHER},
    ),
    Platform(
        name="EKS",
        labels=(
            "eks.amazonaws.com/nodegroup",
            "eks.amazonaws.com/compute-type",
            "alpha.eksctl.io/nodegroup-name",
        ),
        version=r"-eks-",
        apart=True,
        settings=OLD | {"large_cluster_size": 100_000, "evicts_lost_zones": False},
        otherwise={"Kubernetes' own node lifecycle controller": {"evicts_lost_zones": True}, **EITHER},
        repair_s=600.0,
    ),
    Platform(
        name="Google Distributed Cloud",
        labels=(
            "baremetal.cluster.gke.io/node-pool",
            "onprem.gke.io/user-cluster",
            "cloud.google.com/gke-on-prem",
        ),
        settings={},
        otherwise=SELF_RUN,
        repair_s=600.0,
    ),
    Platform(
        name="GKE",
        labels=("cloud.google.com/gke-nodepool",),
        version=r"-gke\.",
        apart=True,
        settings={},
        otherwise=EITHER,
        repair_s=600.0,
    ),
    Platform(
        name="AKS",
        labels=("kubernetes.azure.com/cluster", "kubernetes.azure.com/agentpool"),
        apart=True,
        settings={},
        otherwise=EITHER,
        repair_s=600.0,
    ),
    Platform(
        name="Alibaba Cloud ACK",
        labels=("alibabacloud.com/nodepool-id",),
        version=r"-aliyun\.",
        apart=True,
        settings={},
        otherwise=EITHER,
        repair_s=180.0,
    ),
    Platform(
        name="a managed control plane",
        labels=(
            "doks.digitalocean.com/node-pool",
            "ibm-cloud.kubernetes.io/worker-id",
            "oci.oraclecloud.com/fault-domain",
            "lke.linode.com/pool-id",
            "k8s.scaleway.com/pool",
        ),
        apart=True,
        settings={},
        otherwise=EITHER,
        repair_s=600.0,
    ),
    Platform(
        name="OpenShift",
        labels=("node.openshift.io/os_id",),
        version=r"\+[0-9a-f]{7,}$",
        settings=OLD,
        otherwise={
            **EITHER,
            "OpenShift's profile MediumUpdateAverageReaction": {"grace_s": 120.0},
            "OpenShift's profile LowUpdateSlowReaction": {"grace_s": 300.0},
        },
    ),
    Platform(name="k3s", version=r"\+k3s", schemes=("k3s",), settings={}, otherwise=SELF_RUN),
    Platform(name="RKE2", version=r"\+rke2", schemes=("rke2",), settings={}, otherwise=SELF_RUN),
    Platform(name="k0s", version=r"\+k0s", apart=True, settings={}, otherwise=SELF_RUN),
)
"""Known platforms; of several that a cluster's nodes belong to, the first counts."""

UNKNOWN = Platform(name="", settings={}, otherwise=SELF_RUN)

NODE_POOL = "karpenter.sh/nodepool"
KARPENTER_S, AUTOSCALER_S = 1800.0, 1200.0
"""Karpenter's node repair; cluster-autoscaler's --scale-down-unready-time."""

HEALTH_CHECK_S = 300.0
"""Timeout of a MachineHealthCheck or NodeHealthCheck that states none."""


def platform_of(nodes: Iterable[Node]) -> Platform:
    """Return the platform that the nodes show; `UNKNOWN` if none."""
    known = list(nodes)
    return next((each for each in PLATFORMS if any(map(each.runs, known))), UNKNOWN)


def changed(made: ControlPlane, values: Values, source: str = "") -> ControlPlane:
    """Return a control plane with these settings."""
    times = {key: values[key] for key in ("grace_s", "monitor_period_s") if key in values}
    timings = replace(made.timings, **times, source=source or made.timings.source)
    return replace(made, timings=timings, **{key: value for key, value in values.items() if key not in times})


def as_run_by(made: ControlPlane, platform: Platform, given: Mapping[str, str]) -> ControlPlane:
    """Return the control plane with the platform's settings, except those that are given as flags."""
    values = {
        key: value
        for key, value in platform.settings.items()
        if not (key == "grace_s" and GRACE_FLAG in given)
    }
    source = f"the documented settings of {platform.name}" if values else ""
    return replace(changed(made, values, source if not given else ""), platform=platform.name)


# -- what may be otherwise -----------------------------------------------------------------------------------------


def timing_alternatives(
    made: ControlPlane, platform: Platform, given: Mapping[str, str]
) -> Iterator[Alternative]:
    """Yield the settings that may be in force instead of `made`, which nothing in the snapshot shows."""
    flag = f"--controller-manager-arg {GRACE_FLAG}=…"
    for what, values in platform.otherwise.items():
        if GRACE_FLAG in given and "grace_s" in values:
            continue
        if changed(made, values) != made:
            yield Alternative(
                name=f"control-plane: {what}",
                assumed=f"the control plane has {made.timings.source}, not {what}",
                settles=f"give its flags ({flag}), or the Pods of kube-controller-manager",
                apply=partial(_with_settings, values=values),
            )


def _with_settings(world: World, values: Values) -> World:
    return replace(world, control_plane=changed(world.control_plane, values))


UNSEEN = "(a control-plane node that the snapshot does not show)"


def hidden_control_plane(nodes: Sequence[Node], platform: Platform) -> Iterator[Alternative]:
    """Yield a control-plane node beside the snapshot's, if none is one, and no platform explains that."""
    if platform.apart or any(node.control_plane for node in nodes):
        return
    yield Alternative(
        name="control-plane nodes",
        assumed="the control plane runs outside the cluster's nodes, as no node has its role",
        settles="label its nodes with node-role.kubernetes.io/control-plane, and have all nodes in the snapshot",
        apply=_with_hidden,
    )


def _with_hidden(world: World) -> World:
    taint = Taint(key=CONTROL_PLANE_LABELS[0], value="", effect="NoSchedule")
    labels = {taint.key: "", "kubernetes.io/os": "linux", "kubernetes.io/hostname": UNSEEN}
    return replace(
        world, nodes=(*world.nodes, Node(name=UNSEEN, labels=labels, taints=(taint,), control_plane=True))
    )


# -- repair --------------------------------------------------------------------------------------------------------


def repairs(
    nodes: Sequence[Node], pods: Iterable[Pod], checks: Iterable[tuple[str, Mapping[str, Any]]]
) -> tuple[NodeRepair, ...]:
    """Return everything that replaces nodes which are not Ready. `checks`: health checks of machines and their spec."""
    return (*_by_platform(nodes), *_by_autoscaler(nodes, pods), *_by_checks(nodes, checks))


def _by_platform(nodes: Sequence[Node]) -> Iterator[NodeRepair]:
    watched: dict[str, set[str]] = defaultdict(set)
    after: dict[str, float] = {}
    for node in nodes:
        platform = platform_of((node,))
        if platform.repair_s and not node.control_plane:
            watched[platform.name].add(node.name)
            after[platform.name] = platform.repair_s
    for name, names in sorted(watched.items()):
        yield NodeRepair(by=f"{name}'s node auto-repair", after_s=after[name], nodes=frozenset(names))
    pooled = frozenset(node.name for node in nodes if NODE_POOL in node.labels)
    if pooled:
        yield NodeRepair(by="Karpenter's node repair", after_s=KARPENTER_S, nodes=pooled)


def _by_autoscaler(nodes: Sequence[Node], pods: Iterable[Pod]) -> Iterator[NodeRepair]:
    names = ("app", "k8s-app", "app.kubernetes.io/name")
    specs = {id(pod.spec): pod.spec for pod in pods}.values()
    if any("cluster-autoscaler" in spec.labels.get(label, "") for spec in specs for label in names):
        everywhere = frozenset(node.name for node in nodes)
        yield NodeRepair(
            by="cluster-autoscaler (--scale-down-unready-time)", after_s=AUTOSCALER_S, nodes=everywhere
        )


def _by_checks(
    nodes: Sequence[Node], checks: Iterable[tuple[str, Mapping[str, Any]]]
) -> Iterator[NodeRepair]:
    everywhere = frozenset(node.name for node in nodes)
    for subject, spec in checks:
        after = _timeout_s(spec)
        if after is not None:
            yield NodeRepair(by=subject, after_s=after, nodes=everywhere)


def _timeout_s(spec: Mapping[str, Any]) -> float | None:
    """Return the shortest timeout of a node that is not Ready; None if the check is about other conditions only."""
    said = spec.get("unhealthyConditions") or spec.get("unhealthyNodeConditions") or ()
    about = [each for each in said if isinstance(each, dict) and each.get("type") == "Ready"]
    if said and not about:
        return None
    return min(
        (_seconds(each.get("timeout") or each.get("timeoutSeconds")) for each in about),
        default=HEALTH_CHECK_S,
    )


_SECONDS: Mapping[str, float] = {"h": 3600.0, "m": 60.0, "s": 1.0}


def _seconds(said: object) -> float:
    if isinstance(said, int | float):
        return float(said)
    parts = re.findall(r"([\d.]+)([hms])", str(said))
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) or HEALTH_CHECK_S
