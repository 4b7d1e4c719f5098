"""What a recording keeps of an object: what a diagnosis reads, and no secrets."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from made_cluster import NOW, MadeCluster
from test_node_sight import ANSWER

from chaosext.cluster.objects import Node
from chaosext.diagnose import collection
from chaosext.diagnose.cluster_sight import sight_of
from chaosext.diagnose.collection import MORE, CollectedSight, collect, kept_of
from chaosext.diagnose.node_sight import NodeSight
from chaosext.diagnose.root_causes import ClusterCondition, diagnose
from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes.shell import ShellResult
from chaosext.rehearsal.snapshot.prune import WANTED
from chaosext.rehearsal.snapshot.snapshot_files import listed_of

HIDDEN = "hunter2"
KINDS = {each.kind: each for each in (*WANTED, *MORE)}


def test_recording_of_a_pod_has_neither_environment_nor_command_nor_annotations() -> None:
    pod = MadeCluster().pods_of("cart-0")[0]
    pod["metadata"]["annotations"] = {"token": HIDDEN}
    pod["spec"]["containers"][0] |= {
        "env": [{"name": "A", "value": HIDDEN}],
        "command": [HIDDEN],
        "image": HIDDEN,
    }
    pod["status"]["containerStatuses"][0] |= {"env": HIDDEN, "image": HIDDEN}
    kept = kept_of(KINDS["Pod"], pod)
    assert HIDDEN not in json.dumps(kept)
    assert kept["status"]["containerStatuses"][0]["ready"] is True


def test_recording_keeps_when_a_kubelet_renewed_and_nothing_else_of_managed_fields() -> None:
    lease = MadeCluster().find("Lease", "w1")
    renewal = {"f:spec": {"f:renewTime": {}, "f:holderIdentity": {}}}
    lease["metadata"]["managedFields"] = [
        {"manager": HIDDEN, "time": "2026-11-30T11:00:00Z", "fieldsV1": renewal}
    ]
    kept = kept_of(KINDS["Lease"], lease)
    assert kept["metadata"]["managedFields"] == [
        {"time": "2026-11-30T11:00:00Z", "fieldsV1": {"f:spec": {"f:renewTime": {}}}}
    ]


def test_collected_cluster_is_diagnosed_as_the_made_one() -> None:
    made = MadeCluster()
    before = made.sight()
    collected = CollectedSight(context="kind-x", at=before.now)
    for kind, items in made.objects.items():
        collected.items[kind] = [kept_of(KINDS[kind], each) for each in items]
    collected.findings = tuple(before.findings.values())
    collected.nodes = dict(before.nodes_seen)
    assert diagnose(sight_of(listed_of(collected.text()))).condition is ClusterCondition.HEALTHY


def test_api_server_out_of_reach_is_recorded_with_what_nodes_show() -> None:
    made = MadeCluster()
    collected = CollectedSight(context="kind-x", api="timed out")
    collected.nodes = {
        name: replace(NodeSight.from_json(each), cuts=()) for name, each in made.sights.items()
    }
    found = diagnose(sight_of(listed_of(collected.text())))
    assert [root.cause.rule for root in found.roots] == ["api_out_of_reach"]
    assert found.condition is ClusterCondition.EXPLAINED


class MadeApi:
    """An API server that has the objects of a made cluster; `fails`: kind (plural) -> what a request for it raises."""

    context = "kind-x"

    def __init__(self, made: MadeCluster, fails: dict[str, Exception] | None = None) -> None:
        self._made, self._fails = made, fails or {}

    def now(self) -> Any:
        if "now" in self._fails:
            raise self._fails["now"]
        return NOW

    def nodes(self) -> tuple[Node, ...]:
        return tuple(map(Node.from_json, self.items("nodes")))

    def items(self, plural: str, namespace: str | None = None) -> list[dict[str, Any]]:
        if plural in self._fails:
            raise self._fails[plural]
        kinds = {each.plural: kind for kind, each in KINDS.items()}
        self._made.text()  # makes the EndpointSlices
        return self._made.objects.get(kinds[plural], [])

    def get(self, plural: str, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        raise Refused(f"no {plural} {name}")


class SaidShell:
    """A node that answers every script in the same way, after a while."""

    def __init__(self, node: str, stdout: str, after_s: float = 0.0) -> None:
        self.node, self._stdout, self._after_s = node, stdout, after_s

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        time.sleep(self._after_s)
        return ShellResult(0, self._stdout, "")


@pytest.fixture(autouse=True)
def nothing_else_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "_measure", lambda *_: ())
    monkeypatch.setattr(
        collection, "inspect", lambda shells: [SimpleNamespace(node=n, problem="", tables=()) for n in shells]
    )


def test_kind_that_may_not_be_read_is_named_and_the_others_are_used() -> None:
    api: Any = MadeApi(MadeCluster(), {"events": Refused("missing permission: events")})
    found = collect(api, lambda _: {})
    assert found.missed["Event"] == "missing permission: events"
    sight = sight_of(listed_of(found.text()))
    assert len(sight.pods) == len(MadeCluster().objects["Pod"])
    assert any("missing permission: events" in each for each in sight.gaps)


def test_node_that_is_too_slow_is_named_and_the_others_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "WITHIN_S", 1.0)
    api: Any = MadeApi(MadeCluster())
    began_s = time.monotonic()
    found = collect(api, lambda _: {"w1": SaidShell("w1", ANSWER, after_s=3.0)})  # type: ignore[dict-item]
    assert time.monotonic() - began_s < 3.0
    assert found.blind["w1"] == "no answer within 1 s"
    assert found.items["Node"]


def test_nodes_are_asked_while_no_api_server_answers() -> None:
    api: Any = MadeApi(
        MadeCluster(), {"now": Unreachable("API server of context kind-x: no answer within 8 s")}
    )
    of_worker = ANSWER.replace("[-]etcd failed: reason withheld\nreadyz check failed\n\nasked\n", "")
    shells = {"w1": SaidShell("w1", of_worker), "w2": SaidShell("w2", "")}
    found = collect(
        api, lambda names: {name: shells[name] for name in names}, found_nodes=lambda: ("w1", "w2")
    )  # type: ignore[misc]
    assert found.nodes["w1"].api == "timed out"
    assert found.blind["w2"] == "w2: its answer broke off"
    told = diagnose(sight_of(listed_of(found.text())))
    assert [root.cause.rule for root in told.roots] == ["nodes_cut_off"]
    assert any("by_hand" in each for each in told.roots[0].cause.evidence)
