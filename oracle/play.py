"""Plays a scenario on a control plane of its own, and records what comes of it."""

from __future__ import annotations

import random
import re
import threading
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chaosext.cluster.client import resource_path
from chaosext.model.errors import ChaosextError, Refused, Unreachable
from chaosext.model.timeline import Event, Kind
from chaosext.observe.recorder import Recorder
from chaosext.run.watch.object_watch import ObjectWatch
from oracle.controlplane import ControlPlane
from oracle.kubelets import CUT, KEPT, SIDE, Kubelets
from oracle.manifests import CONTROL_PLANE
from oracle.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from chaosext.cluster.client import Cluster
    from oracle.controlplane import Programs
    from oracle.manifests import Manifest
    from oracle.scenarios import Scenario

SETTLED_WITHIN_S = 120.0

STAGGER_S = 10.0
"""Nodes join at random over a lease's renewal, so that leases have any age at the cut."""

BREATHER_S = (10.5, 16.0)
"""Before the cut: every lease was renewed once, and the monitor's passes have any phase to the cut."""

PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"} | {
    kind: f"{kind.lower()}s" for kind in ("Node", "Pod", "Service", "Namespace")
}

LISTS = (
    "/api/v1/nodes",
    "/api/v1/pods",
    "/api/v1/services",
    "/api/v1/namespaces",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
)

CALICO: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "BGPPeer",
            "metadata": {"name": "leaf"},
            "spec": {"peerIP": "172.18.0.5", "asNumber": 64512, "nodeSelector": f"!has({CONTROL_PLANE})"},
        },
        {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "BGPConfiguration",
            "metadata": {"name": "default"},
            "spec": {"nodeToNodeMeshEnabled": False, "asNumber": 64512},
        },
        {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "IPPool",
            "metadata": {"name": "pool"},
            "spec": {"cidr": "10.244.0.0/16", "ipipMode": "Never", "vxlanMode": "Never"},
        },
    ],
}
"""The story's network, which no control plane knows of: only nodes without a control-plane role announce Pods."""


def play(scenario: Scenario, seed: int, programs: Programs, directory: Path) -> Recording:
    """One play; `seed` decides when nodes join and when the cut comes. Takes a minute and the scenario's own time.

    Raises `ChaosextError` when the cluster doesn't come up.
    """
    chance = random.Random(f"{scenario.name} {seed}")  # noqa: S311
    with ControlPlane(
        programs,
        directory,
        controller_manager=scenario.controller_manager,
        apiserver=scenario.apiserver,
    ) as plane:
        kubelets, cluster = Kubelets(plane, programs), plane.cluster
        _build(cluster, scenario, chance)
        with _Watch(cluster) as watch:
            time.sleep(chance.uniform(*BREATHER_S))
            snapshot = (*_snapshot(cluster), CALICO)
            events = _cut(scenario, kubelets, watch)
        zones = _zone_states(plane.log("kube-controller-manager"), watch, _zones(scenario))
        return Recording(
            scenario=scenario.name,
            seed=seed,
            cut_nodes=tuple(sorted(scenario.cut_nodes)),
            cut_for_s=round(watch.healed_s, 3),
            watched_s=scenario.cut_for_s + scenario.after_s,
            controller_manager_flags=scenario.controller_manager,
            apiserver_flags=scenario.apiserver,
            late_s=round(watch.late_s, 3),
            dns_hosts=watch.dns_hosts,
            snapshot=snapshot,
            events=tuple(sorted((*events, *zones), key=lambda event: event.t_s)),
        )


# -- the cluster ---------------------------------------------------------------------------------------------


def _build(cluster: Cluster, scenario: Scenario, chance: random.Random) -> None:
    _create(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    _join(cluster, scenario, scenario.nodes, chance)
    _until(lambda: _has_accounts(cluster), "service accounts")
    for manifest in scenario.workloads:
        _create(cluster, manifest)
    _until(lambda: _is_settled(cluster, scenario.nodes), "every Pod")
    _join(cluster, scenario, scenario.late, chance)
    _until(lambda: _is_settled(cluster, (*scenario.nodes, *scenario.late)), "every Pod")


def _join(cluster: Cluster, scenario: Scenario, nodes: Sequence[Manifest], chance: random.Random) -> None:
    """Every node at a moment of its own."""
    start_s = time.monotonic()
    offsets = sorted(chance.uniform(0, STAGGER_S) for _ in nodes)
    for offset_s, manifest in zip(offsets, chance.sample(nodes, len(nodes)), strict=True):
        time.sleep(max(0.0, start_s + offset_s - time.monotonic()))
        metadata = manifest["metadata"]
        side = CUT if metadata["name"] in scenario.cut_nodes else KEPT
        labels = {**metadata["labels"], SIDE: side}
        _create(cluster, {**manifest, "metadata": {**metadata, "labels": labels}})


def _create(cluster: Cluster, manifest: Manifest) -> None:
    namespace = manifest["metadata"].get("namespace")
    cluster.request("POST", resource_path(PLURALS[manifest["kind"]], namespace=namespace), body=manifest)


def _has_accounts(cluster: Cluster) -> bool:
    """Pods are refused until their namespace has its default account."""
    wanted = [f"/api/v1/namespaces/{name}/serviceaccounts/default" for name in ("shop", "kube-system")]
    return all(cluster.ask("GET", path).status == 200 for path in wanted)


def _is_settled(cluster: Cluster, nodes: Sequence[Manifest]) -> bool:
    pods = list(cluster.items("pods"))
    wanted = sum(_replicas(each) for kind in ("deployments", "statefulsets") for each in cluster.items(kind))
    wanted += len(nodes) * len(list(cluster.items("daemonsets")))
    bare = sum(not each["metadata"].get("ownerReferences") for each in pods)
    ready = all(
        each.ready == "True" and len(each.taints) == _own_taints(nodes, each.name) for each in cluster.nodes()
    )
    return ready and len(pods) == wanted + bare and all(each.ready for each in cluster.pods())


def _replicas(obj: dict[str, Any]) -> int:
    return int(obj["spec"].get("replicas", 1))


def _own_taints(nodes: Iterable[Manifest], name: str) -> int:
    found = (len(each["spec"].get("taints", ())) for each in nodes if each["metadata"]["name"] == name)
    return next(found, -1)


def _until(done: Any, what: str) -> None:
    end_s = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < end_s:
        with suppress(Unreachable):
            if done():
                return
        time.sleep(0.5)
    raise ChaosextError(f"waited {SETTLED_WITHIN_S:g} s for {what} of the oracle's cluster")


def _snapshot(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """The API's lists, without who wrote which field."""
    for path in LISTS:
        listed = cluster.request("GET", path)
        for item in listed["items"]:
            item["metadata"].pop("managedFields", None)
        yield listed


# -- the cut, and what is seen -------------------------------------------------------------------------------


def _cut(scenario: Scenario, kubelets: Kubelets, watch: _Watch) -> tuple[Event, ...]:
    watch.begin()
    kubelets.cut()
    watch.until(scenario.cut_for_s)
    kubelets.heal()
    watch.healed_s = watch.now_s
    watch.until(scenario.cut_for_s + scenario.after_s)
    if not kubelets.alive:
        raise ChaosextError("KWOK ended while it was needed; see its log")
    return watch.events


class _Watch:
    """Everything that the API server tells, from the cut on, and how punctual this machine is."""

    def __init__(self, cluster: Cluster) -> None:
        self._watch, self._recorder, self._stop = ObjectWatch(()), Recorder(), threading.Event()
        follow = [(each.follow, (cluster, self._recorder, self._stop)) for each in self._watch.followings]
        self._threads = [threading.Thread(target=_again, args=(self._stop, *each)) for each in follow]
        self._threads.append(threading.Thread(target=self._measure))
        self._zero_s, self.zero_wall_s, self.late_s, self.healed_s = 0.0, 0.0, 0.0, 0.0

    def __enter__(self) -> _Watch:
        for thread in self._threads:
            thread.start()
        _until(lambda: self._watch.has_begun, "the first lists")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def begin(self) -> None:
        """The cut is now."""
        self._zero_s, self.zero_wall_s, self.late_s = time.monotonic(), time.time(), 0.0
        self._recorder.set_zero(self._zero_s)

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._zero_s

    def until(self, t_s: float) -> None:
        time.sleep(max(0.0, t_s - self.now_s))

    @property
    def events(self) -> tuple[Event, ...]:
        """From the cut to now, without the zones' states, which the controller's own log tells better."""
        found = (event for event in self._recorder.events if event.kind is not Kind.ZONE_STATE)
        return tuple(event for event in found if event.t_s >= 0)

    @property
    def dns_hosts(self) -> tuple[str, ...]:
        """The nodes of kube-dns' ready endpoints, each as often as it has some."""
        return tuple(sorted(each.node for each in self._watch.dns_endpoints if each.ready))

    def _measure(self) -> None:
        while not self._stop.is_set():
            asleep_s = time.monotonic()
            time.sleep(0.1)
            self.late_s = max(self.late_s, time.monotonic() - asleep_s - 0.1)


def _again(stop: threading.Event, follow: Any, arguments: tuple[Any, ...]) -> None:
    while not stop.is_set():
        with suppress(Unreachable, Refused):
            follow(*arguments)


# -- what only the controller's log tells --------------------------------------------------------------------

LINE = re.compile(r"^I(\d{4} \d\d:\d\d:\d\d\.\d+) .*\] \"Controller detected that (.*)$")
NEW_STATE = re.compile(r"zone is now in new state\" .*?zone=\"(.*?)\" newState=\"(\w+)\"")


def _zones(scenario: Scenario) -> tuple[str, ...]:
    from oracle.manifests import ZONE

    labels = (each["metadata"]["labels"] for each in (*scenario.nodes, *scenario.late))
    return tuple(sorted({each.get(ZONE, "") for each in labels}))


def _zone_states(log: Path, watch: _Watch, zones: Sequence[str]) -> Iterator[Event]:
    """The node lifecycle controller's own words; in master disruption mode it speaks of all zones at once."""
    year = datetime.fromtimestamp(watch.zero_wall_s).year
    for line in log.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if not match:
            continue
        moment = datetime.strptime(f"{year}{match[1]}", "%Y%m%d %H:%M:%S.%f")
        t_s = moment.timestamp() - watch.zero_wall_s
        if t_s < 0:
            continue
        if state := NEW_STATE.search(line):
            yield _zone_event(t_s, state[1].replace(r":\x00:", "/").strip("/"), state[2])
        elif "Entering master disruption" in line:
            for zone in zones:
                yield _zone_event(t_s, zone, "FullDisruption")


def _zone_event(t_s: float, zone: str, state: str) -> Event:
    return Event(
        t_s=t_s,
        kind=Kind.ZONE_STATE,
        object=f"Zone/{zone or '(none)'}",
        detail=f"is {state}",
        source="kube-controller-manager",
    )
