"""The permissions of a runner, as data: for the RBAC manifests, and for the check before a game day.

No wildcards, no Secrets, and nodes are read-only. RBAC can't limit `create` to a name, an exec to a
container, or a deletion to a label (kubernetes.io, RBAC, "Referring to resources"): the admission policies do
(admission.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.checks.xds_synced import ISTIO_NAMESPACE, ISTIOD_CONTAINER, SYNCZ
from chaosext.cluster import pods_on_nodes
from chaosext.cluster.daemonset import FORMER, NAME
from chaosext.cluster.lease import NAME as LEASE_NAME
from chaosext.cluster.lease import NAMESPACE as KUBE_SYSTEM
from chaosext.gameday.announcements import COMPONENT
from chaosext.gameday.cel import literal
from chaosext.rehearsal.snapshot.prune import CONFIGS

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = "(own)"
"""Stands for the namespace of runner and node Pods."""

EVERYWHERE = ""
NODE_PODS = "=".join(*pods_on_nodes.APP.items())
"""Label selector of the Pods through which nodes are entered."""

READ = frozenset({"get", "list", "watch"})
EXEC = ("get", "create")
"""An exec over a WebSocket needs `get` up to Kubernetes 1.34, and `create` from 1.35 on.

The feature gate is AuthorizePodWebsocketUpgradeCreatePermission.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRule:
    """A rule of a Role in `namespace`, or of the ClusterRole (`EVERYWHERE`). `why`: what needs it.

    `only`: what admission allows of it, as CEL over `request`, `object` and `oldObject`; "" for no further
    limit there. `limited`: the same in words.
    """

    why: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    group: str = ""
    namespace: str = EVERYWHERE
    names: tuple[str, ...] = ()
    only: str = ""
    limited: str = ""

    @property
    def writes(self) -> bool:
        """Whether it can change or enter anything."""
        return not set(self.verbs) <= READ or any("/" in each for each in self.resources)

    def to_json(self) -> dict[str, Any]:
        named = {"resourceNames": list(self.names)} if self.names else {}
        return {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            **named,
            "verbs": list(self.verbs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One verb on one resource, for a SelfSubjectAccessReview."""

    why: str
    verb: str
    resource: str
    group: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Format as for `kubectl auth can-i`: `delete daemonsets.apps/chaosext-sentinel in kube-system`."""
        group, name = f".{self.group}" if self.group else "", f"/{self.name}" if self.name else ""
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{group}{name}{where}"

    def attributes(self) -> dict[str, str]:
        resource, _, subresource = self.resource.partition("/")
        asked = {
            "verb": self.verb, "group": self.group, "resource": resource, "subresource": subresource,
            "namespace": self.namespace, "name": self.name,
        }  # fmt: skip
        return {key: value for key, value in asked.items() if value}


def rules(game_day: str) -> tuple[RoleRule, ...]:
    """Return everything that the runner of the CronJob `game_day` may do."""
    return (
        RoleRule(
            why="read the nodes, and what runs on them",
            resources=("nodes", "pods"),
            verbs=("list", "watch"),
        ),
        RoleRule(why="identify the cluster by kube-system's UID", resources=("namespaces",), verbs=("get", "list")),
        RoleRule(why="watch evictions and failing probes", resources=("events",), verbs=("list", "watch")),
        RoleRule(why="find kube-dns' address", resources=("services",), verbs=("get", "list")),
        RoleRule(
            why="see where kube-dns' endpoints are",
            group="discovery.k8s.io",
            resources=("endpointslices",),
            verbs=("list", "watch"),
        ),
        RoleRule(why="read the workloads", group="apps", resources=("deployments",), verbs=("get", "list")),
        RoleRule(
            why="read the workloads",
            group="apps",
            resources=("replicasets", "statefulsets", "daemonsets"),
            verbs=("list",),
        ),
        RoleRule(why="rehearse before the cut", group="batch", resources=("jobs",), verbs=("list",)),
        RoleRule(
            why="rehearse before the cut", group="policy", resources=("poddisruptionbudgets",), verbs=("list",)
        ),
        RoleRule(
            why="know which Pods get a sidecar, and which webhooks decide about Pods",
            group="admissionregistration.k8s.io",
            resources=("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
            verbs=("list",),
        ),
        RoleRule(
            why="know which nodes have BGP sessions",
            group="crd.projectcalico.org",
            resources=("bgppeers", "bgpconfigurations", "ippools", "felixconfigurations"),
            verbs=("list",),
        ),
        RoleRule(
            why="know which nodes have BGP sessions",
            group="cilium.io",
            resources=(
                "ciliumbgppeeringpolicies",
                "ciliumbgpclusterconfigs",
                "ciliumbgppeerconfigs",
                "ciliumbgpadvertisements",
            ),
            verbs=("list",),
        ),
        RoleRule(
            why="know how Cilium routes, and what DNS kubelets hand out",
            resources=("configmaps",),
            names=CONFIGS,
            verbs=("get",),
            namespace="kube-system",
        ),
        RoleRule(
            why="exclude the Pods of several control-plane nodes from the cut",
            group="crd.projectcalico.org",
            resources=("blockaffinities",),
            verbs=("list",),
        ),
        RoleRule(
            why="see that kubelets renew their nodes' leases",
            group="coordination.k8s.io",
            resources=("leases",),
            verbs=("list", "watch"),
            namespace="kube-node-lease",
        ),
        RoleRule(
            why="ask istiod which sidecars are synced",
            resources=("pods/exec",),
            verbs=EXEC,
            namespace=ISTIO_NAMESPACE,
            only=f'request.name.startsWith("istiod-") && object.container == "{ISTIOD_CONTAINER}" && '
            f'object.command == {literal(SYNCZ)} && !(has(object.stdin) && object.stdin)',
            limited=f"`{' '.join(SYNCZ)}` in istiod",
        ),
        RoleRule(
            why="take the lock", group="coordination.k8s.io", resources=("leases",), verbs=("create",),
            namespace=KUBE_SYSTEM,
            only=f"object.metadata.name == {literal(LEASE_NAME)}",
            limited=f"the Lease `{LEASE_NAME}`",
        ),
        RoleRule(
            why="take, renew and release the lock",
            group="coordination.k8s.io",
            resources=("leases",),
            names=(LEASE_NAME,),
            verbs=("get", "update", "delete"),
            namespace=KUBE_SYSTEM,
        ),
        RoleRule(
            why="reschedule kube-dns", resources=("pods",), verbs=("delete",), namespace=KUBE_SYSTEM,
            only=_labelled("oldObject", KUBE_DNS_SELECTOR),
            limited=f"Pods labelled `{KUBE_DNS_SELECTOR}`",
        ),
        RoleRule(
            why="find and remove sentinels of earlier versions",
            group="apps",
            resources=("daemonsets",),
            names=(NAME,),
            verbs=("get", "delete"),
            namespace=FORMER,
        ),
        RoleRule(
            why="place the sentinels", group="apps", resources=("daemonsets",), verbs=("create",), namespace=OWN,
            limited="each field is what chaosext sets",
        ),
        RoleRule(
            why="find and remove the sentinels",
            group="apps",
            resources=("daemonsets",),
            names=(NAME,),
            verbs=("get", "delete"),
            namespace=OWN,
        ),
        RoleRule(
            why="create Pods on the nodes", resources=("pods",), verbs=("create", "get"), namespace=OWN,
            limited="each field is what chaosext sets",
        ),
        RoleRule(
            why="enter the nodes", resources=("pods/exec",), verbs=EXEC, namespace=OWN,
            only=f'request.name.startsWith("{pods_on_nodes.PREFIX}") && '
            f'object.container == "{pods_on_nodes.CONTAINER}"',
            limited=f"container `{pods_on_nodes.CONTAINER}` of Pods named `{pods_on_nodes.PREFIX}…`",
        ),
        RoleRule(
            why="remove its Pods from the nodes", resources=("pods",), verbs=("delete",), namespace=OWN,
            only=_labelled("oldObject", NODE_PODS),
            limited=f"Pods labelled `{NODE_PODS}`",
        ),
        RoleRule(
            why="report the outcome", resources=("events",), verbs=("create",), namespace=OWN,
            only=f'object.involvedObject.kind in ["Job", "CronJob"] && object.source.component == "{COMPONENT}"',
            limited="about Jobs and CronJobs",
        ),
        RoleRule(
            why="see whether it is suspended",
            group="batch",
            resources=("cronjobs",),
            names=(game_day,),
            verbs=("get",),
            namespace=OWN,
        ),
    )  # fmt: skip


def _labelled(at: str, selector: str) -> str:
    """Return CEL that tests whether the object `at` has the label of a selector `key=value`."""
    key, value = map(literal, selector.split("="))
    labels = f"{at}.metadata.labels"
    return f"has({labels}) && {key} in {labels} && {labels}[{key}] == {value}"


def rights(game_day: str, own: str) -> Iterator[Right]:
    """Yield every permission of the rules; `own` is the namespace of runner and node Pods."""
    for rule in rules(game_day):
        for verb, resource, name in product(rule.verbs, rule.resources, rule.names or ("",)):
            namespace = own if rule.namespace == OWN else rule.namespace
            yield Right(
                why=rule.why, verb=verb, resource=resource, group=rule.group, namespace=namespace, name=name
            )
