"""What a recording keeps of an object: what a diagnosis reads, and no secrets."""

from __future__ import annotations

import json
from dataclasses import replace

from made_cluster import MadeCluster

from chaosext.diagnose.cluster_sight import sight_of
from chaosext.diagnose.collection import MORE, Collected, kept_of
from chaosext.diagnose.engine import Condition, diagnose
from chaosext.diagnose.node_sight import NodeSight
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
    pod["status"]["containerStatuses"][0] |= {"env": HIDDEN}
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
    collected = Collected(context="kind-x", at=before.now)
    for kind, items in made.objects.items():
        collected.items[kind] = [kept_of(KINDS[kind], each) for each in items]
    collected.findings = tuple(before.findings.values())
    collected.nodes = dict(before.nodes_seen)
    assert diagnose(sight_of(listed_of(collected.text()))).condition is Condition.HEALTHY


def test_api_server_out_of_reach_is_recorded_with_what_nodes_show() -> None:
    made = MadeCluster()
    collected = Collected(context="kind-x", api="timed out")
    collected.nodes = {
        name: replace(NodeSight.from_json(each), cuts=()) for name, each in made.sights.items()
    }
    found = diagnose(sight_of(listed_of(collected.text())))
    assert [root.cause.rule for root in found.roots] == ["api_out_of_reach"]
    assert found.condition is Condition.EXPLAINED
