"""Sentinels are on every node or on none: what hinders one is named with its fix, and what was made is taken away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sentinel_cluster import OWN, STARTING, SentinelCluster, ended, node, waiting

from chaosext.cluster.daemonset import FORMER
from chaosext.cluster.objects import CoreV1Event
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.owner import Claim, me
from chaosext.model.redact import veiled
from chaosext.run.agents import sentinel_pods
from chaosext.run.agents.sentinel_pods import Placed, new_token, place, remove
from chaosext.safety.intent import intent_log, placed
from chaosext.sentinel.sentinel_image import image_name
from chaosext.sentinel.watch_plan import Sidecar, WatchPlan

if TYPE_CHECKING:
    from pathlib import Path

MINE = Claim(run="mine", owner="alice@laptop")
TOKEN = new_token()


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(sentinel_pods, "POLL_S", 0.001)
    monkeypatch.setattr(sentinel_pods, "UNDO_S", 0.05)


def put(cluster: Any, *, image: str = "", within_s: float = 0.05, plan: WatchPlan | None = None) -> Placed:
    plan = plan or WatchPlan(run="mine")
    return place(
        cluster, MINE, namespace=OWN, image=image, port=9853, token=TOKEN, plan=plan, within_s=within_s
    )


def left() -> list[tuple[str, str]]:
    """What a cleanup would look for."""
    return [(each.run, each.context) for each in placed(intent_log().entries())]


def environment(made: dict[str, Any]) -> dict[str, str]:
    (container,) = made["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def failed_create(message: str, about: str = "uid-0") -> CoreV1Event:
    said = {"reason": "FailedCreate", "message": message}
    return CoreV1Event.from_json({"involvedObject": {"uid": about}, **said})


def test_there_is_one_on_every_linux_node() -> None:
    cluster: Any = SentinelCluster("cp", "w1")
    cluster.nodes_are.append(node("win", os="windows"))

    found = put(cluster)

    assert (found.run, found.port) == ("mine", 9853)
    assert found.addresses == {"cp": "10.0.0.0", "w1": "10.0.0.1"}
    assert left() == [("mine", "kind-bed")]


def test_it_is_given_what_it_needs_and_may_do_nothing_else() -> None:
    cluster: Any = SentinelCluster()
    put(cluster, plan=WatchPlan(run="mine", dns_name="kubernetes.default.svc.cluster.local"))

    (made,) = cluster.made
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == image_name()
    assert (
        WatchPlan.parse(environment(made)["CHAOSEXT_PLAN"]).dns_name == "kubernetes.default.svc.cluster.local"
    )
    assert {key: value for key, value in environment(made).items() if key != "CHAOSEXT_PLAN"} == {
        "CHAOSEXT_NODE": "",
        "CHAOSEXT_HOST_IP": "",
        "CHAOSEXT_PORT": "9853",
        "CHAOSEXT_TOKEN": TOKEN,
        "CHAOSEXT_RECORD_DIR": "/var/lib/chaosext",
    }
    assert container["securityContext"] == {
        "runAsUser": 0,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["hostNetwork"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert made["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


def test_no_pod_of_anybodys_makes_room_for_it() -> None:
    cluster: Any = SentinelCluster()
    put(cluster)

    (made,) = cluster.made
    pod = made["spec"]["template"]["spec"]
    assert {"priority", "priorityClassName"}.isdisjoint(pod)
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "0", "memory": "0"}


@pytest.mark.parametrize(("calico", "user", "mounted"), [(True, 0, ["/var/run/calico"]), (False, 65534, [])])
def test_it_is_root_only_where_birds_socket_is(calico: bool, user: int, mounted: list[str]) -> None:
    cluster: Any = SentinelCluster()
    cluster.calico = calico
    put(cluster)

    pod = cluster.made[0]["spec"]["template"]["spec"]
    assert pod["containers"][0]["securityContext"]["runAsUser"] == user
    assert [each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each] == mounted
    assert [each["readOnly"] for each in pod["containers"][0]["volumeMounts"] if each["name"] == "bird"] == [
        True for _ in mounted
    ]


def test_a_plan_that_is_too_long_for_an_environment_comes_later() -> None:
    sidecars = tuple(Sidecar(node="w1", pod=f"Pod/shop/cart-{n}", address="10.1.2.3") for n in range(2000))
    plan = WatchPlan(run="mine", dns_name="x", sidecars=sidecars)
    cluster: Any = SentinelCluster()

    found = put(cluster, plan=plan)

    assert found.plan != plan
    assert (found.plan.dns_name, found.plan.sidecars) == ("x", ())
    assert len(environment(cluster.made[0])["CHAOSEXT_PLAN"]) < 128 * 1024


def test_a_mesh_of_a_hundred_nodes_fits_into_an_environment() -> None:
    nodes = {f"node-{n}.example.internal": f"10.20.30.{n}" for n in range(100, 200)}
    peers = {node: tuple(ip for other, ip in nodes.items() if other != node) for node in nodes}
    cluster: Any = SentinelCluster()
    put(cluster, plan=WatchPlan(run="mine", bgp_peers=peers))
    assert len(environment(cluster.made[0])["CHAOSEXT_PLAN"]) < 128 * 1024


def test_the_token_is_said_nowhere() -> None:
    token = new_token()
    assert token != new_token()
    assert token not in veiled(f"Authorization: Bearer {token}")
    assert token not in json.dumps(intent_log().entries())


@pytest.mark.parametrize(
    ("status", "said", "fix"),
    [
        (
            waiting("ErrImagePull", "a: b: no such host"),
            "w1: ErrImagePull (a: b: no such host)",
            "testbed up",
        ),
        (
            ended(1, "Traceback\nOSError: Address already in use"),
            "exit code 1: OSError: Add",
            "sentinel_port",
        ),
        (
            waiting("CreateContainerError", "no space"),
            "w1: CreateContainerError (no space)",
            "sentinel: false",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "w1: Evicted: disk", "sentinel: false"),
    ],
)
def test_what_hinders_it_is_named_with_node_and_fix(status: dict[str, Any], said: str, fix: str) -> None:
    cluster: Any = SentinelCluster()
    cluster.pods_do["w1"] = status

    with pytest.raises(Refused) as refused:
        put(cluster, within_s=60)

    assert said in refused.value.message
    assert fix in refused.value.fix
    assert "w2" not in refused.value.message
    assert (cluster.daemon_set, cluster.deleted, left()) == (None, ["mine"], [])


def test_nodes_that_are_hindered_alike_are_named_together() -> None:
    cluster: Any = SentinelCluster()
    cluster.pods_do = {"w1": waiting("ErrImagePull", "gone"), "w2": waiting("ErrImagePull", "gone")}
    with pytest.raises(Refused, match=r"w1, w2: ErrImagePull \(gone\)"):
        put(cluster)


def test_a_cluster_that_forbids_its_pods_is_quoted() -> None:
    cluster: Any = SentinelCluster()
    cluster.forbidden = True
    cluster.events_are = [
        failed_create("forbidden: exceeded quota: pods"),
        failed_create("of another DaemonSet", about="uid-9"),
    ]

    with pytest.raises(Refused, match="every node: forbidden: exceeded quota: pods") as refused:
        put(cluster, within_s=60)

    assert "permit it in namespace chaosext" in refused.value.fix
    assert cluster.daemon_set is None


@pytest.mark.parametrize(
    ("ready", "status", "said"),
    [
        (True, STARTING, "w1: its Pod is Pending"),
        (False, STARTING, "w1: the node is not Ready"),
        (
            True,
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no free ports"}]},
            "w1: no free ports",
        ),
    ],
)
def test_one_that_does_not_come_in_time_is_a_refusal(ready: bool, status: dict[str, Any], said: str) -> None:
    cluster: Any = SentinelCluster()
    cluster.nodes_are[1] = node("w1", ready=ready)
    cluster.pods_do["w1"] = status

    with pytest.raises(Refused, match=said):
        put(cluster)

    assert cluster.daemon_set is None


def test_what_a_dead_run_left_is_replaced() -> None:
    cluster: Any = SentinelCluster()
    cluster.left_by("dead")
    assert put(cluster).run == "mine"
    assert cluster.deleted == ["dead"]


def test_what_a_living_run_has_is_left_alone() -> None:
    cluster: Any = SentinelCluster()
    cluster.left_by("theirs", **{"chaosext/owner": "bob@host", "chaosext/holder": str(me())})

    with pytest.raises(
        Refused, match=r"sentinels of run theirs of bob@host.* are there, and that run is alive"
    ):
        put(cluster)

    assert cluster.deleted == []
    assert left() == []


def test_a_strangers_daemon_set_is_left_alone() -> None:
    cluster: Any = SentinelCluster()
    cluster.left_by("x")
    cluster.daemon_set["metadata"]["labels"] = {"app": "mine"}
    with pytest.raises(Refused, match="DaemonSet chaosext/chaosext-sentinel was not made by chaosext"):
        put(cluster)
    assert cluster.deleted == []


def test_sentinels_of_an_earlier_version_are_replaced_in_their_own_namespace() -> None:
    cluster: Any = SentinelCluster()
    cluster.left_by("dead", FORMER)
    assert put(cluster).run == "mine"
    assert cluster.deleted == ["dead"]
    assert list(cluster.daemon_sets) == [OWN]


def test_sentinels_of_a_living_run_of_an_earlier_version_are_left_alone() -> None:
    cluster: Any = SentinelCluster()
    cluster.left_by("theirs", FORMER, **{"chaosext/owner": "bob@host", "chaosext/holder": str(me())})
    with pytest.raises(Refused, match=r"in namespace kube-system.* are there, and that run is alive"):
        put(cluster)
    assert list(cluster.daemon_sets) == [FORMER]


def test_a_missing_namespace_is_created_with_the_label_that_admits_sentinels() -> None:
    cluster: Any = SentinelCluster()
    del cluster.namespaces[OWN]
    put(cluster)
    assert cluster.namespaces[OWN]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert remove(cluster, OWN, "mine", within_s=0.05)
    assert OWN in cluster.namespaces


def test_a_missing_namespace_that_may_not_be_created_is_a_refusal_with_the_commands() -> None:
    cluster: Any = SentinelCluster()
    del cluster.namespaces[OWN]
    cluster.may_create_namespaces = False
    with pytest.raises(Refused, match="namespace chaosext is missing: missing permission") as refused:
        put(cluster)
    assert "`kubectl create namespace chaosext; kubectl label --overwrite namespace" in refused.value.fix
    assert cluster.made == []


def test_a_pod_security_standard_that_keeps_sentinels_out_is_named_with_its_label() -> None:
    cluster: Any = SentinelCluster()
    cluster.forbidden = True
    said = 'pods "x" is forbidden: violates PodSecurity "baseline:latest": host namespaces'
    cluster.events_are = [failed_create(said)]
    with pytest.raises(Refused, match="violates PodSecurity") as refused:
        put(cluster, within_s=60)
    assert "pod-security.kubernetes.io/enforce=privileged" in refused.value.fix


def test_the_intent_log_says_in_which_namespace_they_are() -> None:
    cluster: Any = SentinelCluster()
    put(cluster)
    assert [each.namespace for each in placed(intent_log().entries())] == [OWN]


def test_pods_that_do_not_go_away_keep_ours_out() -> None:
    cluster: Any = SentinelCluster()
    cluster.left_by("dead")
    cluster.lingering = {"w1"}
    with pytest.raises(Refused, match=r"sentinels of run dead .* are not removed in time"):
        put(cluster)
    assert cluster.made == []


def test_an_api_server_that_is_silent_for_a_moment_is_asked_again() -> None:
    cluster: Any = SentinelCluster()
    create = cluster._post
    cluster._post = lambda *made: (create(*made), setattr(cluster, "silent", 2))[0]
    assert put(cluster, within_s=60).addresses.keys() == {"cp", "w1", "w2"}


def test_an_api_server_that_falls_silent_leaves_a_note_for_the_cleanup() -> None:
    cluster: Any = SentinelCluster()
    create = cluster._post
    cluster._post = lambda *made: (create(*made), setattr(cluster, "silent", 10**6))[0]
    with pytest.raises(Unreachable):
        put(cluster)
    assert left() == [("mine", "kind-bed")]


def test_what_can_not_be_written_down_is_not_placed(tmp_path: Path) -> None:
    (tmp_path / "chaosext" / "intent.jsonl").mkdir(parents=True)
    cluster: Any = SentinelCluster()
    with pytest.raises(Refused, match="intent log"):
        put(cluster)
    assert cluster.made == []


def test_removing_may_be_repeated_and_forgets_what_was_placed() -> None:
    cluster: Any = SentinelCluster()
    put(cluster)
    assert remove(cluster, OWN, "mine", within_s=0.05)
    assert left() == []
    assert remove(cluster, OWN, "mine", within_s=0.05)
    assert cluster.deleted == ["mine"]


def test_removing_takes_no_other_runs_sentinels() -> None:
    cluster: Any = SentinelCluster()
    cluster.left_by("theirs")
    assert remove(cluster, OWN, "mine", within_s=0.05)
    assert cluster.deleted == []


def test_pods_that_were_not_seen_gone_are_remembered() -> None:
    cluster: Any = SentinelCluster()
    put(cluster)
    cluster.lingering = {"w2"}
    assert not remove(cluster, OWN, "mine", within_s=0.05)
    assert cluster.deleted == ["mine"]
    assert left() == [("mine", "kind-bed")]


def test_removing_never_raises() -> None:
    cluster: Any = SentinelCluster()
    put(cluster)
    cluster.silent = 10**6
    assert not remove(cluster, OWN, "mine", within_s=0.05)
    cluster.silent = 0
    cluster._get = lambda *_: {"metadata": "torn"}
    assert not remove(cluster, OWN, "mine", within_s=0.05)
