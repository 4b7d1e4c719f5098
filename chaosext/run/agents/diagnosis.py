"""Why a Pod of chaosext doesn't start, in the cluster's own words, and how to fix it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.cluster.daemonset import label_command
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.cluster.objects import CoreV1Event, JsonObject, Node

WITHOUT = "set configuration.chaosext_sentinel: false to run without sentinels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixes:
    """The fix for a missing image (`bring`), a process that ended (`ended`), or a broken node (`repair`)."""

    bring: str
    ended: str
    repair: str


SENTINEL = Fixes(
    bring="on a testbed, run `chaosext testbed up`; for another cluster, see "
    "deploy/sentinel/Dockerfile and set configuration.chaosext_sentinel_image",
    ended="check its node; if its port is taken, set configuration.chaosext_sentinel_port",
    repair=f"repair that node, or {WITHOUT}",
)

NO_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
NOT_STARTED = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""Reasons of a waiting container (pkg/kubelet/images/types.go, pkg/kubelet/container/sync_result.go)."""

SHOWN = 120
"""Characters of a message that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindrance:
    """Why no Pod of chaosext runs on `node` ("": on any node)."""

    node: str
    why: str
    fix: str


def node_of(pod: JsonObject) -> str:
    """The node of a DaemonSet's Pod, also before it is bound: its affinity names it."""
    if bound := pod["spec"].get("nodeName"):
        return str(bound)
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    wanted = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    fields = (
        field for term in wanted.get("nodeSelectorTerms") or () for field in term.get("matchFields") or ()
    )
    return next((str(field["values"][0]) for field in fields if field["key"] == "metadata.name"), "")


def addresses(pods: Iterable[JsonObject]) -> dict[str, str]:
    """Node -> the address of its sentinel, for sentinels that sample."""
    return {node_of(pod): str(pod["status"]["hostIP"]) for pod in pods if _samples(pod)}


def hindrance(pod: JsonObject, fixes: Fixes = SENTINEL) -> Hindrance | None:
    """A hindrance that waiting does not fix; None if the Pod may still start, or has started."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        said = f"{status.get('reason', 'its Pod failed')}: {status.get('message', '')}".rstrip(": ")
        return Hindrance(node=node_of(pod), why=said, fix=fixes.repair)
    for container in status.get("containerStatuses") or ():
        if found := _of_container(container, fixes):
            return Hindrance(node=node_of(pod), why=found[0], fix=found[1])
    return None


def not_created(events: Iterable[CoreV1Event], namespace: str) -> Hindrance | None:
    """What forbids the DaemonSet's Pods in `namespace` (a quota, an admission), by its newest event."""
    refused = [event for event in events if event.reason == "FailedCreate"]
    if not refused:
        return None
    why = refused[-1].message
    fix = f"`{label_command(namespace)}`" if "PodSecurity" in why else f"permit it in namespace {namespace}"
    return Hindrance(node="", why=why, fix=f"{fix}, or {WITHOUT}")


def still_missing(node: Node, pods: Iterable[JsonObject], fixes: Fixes = SENTINEL) -> Hindrance:
    """Why nothing ran on `node` in time, as far as known."""
    pod = next((each for each in pods if node_of(each) == node.name), None)
    if node.ready != "True":
        why = "the node is not Ready"
    elif pod is None:
        why = "no Pod was created for it"
    else:
        why = (
            _condition(pod, "PodScheduled")
            or f"its Pod is {(pod.get('status') or {}).get('phase', 'Pending')}"
        )
    return Hindrance(node=node.name, why=why, fix=fixes.repair)


def refusal(found: Iterable[Hindrance], what: str) -> Refused:
    """One error for all: nodes with the same hindrance are named together."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for each in found:
        nodes.setdefault((each.why, each.fix), []).append(each.node or "every node")
    told = "; ".join(f"{', '.join(names)}: {why}" for (why, _), names in nodes.items())
    fixes = dict.fromkeys(fix for _, fix in nodes)
    return Refused(f"{what} does not start on {told}", "; ".join(fixes))


def _samples(pod: JsonObject) -> bool:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") != "Running":
        return False
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in status.get("conditions") or ()
    )


def _of_container(status: Mapping[str, JsonObject], fixes: Fixes) -> tuple[str, str] | None:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or last.get("terminated")
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in NO_IMAGE:
        return f"{reason} ({_last_words(message)})", fixes.bring
    if ended:
        said = _last_words(str(ended.get("message") or ended.get("reason") or ""))
        return f"it ended with exit code {ended.get('exitCode')}: {said}", fixes.ended
    if reason in NOT_STARTED:
        return f"{reason} ({_last_words(message)})", fixes.repair
    return None


def _last_words(message: str) -> str:
    """The end of a message, where the cause is: nested errors are wrapped from outside."""
    lines = message.strip().splitlines()
    said = lines[-1] if lines else "it gave no message"
    return said if len(said) <= SHOWN else f"…{said[-SHOWN:]}"


def _condition(pod: JsonObject, kind: str) -> str:
    """The message of a condition that is not met; "" if it is met."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    unmet = (each for each in conditions if each.get("type") == kind and each.get("status") != "True")
    return next((str(each.get("message", "")) for each in unmet), "")
