"""Changes of Pod templates that mitigations share: tolerations, places, and the commands that patch a workload."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chaosext.cluster.yaml_writer import as_yaml
from chaosext.rehearsal.simulate.taints import NO_EXECUTE
from chaosext.rehearsal.snapshot.node_patterns import fits_node
from chaosext.rehearsal.snapshot.world import Toleration

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.snapshot.world import Pod, PodSpec, World

LOST = ("node.kubernetes.io/not-ready", NO_EXECUTE.key)
"""Taints of a lost node; DefaultTolerationSeconds adds tolerations of both for a while."""

LONG_S = 3600
"""Minimum of a longer toleration, in seconds."""

ROLLED_OUT_WITHIN = "5m"


def moved(world: World, pod: Pod, taken: Counter[str]) -> Pod:
    """Move the Pod to a node that its template allows, updating the counts in `taken`."""
    allowed = [
        node.name for node in world.nodes if fits_node(pod.spec.node_selector, pod.spec.affinity, node)
    ]
    if not pod.node or pod.node in allowed or not allowed:
        return pod
    home = min(allowed, key=lambda name: (taken[name], name))
    taken[home] += 1
    return replace(pod, node=home)


APPLY = "kubectl apply --filename -"


def given(command: str, *documents: Any) -> str:
    """Return the command with the documents as its input.

    What comes from a snapshot is nested, so that its lines are indented: none of them can end the input.
    """
    return f"{command} <<'EOF'\n{as_yaml(*documents)}EOF"


def patched(namespace: str, kind: str, name: str, template: Mapping[str, Any]) -> str:
    """Return the commands that patch the Pod template of a workload and wait for the rollout."""
    kubectl = f"kubectl --namespace {namespace}"
    patch = f"{kubectl} patch {kind.lower()} {name} --type strategic --patch-file /dev/stdin"
    return (
        f"{given(patch, {'spec': {'template': template}})}\n"
        f"{kubectl} rollout status {kind.lower()}/{name} --timeout {ROLLED_OUT_WITHIN}"
    )


def template_of(world: World, pod: Pod) -> tuple[str, str]:
    """Return (kind, name) of the object with the Pod's template: its Deployment, if needed by the ReplicaSet's name."""
    known = world.workloads.get((pod.namespace, pod.owner))
    kind, _, name = (known.owner if known and known.owner else pod.owner).partition("/")
    if kind == "ReplicaSet":
        return "Deployment", name.removesuffix(f"-{pod.spec.labels.get('pod-template-hash', '')}")
    return kind or "Deployment", name or "coredns"


def longer_s(plan: Plan) -> int:
    """Return twice the cut's duration, in whole minutes and at least `LONG_S`; cuts often take longer than planned."""
    return max(LONG_S, int(2 * plan.cut_for_s // 60 + 1) * 60)


def tolerating(spec: PodSpec, seconds: int) -> PodSpec:
    stays = {each.key: each.seconds for each in spec.tolerations if each.effect in ("", "NoExecute")}
    if "" in stays or all(
        key in stays and (stays[key] is None or (stays[key] or 0) >= seconds) for key in LOST
    ):
        return spec
    others = tuple(each for each in spec.tolerations if each.key not in LOST)
    longer = (Toleration(key=key, operator="Exists", effect="NoExecute", seconds=seconds) for key in LOST)
    return replace(spec, tolerations=(*others, *longer))


def toleration_json(each: Toleration) -> dict[str, Any]:
    said = {"key": each.key, "operator": each.operator, "value": each.value, "effect": each.effect}
    kept: dict[str, Any] = {name: text for name, text in said.items() if text}
    return kept if each.seconds is None else kept | {"tolerationSeconds": each.seconds}
