"""The limits that RBAC can't express, as ValidatingAdmissionPolicies (Kubernetes 1.30 or newer). Pure.

Three policies confine the runner's account, and no other: one limits its requests, the other two every field
of the Pods and the DaemonSet that it creates. Their shapes are derived from what chaosext creates, so that
they can't diverge.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from chaosext.cluster import daemonset, lease, pods_on_nodes
from chaosext.cluster.client import resource_path
from chaosext.cluster.daemonset import RUN as RUN_LABEL
from chaosext.cluster.daemonset import Process
from chaosext.cluster.lease import HOLDER, OWNER
from chaosext.cluster.pods_on_nodes import NodePod
from chaosext.gameday.cel import ANYTHING, Check, Maybe, Text, checks, either, literal, over
from chaosext.gameday.rights import OWN, rules
from chaosext.model.owner import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from chaosext.gameday.cel import Shape
    from chaosext.gameday.rights import RoleRule

Manifest = dict[str, Any]

VERSION = "admissionregistration.k8s.io/v1"
REQUESTS, PODS, SENTINELS = "requests", "pods", "sentinels"
"""Suffixes of the policies' names."""

OPERATIONS = {"create": "CREATE", "update": "UPDATE", "delete": "DELETE"}
"""RBAC verb -> admission operation; an exec is CONNECT, whichever verb it needs."""

RUN = "[a-z0-9]+"
"""A run's id (model/claim.py)."""

TEXT = Text()

METADATA = {key: Maybe(ANYTHING) for key in ("uid", "creationTimestamp", "generation", "managedFields")}
"""Metadata that an API server adds to new objects."""

CONTAINER = {"terminationMessagePath": Maybe("/dev/termination-log"), "resizePolicy": Maybe(ANYTHING)}
"""Fields that it adds to a container (pkg/apis/core/v1/defaults.go).

`resizePolicy` exists since 1.33; nothing may be resized.
"""

POD = {"schedulerName": Maybe("default-scheduler"), "securityContext": Maybe({})}
"""Fields that it adds to a Pod and to a Pod template."""

ACCOUNT = {"serviceAccountName": Maybe("default"), "serviceAccount": Maybe("default")}
"""Fields that admission adds to a Pod (plugin/pkg/admission/serviceaccount).

No token of that account is mounted.
"""

SYSTEM = "system-"
"""Name prefix of Kubernetes' own priority classes: for their Pods a kubelet evicts others."""

PRIORITY = {
    "priority": Maybe(ANYTHING),
    "priorityClassName": Maybe(
        Text("|".join(f"{SYSTEM[:n]}([^{SYSTEM[n]}].*)?" for n in range(len(SYSTEM))))
    ),
    "preemptionPolicy": Maybe(ANYTHING),
}
"""Fields that admission adds to a Pod for the default PriorityClass (plugin/pkg/admission/priority).

No class of `SYSTEM` is allowed. A Pod that names its node is not scheduled, so it does not preempt others.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """The Pods that chaosext may create on nodes: their namespace, images and port.

    `pull_secrets`: those that the namespace's default account may add.
    """

    namespace: str
    node_image: str
    sentinel_image: str
    sentinel_port: int
    pull_secrets: tuple[str, ...] = ()


def policies(name: str, agents: Agents) -> Iterator[tuple[str, Manifest]]:
    """Yield the policies that confine the runner of the game day `name`, each as name and spec."""
    made = ("CREATE", "UPDATE")
    account = f"system:serviceaccount:{agents.namespace}:{name}"
    known = tuple(rule for rule in rules(name) if rule.writes)
    for end, matched, variables, found in (
        (REQUESTS, _matched(known), {"asked": ASKED}, _request_checks(known, agents.namespace)),
        (PODS, [_resources("", ["pods"], made)], IT, checks("variables.it", node_pod(agents))),
        (
            SENTINELS,
            [_resources("apps", ["daemonsets"], made)],
            IT,
            checks("variables.it", sentinels(agents)),
        ),
    ):
        yield policy_name(agents.namespace, name, end), _spec(account, matched, variables, found)


def node_pod(agents: Agents) -> Shape:
    """Return the shape of a new Pod through which a node is entered."""
    bare, with_bird = (
        NodePod(
            run="", owner="", node="", namespace=agents.namespace, image=agents.node_image, with_bird=each
        ).manifest()
        for each in (False, True)
    )
    digits = f"[0-9a-f]{{{pods_on_nodes.NAME_DIGITS}}}"
    secrets = [{"name": each} for each in agents.pull_secrets]
    given = {
        "metadata": {
            **METADATA,
            "name": Text(f"{pods_on_nodes.PREFIX}{RUN}-{digits}-[0-9]+"),
            "labels": {RUN_LABEL: Text(RUN)},
            "annotations": {OWNER: TEXT, HOLDER: TEXT},
        },
        "spec": {
            **POD,
            **ACCOUNT,
            **PRIORITY,
            "nodeName": TEXT,
            "containers": [CONTAINER],
            **({"imagePullSecrets": Maybe(secrets)} if secrets else {}),
        },
        "status": Maybe(ANYTHING),
    }
    return over(either(bare, with_bird), given)


def sentinels(agents: Agents) -> Shape:
    """Return the shape of a new DaemonSet of the sentinels."""
    bare, with_bird = (_sentinels(agents, with_bird=each) for each in (False, True))
    run = {"labels": {RUN_LABEL: Text(RUN)}}
    annotations = {OWNER: TEXT, HOLDER: TEXT, "deprecated.daemonset.template.generation": Maybe(TEXT)}
    given = {
        "metadata": {**METADATA, **run, "annotations": annotations},
        "spec": {
            "selector": {"matchLabels": run["labels"]},
            "revisionHistoryLimit": Maybe(10),
            "template": {
                "metadata": {"creationTimestamp": Maybe(None), **run},
                "spec": {**POD, "restartPolicy": Maybe("Always")},
            },
        },
        "status": Maybe(ANYTHING),
    }
    return over(either(bare, with_bird), given)


def _sentinels(agents: Agents, *, with_bird: bool) -> Shape:
    """Return the shape including defaults inside of its lists, which have one or two items."""
    port = agents.sentinel_port
    process = Process(image=agents.sentinel_image, port=port, token="", plan="", with_bird=with_bird)
    made = daemonset.manifest(Claim(run="", owner=""), process, agents.namespace)
    spec = made["spec"]["template"]["spec"]
    container = {
        **CONTAINER,
        "env": [_open(each) for each in spec["containers"][0]["env"]],
        "ports": [{"hostPort": Maybe(port), "protocol": Maybe("TCP")}],
        "startupProbe": {
            "httpGet": {"scheme": Maybe("HTTP")}, "timeoutSeconds": Maybe(1), "successThreshold": Maybe(1),
        },
    }  # fmt: skip
    volumes = [{"hostPath": {"type": Maybe("")}} if "hostPath" in each else {} for each in spec["volumes"]]
    return over(made, {"spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}}})


def _open(variable: dict[str, Any]) -> Shape:
    """Return which parts of a sentinel's environment variable differ between runs."""
    if "valueFrom" in variable:
        return {"valueFrom": {"fieldRef": {"apiVersion": Maybe("v1")}}}
    return {} if variable["value"] else {"value": TEXT}


def trials(name: str, agents: Agents) -> Iterator[tuple[str, str, Manifest]]:
    """Yield for each policy of the game day `name`: the policy, and a path and object that only it refuses.

    If an API server admits such an object, the policy does not confine the requesting account.
    """
    run, none = "trial", "-of-no-run"
    pod = NodePod(run=run, owner="", node="", namespace=agents.namespace, image=agents.node_image + none)
    process = Process(
        image=agents.sentinel_image + none, port=agents.sentinel_port, token="", plan="", with_bird=False
    )
    refused: dict[str, tuple[str, str, Manifest]] = {
        REQUESTS: ("leases", lease.NAMESPACE, _lease(f"{lease.NAME}{none}")),
        PODS: ("pods", agents.namespace, pod.manifest()),
        SENTINELS: (
            "daemonsets",
            agents.namespace,
            daemonset.manifest(Claim(run=run, owner=""), process, agents.namespace),
        ),
    }
    for end, (kind, namespace, made) in refused.items():
        yield policy_name(agents.namespace, name, end), resource_path(kind, namespace=namespace), made


def policy_name(namespace: str, name: str, end: str) -> str:
    """Return a policy's name, with the namespace: policies are cluster-wide, and game days' names are not unique."""
    return f"{namespace}-{name}-{end}"


def _lease(name: str) -> Manifest:
    metadata = {"name": name, "namespace": lease.NAMESPACE}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}


ASKED = (
    'request.operation + " " + request.resource.resource'
    ' + (has(request.subResource) ? "/" + request.subResource : "")'
    ' + (has(request.namespace) ? " in " + request.namespace : "")'
)
"""CEL: the request, such as `CREATE pods in chaosext` or `CONNECT pods/exec in istio-system`."""

IT = {"it": "dyn(object)"}
"""CEL: the object as dyn, because the keys of a typed object can't be listed."""


def _request_checks(known: Iterable[RoleRule], own: str) -> Iterator[Check]:
    """Yield a check that a request is covered by the rules at all, then one for each rule's own limit."""
    limits = dict(_limits(known, own))
    yield Check(
        condition=f"variables.asked in {literal(list(limits))}",
        message="a game day does not ask for this",
        explain='"a game day does not ask for " + variables.asked',
    )
    for asked, (condition, words) in limits.items():
        if condition:
            yield Check(
                condition=f"variables.asked != {literal(asked)} || ({condition})",
                message=f"{asked}: only {words}",
            )


def _limits(known: Iterable[RoleRule], own: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each allowed request with its condition ("" for none), and the condition in words."""
    for rule in known:
        namespace = own if rule.namespace == OWN else rule.namespace
        named = f"request.name in {literal(rule.names)}" if rule.names else ""
        for resource, operation in product(rule.resources, _operations(rule)):
            condition = rule.only or (named if operation != "CREATE" else "")
            words = rule.limited if rule.only else ", ".join(rule.names)
            yield f"{operation} {resource} in {namespace}", (condition, words)


def _operations(rule: RoleRule) -> tuple[str, ...]:
    if any("/" in resource for resource in rule.resources):
        return ("CONNECT",)
    return tuple(OPERATIONS[verb] for verb in rule.verbs if verb in OPERATIONS)


def _matched(known: Iterable[RoleRule]) -> list[Manifest]:
    """Return match rules for all requests to the rules' resources and their subresources."""
    groups: dict[str, list[str]] = {}
    for rule in known:
        for resource in rule.resources:
            kind = resource.partition("/")[0]
            groups.setdefault(rule.group, []).extend((kind, f"{kind}/*"))
    return [_resources(group, list(dict.fromkeys(kinds)), ("*",)) for group, kinds in groups.items()]


def _resources(group: str, kinds: list[str], operations: tuple[str, ...]) -> Manifest:
    return {
        "apiGroups": [group], "apiVersions": ["*"], "operations": list(operations), "resources": kinds,
    }  # fmt: skip


def _spec(
    account: str, matched: list[Manifest], variables: Mapping[str, str], found: Iterable[Check]
) -> Manifest:
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": matched},
        "matchConditions": [
            {"name": "the-runner", "expression": f"request.userInfo.username == {literal(account)}"}
        ],
        "variables": [{"name": name, "expression": expression} for name, expression in variables.items()],
        "validations": [_validation(each) for each in found],
    }


def _validation(check: Check) -> Manifest:
    explained = {"messageExpression": check.explain} if check.explain else {}
    return {"expression": check.condition, "message": check.message, **explained, "reason": "Forbidden"}
