"""Snapshot files: whatever kubectl or the API gave is read; what is missing is assumed aloud; the rest is refused."""

from __future__ import annotations

import gzip
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from listings import (
    AGENTS,
    CALICO,
    KUBE_DNS,
    LEAF,
    NO_MESH,
    POOL,
    SMALL,
    coredns,
    item,
    listed,
    node,
    pod,
    service,
    written,
)

from chaosext.model.errors import Refused
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Dns, Forecast
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.rehearsal.snapshot.world import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

    Read = Callable[..., World]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reading(*items: Any, **flags: Any) -> World:
        return read_snapshot([written(tmp_path / "cluster.json", listed(*items))], **flags)

    return reading


# -- what is read --------------------------------------------------------------------------------------------


def test_a_list_of_kubectl_is_a_world(read: Read) -> None:
    world = read(*SMALL)
    assert [each.name for each in world.nodes] == ["cp-1", "worker-1", "worker-2"]
    assert [each.control_plane for each in world.nodes] == [True, False, False]
    assert world.nodes[1].allocatable.cpu_m == 3920
    assert world.dns is not None
    assert world.dns.cluster_ips == ("10.96.0.10",)
    assert world.network.plugin is Plugin.CALICO
    assert not world.network.full_mesh
    dns = next(pod for pod in world.pods if pod.name.startswith("coredns"))
    assert (dns.node, dns.owner, dns.ready) == ("worker-1", "ReplicaSet/coredns-66bc5c9577", True)
    assert [each.seconds for each in dns.spec.tolerations] == [None, 300, 300]


def test_pods_of_one_template_share_what_is_equal(read: Read) -> None:
    *agents, first, second = read(*SMALL).pods
    assert first.spec is second.spec
    assert len({id(agent.spec) for agent in agents}) == 1


def test_files_together_are_one_snapshot(tmp_path: Path, read: Read) -> None:
    whole = read(*SMALL)
    parts = [written(tmp_path / f"{at}.json", listed(each)) for at, each in enumerate(SMALL)]
    assert_same(read_snapshot(parts), whole)


def test_lists_one_after_the_other_in_a_file_are_one_snapshot(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path / "both.json", listed(*SMALL[:4]), listed(), listed(*SMALL[4:]))
    assert_same(read_snapshot([path]), read(*SMALL))


def test_a_gzip_file_is_read_whatever_its_name(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "cluster.json"
    path.write_bytes(gzip.compress(json.dumps(listed(*SMALL)).encode()))
    assert_same(read_snapshot([path]), read(*SMALL))


def test_a_file_that_a_shell_began_with_a_byte_order_mark_is_read(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "marked.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(listed(*SMALL)).encode())
    assert_same(read_snapshot([path]), read(*SMALL))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_pipe_is_read_to_its_end(tmp_path: Path, read: Read, pack: Callable[[bytes], bytes]) -> None:
    """As the shell's `<(kubectl get … -o json)` is one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = pack(json.dumps(listed(*SMALL), indent=4).encode() + b" " * 200_000)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    found = read_snapshot([pipe])
    writer.join()
    assert_same(found, read(*SMALL))


def test_lists_of_one_kind_as_the_api_gives_them_are_read(tmp_path: Path, read: Read) -> None:
    """Their items don't repeat the kind; Calico's Node and Kubernetes' are two kinds."""
    lists: dict[tuple[str, str], dict[str, Any]] = {}
    for each in (
        *SMALL,
        item("Node", "worker-1", api="projectcalico.org/v3", spec={"bgp": {"ipv4Address": "10.0.0.2/24"}}),
    ):
        kind, api = each["kind"], each["apiVersion"]
        empty = {"kind": f"{kind}List", "apiVersion": api, "metadata": {}, "items": []}
        bare = {key: value for key, value in each.items() if key not in ("kind", "apiVersion")}
        lists.setdefault((kind, api), empty)["items"].append(bare)
    world = read_snapshot([written(tmp_path / "api.json", *lists.values())])
    assert [each.bgp_addresses for each in world.nodes] == [(), ("10.0.0.2/24",), ()]
    assert len(world.pods) == 5
    assert world.network.plugin is Plugin.CALICO


def assert_same(one: World, other: World) -> None:
    assert one.nodes == other.nodes
    assert [(pod.subject, pod.node) for pod in one.pods] == [(pod.subject, pod.node) for pod in other.pods]
    assert (one.dns, one.network, one.assumptions) == (other.dns, other.network, other.assumptions)


# -- versions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "grace_s"),
    [("v1.24.17", 40.0), ("v1.31.9", 40.0), ("v1.32.0", 50.0), ("v1.37.0-alpha.1", 50.0), ("", 50.0)],
)
def test_without_arguments_the_versions_defaults_are_in_force(
    read: Read, version: str, grace_s: float
) -> None:
    world = read(node("cp-1", version=version), node("worker-1", version=version))
    assert world.control_plane.timings.grace_s == grace_s
    said = next(each for each in world.assumptions if "static Pod" in each)
    assert (version or "an unknown version") in said


def test_the_old_label_of_a_control_plane_is_one(read: Read) -> None:
    labels = {"node-role.kubernetes.io/master": ""}
    old = item("Node", "m-1", metadata={"labels": labels}, status={"nodeInfo": {"kubeletVersion": "v1.24.0"}})
    assert read(old, node("worker-1")).nodes[0].control_plane


def test_the_old_labels_of_a_zone_are_read(read: Read) -> None:
    old = {"failure-domain.beta.kubernetes.io/zone": "b", "failure-domain.beta.kubernetes.io/region": "r"}
    world = read(node("worker-1", **old), node("worker-2", **{"topology.kubernetes.io/zone": "b"}))
    assert [each.zone for each in world.nodes] == ["r:\x00:b", ":\x00:b"]


def test_a_field_that_nobody_knows_yet_is_passed_over(read: Read) -> None:
    later = node("worker-1", version="v1.37.0")
    later["spec"]["somethingNew"] = {"deep": [1, {"a": None}]}
    later["status"]["declaredFeatures"] = ["x"]
    assert read(later).nodes[0].name == "worker-1"


# -- timings -------------------------------------------------------------------------------------------------


def static(component: str, *command: str) -> Any:
    made = pod(f"{component}-cp-1", "cp-1", "kube-system", "Node/cp-1")
    made["spec"]["containers"][0]["command"] = [component, *command]
    return made


STATIC = (
    static("kube-controller-manager", "--node-monitor-grace-period=20s", "--node-eviction-rate=0.5"),
    static("kube-apiserver", "--default-unreachable-toleration-seconds=20"),
)


def test_the_static_pods_arguments_are_in_force(read: Read) -> None:
    made = read(*SMALL, *STATIC).control_plane
    assert (made.timings.grace_s, made.timings.toleration_s, made.eviction_rate) == (20.0, 20.0, 0.5)


def test_arguments_given_win(read: Read) -> None:
    made = read(*SMALL, *STATIC, controller_manager_args=["--node-monitor-grace-period=1m5s"]).control_plane
    assert (made.timings.grace_s, made.timings.toleration_s) == (65.0, 20.0)
    assert "command line" in made.timings.source


@pytest.mark.parametrize(
    "flag", ["node-monitor-grace-period=soon", "node-eviction-rate=nan", "no-such-flag=1", "nothing", "=1"]
)
def test_an_argument_that_means_nothing_is_refused_by_name(read: Read, flag: str) -> None:
    with pytest.raises(Refused, match="controller-manager-arg") as refused:
        read(*SMALL, controller_manager_args=[flag])
    assert flag in refused.value.message


# -- what is missing -----------------------------------------------------------------------------------------


def predicted(world: World) -> Any:
    cut = frozenset(each.name for each in world.nodes if not each.control_plane)
    return rehearse(world, Plan(cut_nodes=cut), samples=4)


@pytest.mark.parametrize("missing", [LEAF, NO_MESH, POOL], ids=lambda each: each["kind"])
def test_without_calicos_objects_nobody_claims_to_know_who_reaches_whom(read: Read, missing: Any) -> None:
    found = predicted(read(*(each for each in SMALL if each is not missing)))
    assert missing["kind"] in " ".join(found.assumptions)
    assert found.verdict is Forecast.UNKNOWN
    assert found.self_heals is None
    assert found.dns.after_heal is Dns.UNKNOWN


def test_kinds_that_a_file_says_it_looked_for_are_none_and_not_missing(tmp_path: Path) -> None:
    kinds = ["BGPPeer", "BGPConfiguration", "IPPool", "PodDisruptionBudget"]
    path = written(tmp_path / "c.json", listed(*SMALL[:-3], POOL, chaosext={"kinds": kinds}))
    assert "PodDisruptionBudget" not in " ".join(read_snapshot([path]).assumptions)


def test_without_calico_what_is_unknown_is_unknown(read: Read) -> None:
    world = read(*(each for each in SMALL if each not in (*CALICO, *AGENTS)))
    assert world.network.plugin is Plugin.UNKNOWN
    assert predicted(world).verdict is Forecast.UNKNOWN


def test_without_kube_dns_its_fate_is_unknown(read: Read) -> None:
    world = read(*SMALL[:3], *CALICO)
    assert world.dns is None
    assert "no kube-dns" in " ".join(world.assumptions)
    assert predicted(world).verdict is Forecast.UNKNOWN


def test_without_its_service_kube_dns_is_known_by_its_pods(read: Read) -> None:
    world = read(*(each for each in SMALL if each is not KUBE_DNS))
    assert world.dns is not None
    assert "no Service of cluster DNS" in " ".join(world.assumptions)


def test_a_dns_of_another_name_is_found_by_its_label(read: Read) -> None:
    other = service("coredns", "kube-system", **{"k8s-app": "kube-dns"})
    other["metadata"]["labels"] = {"k8s-app": "kube-dns"}
    world = read(*(each for each in SMALL if each is not KUBE_DNS), other)
    assert world.dns is not None
    assert world.dns.name == "coredns"


def test_without_istio_there_is_no_mesh(read: Read) -> None:
    assert read(*SMALL).mesh is None


def test_nodes_without_zones_are_in_one(read: Read) -> None:
    world = read(*SMALL)
    assert {each.zone for each in world.nodes} == {""}
    assert "no node has a zone label" in " ".join(world.assumptions)


def test_a_control_plane_elsewhere_is_said(read: Read) -> None:
    world = read(node("worker-1"), node("worker-2"))
    assert "run outside the cluster's nodes" in " ".join(world.assumptions)


def test_nodes_alone_are_enough_to_say_what_isnt_known(read: Read) -> None:
    found = predicted(read(node("cp-1"), node("worker-1")))
    assert "Pod" in " ".join(found.assumptions)
    assert found.verdict is Forecast.UNKNOWN


# -- what is refused -----------------------------------------------------------------------------------------

WHOLE = json.dumps(listed(*SMALL)).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"  \n ", "empty"),
        (WHOLE[: len(WHOLE) // 2], "truncated"),
        (WHOLE + WHOLE[:100], "truncated"),
        (WHOLE + b"\nerror: timed out", "invalid JSON"),
        (b"kind: List\nitems: []\n", "no Node"),
        (b"kind: [List\n", "neither JSON nor YAML"),
        (b'{"items": [' + b"[" * 100_000, "item 1 is not a Kubernetes object"),
        (b"[" * 100_000 + b"]" * 100_000, "not a Kubernetes List|nested too deeply"),
        (b"[]", "no Kubernetes objects: it is an empty array"),
        (b"42", "no Kubernetes objects: it is not an object"),
        (
            b'{"kind": "Status", "metadata": {}, "status": "Failure"}',
            "a Status is an error of the API server",
        ),
        (b'{"kind": "PodList"}', "PodList has no items"),
        (b'{"apiVersion": "v1", "metadata": {"name": "x"}}', "it has no kind"),
        (b'{"kind": "Node", "spec": {}}', "Node has no metadata"),
        (b'{"items": 3}', "not a Kubernetes List"),
        (b'{"kind": "List", "items": [7]}', "item 1"),
        (b'{"kind": "List", "items": [{"metadata": {"name": "x"}}]}', "has no kind"),
        (b'{"kind": "List", "items": [{"metadata": {}}]}', "item 1 is not a Kubernetes object"),
        (b'{"kind": "List", "items": [' + b"0," * 5000 + b"0]}", "item 1 is not a Kubernetes object"),
        (b'{"kind": "List", "items": [' + WHOLE + b" " + WHOLE + b"]}", "invalid JSON at byte"),
        (b'{"kind": "List", "kind": "List", "items": []}', "key 'kind' occurs twice"),
        (b'{"metadata": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"kind" "List"}', "invalid JSON at byte"),
        (b'{"kind": "List", "items": [', "truncated"),
        (b'{"kind": "List", 5: 6}', "not a Kubernetes List"),
        (b'{"kind": "List" \x00', "invalid JSON at byte"),
        (gzip.compress(bytes(200 << 20)), "expands to more than 200 times"),
        (b'{"kind": "List", "items": []}', "no Node"),
        (b"\xff\xfe{\x00}", "invalid UTF-16"),
        (b'{"kind": "List", "items": [{"kind": "Node", "metadata": {"name": "\xff"}}]}', "c.json"),
        (gzip.compress(WHOLE)[:200], "gzip"),
        (b"\x1f\x8b\x08garbage", "gzip"),
        (gzip.compress(WHOLE[:300]), "truncated"),
    ],
    ids=range(34),
)
def test_what_is_no_whole_list_is_refused_with_its_file(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(data)
    with pytest.raises(Refused, match=says) as refused:
        read_snapshot([path])
    assert refused.value.fix


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        ("Node", {"status": {"allocatable": {"cpu": "much"}}}),
        ("Node", {"status": {"allocatable": {"pods": "x"}}}),
        ("Node", {"metadata": {"labels": ["a"]}}),
        ("Node", {"status": {"conditions": {"type": "Ready"}}}),
        ("Pod", {"spec": {"containers": "all"}}),
        ("Pod", {"spec": {"containers": [{"resources": {"requests": {"cpu": "1x"}}}]}}),
        ("Pod", {"spec": {"tolerations": [{"tolerationSeconds": "ever"}]}}),
        ("Service", {"spec": {"selector": 5}}),
        ("IPPool", {"spec": 5}),
        ("BGPPeer", {"metadata": None}),
        ("BGPPeer", {"spec": {"nodeSelector": "((("}}),
        (
            "Lease",
            {"metadata": {"namespace": "kube-node-lease", "name": "worker-1"}, "spec": {"renewTime": "x"}},
        ),
    ],
)
def test_an_object_of_another_shape_is_refused_or_passed_over_never_a_crash(
    tmp_path: Path, kind: str, broken: Any
) -> None:
    api = "crd.projectcalico.org/v1" if kind in ("IPPool", "BGPPeer") else "v1"
    made = {"apiVersion": api, "kind": kind, "metadata": {"name": "odd"}, **broken}
    path = written(tmp_path / "c.json", listed(*SMALL, made))
    with pytest.raises(Refused, match=r"c\.json|nodeSelector|selector"):
        predicted(read_snapshot([path]))


def test_a_file_that_isnt_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No such file"):
        read_snapshot([tmp_path / "nothing.json"])


def test_a_directory_without_objects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(Refused, match="no file in it has Kubernetes objects"):
        read_snapshot([tmp_path])


def test_what_two_files_both_hold_is_there_once(tmp_path: Path) -> None:
    """kubectl was asked twice, a little apart: the later answer is the truer one."""
    files = [written(tmp_path / name, listed(*SMALL)) for name in ("one.json", "again.json")]
    once, twice = read_snapshot(files[:1]), read_snapshot(files)
    assert (twice.nodes, len(twice.pods)) == (once.nodes, len(once.pods))
    doubled = [each for each in twice.assumptions if "more than once" in each]
    assert doubled == [
        "objects that occur more than once count once, the newest of each: "
        "1 BGPConfiguration, 1 BGPPeer, 1 IPPool, 2 Namespace, 3 Node, 5 Pod, 1 Service"
    ]


def test_two_coredns_pods_on_one_node_are_two(read: Read) -> None:
    assert len(read(*SMALL, coredns(3, "worker-1")).pods) == len(read(*SMALL).pods) + 1
