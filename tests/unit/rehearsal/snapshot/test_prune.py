"""What a snapshot keeps: enough that the rehearsal is the same, and nothing that is nobody's business."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from listings import CALICO_API, SMALL, Item, item, listed, node, pod, written

from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.snapshot.prune import WANTED, least
from chaosext.rehearsal.snapshot.reader import read_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

KNOWN = {wanted.kind: wanted for wanted in WANTED}


def kept(each: Item) -> Item:
    return least(KNOWN[each["kind"]], each)


def world_of(path: Path, *items: Item) -> World:
    return read_snapshot([written(path, listed(*items))])


def test_the_rehearsal_of_what_is_kept_is_the_same(tmp_path: Path) -> None:
    whole = world_of(tmp_path / "whole.json", *SMALL)
    little = world_of(tmp_path / "little.json", *map(kept, SMALL))
    plan = Plan(cut_nodes=frozenset({"worker-1", "worker-2"}))
    assert rehearse(little, plan, samples=8).to_json() == rehearse(whole, plan, samples=8).to_json()


def test_that_kwok_plays_a_node_is_kept(tmp_path: Path) -> None:
    made = node("worker-1")
    made["metadata"]["annotations"] = {"kwok.x-k8s.io/node": "fake", "kubectl.kubernetes.io/x": "y"}
    little = kept(made)
    assert little["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert [each.simulated for each in world_of(tmp_path / "one.json", little).nodes] == [True]


SECRETS = ("hunter2", "PASSWORD", "registry.example", "last-applied", "s3cr3t", "caBundle", "volume")


def test_of_a_hook_only_that_there_is_one_is_kept(tmp_path: Path) -> None:
    made = pod("app", "worker-1")
    secret = {
        "httpGet": {
            "port": 80,
            "httpHeaders": [{"name": "Authorization", "value": "s3cr3t"}],
            "path": "/s3cr3t",
        }
    }
    probe = {**secret, "exec": {"command": ["s3cr3t"]}}
    made["spec"]["containers"][0] |= {
        "lifecycle": {"postStart": {"exec": {"command": ["curl", "-H", "s3cr3t"]}}, "preStop": secret},
        **{f"{when}Probe": probe for when in ("startup", "readiness", "liveness")},
    }
    little = kept(made)
    assert "s3cr3t" not in json.dumps(little)
    (container,) = little["spec"]["containers"]
    assert container["lifecycle"] == {"postStart": {}}
    assert container["readinessProbe"] == {"httpGet": {"port": 80}}
    world = world_of(tmp_path / "c.json", *map(kept, SMALL), little)
    (known,) = (each for each in world.pods if each.name == made["metadata"]["name"])
    assert known.spec.containers[0].post_start


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: wanted.kind)
def test_of_every_kind_only_named_fields_are_kept(wanted: object) -> None:
    """Whatever a cluster puts into an object, at whatever depth, stays there unless its field is named."""
    each = KNOWN[wanted.kind]  # type: ignore[attr-defined]
    secret = {"s3cr3t": "s3cr3t"}
    parts = {
        "clientConfig": secret,
        "data": secret,
        "env": [secret],
        "annotations": secret,
        "managedFields": [secret],
    }
    made = {
        "metadata": {"name": "x", "namespace": "y", "uid": "s3cr3t", **parts},
        "spec": {"containers": [{"name": "c", **parts}], "template": parts, "password": secret, **parts},
        "status": {"conditions": [{"type": "Ready", "status": "True", "message": "s3cr3t"}], **parts},
        "webhooks": [{"name": "s3cr3t", "failurePolicy": "Fail", **parts}],
        **parts,
    }
    if each.kind not in ("Node", "Pod", "CiliumBGPAdvertisement"):
        made["metadata"]["labels"] = secret  # type: ignore[index]
    assert "s3cr3t" not in json.dumps(least(each, made))


@pytest.mark.parametrize("value", [{"a": "s3cr3t"}, ["s3cr3t"], None, 1.5])
def test_a_field_of_another_type_is_no_field(value: object) -> None:
    with pytest.raises(TypeError, match="where a text or a number is expected"):
        kept(item("BGPPeer", "leaf", spec={"peerIP": value}))


def test_of_ciliums_liveness_probe_only_whether_it_asks_for_the_api_server_is_kept() -> None:
    made = pod("cilium-x", "worker-1", "kube-system", "DaemonSet/cilium")
    headers = [{"name": "brief", "value": "s3cr3t"}, {"name": "require-k8s-connectivity", "value": "False"}]
    made["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"port": 9879, "httpHeaders": headers}}
    (container,) = kept(made)["spec"]["containers"]
    only = [{"name": "require-k8s-connectivity", "value": "false"}]
    assert container["livenessProbe"] == {"httpGet": {"port": 9879, "httpHeaders": only}}


def test_of_ciliums_image_only_the_version_is_kept() -> None:
    made = pod("cilium-x", "worker-1", "kube-system", "DaemonSet/cilium")
    images = {"cilium-agent": "s3cr3t.example/cilium:v1.19.2@sha256:1", "other": "s3cr3t.example/x:v1.0.0"}
    made["spec"]["containers"] = [{"name": name, "image": image} for name, image in images.items()]
    assert [each.get("image") for each in kept(made)["spec"]["containers"]] == ["cilium:v1.19.2", None]


def test_of_a_sidecars_environment_only_that_it_answers_lookups_is_kept() -> None:
    capture = {"name": "ISTIO_META_DNS_CAPTURE", "value": "true"}
    made = pod("cart-1", "worker-1", "shop")
    made["spec"]["containers"] = [
        {"name": name, "env": [{"name": "TOKEN", "value": "s3cr3t"}, capture]}
        for name in ("app", "istio-proxy")
    ]
    assert [each.get("env") for each in kept(made)["spec"]["containers"]] == [None, [capture]]


def test_of_a_pools_uses_the_known_ones_are_kept() -> None:
    made = item("IPPool", "pods", spec={"allowedUses": ["Workload", "s3cr3t", "Tunnel"], "blockSize": 26})
    assert kept(made)["spec"] == {"allowedUses": ["Workload", "Tunnel"]}


def test_nothing_secret_is_kept() -> None:
    made = pod("app", "worker-1", volumes=[{"name": "volume", "secret": {"secretName": "s3cr3t"}}])
    made["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "s3cr3t"}
    made["spec"]["initContainers"] = [
        {"name": "i", "command": ["sh", "-c", "echo s3cr3t"], "args": ["s3cr3t"]}
    ]
    webhook = {"name": "w", "failurePolicy": "Fail", "clientConfig": {"caBundle": "s3cr3t"}}
    hook = item("MutatingWebhookConfiguration", "istio-sidecar-injector", webhooks=[webhook])
    text = json.dumps([kept(made), kept(hook)])
    assert not [word for word in SECRETS if word in text]


def test_of_the_control_planes_arguments_only_timings_are_kept(tmp_path: Path) -> None:
    made = pod("kube-controller-manager-cp-1", "cp-1", "kube-system", "Node/cp-1")
    made["spec"]["containers"][0]["command"] = [
        "kube-controller-manager",
        "--node-monitor-grace-period=20s",
        "--token-auth-file=/s3cr3t",
    ]
    text = json.dumps(kept(made))
    assert "s3cr3t" not in text
    world = world_of(tmp_path / "c.json", *map(kept, (*SMALL, made)))
    assert world.control_plane.timings.grace_s == 20.0


def test_of_kube_routers_arguments_only_what_decides_its_sessions_is_kept() -> None:
    made = pod("kube-router-x", "worker-1", "kube-system", "DaemonSet/kube-router")
    made["spec"]["containers"] = [
        {
            "name": "router",
            "args": ["--run-router", "--peer-router-passwords=s3cr3t", "--bgp-graceful-restart-time", "30s"],
        },
        {"name": "other", "args": ["--bgp-graceful-restart-time=s3cr3t"]},
    ]
    router, other = kept(made)["spec"]["containers"]
    assert router["command"] == ["kube-router", "--bgp-graceful-restart-time=30s", "--run-router=true"]
    assert "command" not in other
    noted = node("worker-1")
    noted["metadata"]["annotations"] = {
        "kube-router.io/peers": "- password: s3cr3t",
        "kube-router.io/peer.ips": "10.0.0.9",
    }
    assert kept(noted)["metadata"]["annotations"] == {
        "kube-router.io/peers": "",
        "kube-router.io/peer.ips": "10.0.0.9",
    }


def test_of_ciliums_bgp_only_who_announces_what_to_whom_is_kept() -> None:
    peer = {
        "name": "x",
        "peerASN": 1,
        "peerAddress": "10.0.0.254",
        "peerConfigRef": {"name": "leaf", "group": "x"},
    }
    made = item(
        "CiliumBGPClusterConfig",
        "rack0",
        api="cilium.io/v2alpha1",
        spec={
            "nodeSelector": {"matchLabels": {"rack": "0"}, "x": 1},
            "bgpInstances": [{"name": "y", "peers": [peer]}],
        },
    )
    assert kept(made)["spec"] == {
        "nodeSelector": {"matchLabels": {"rack": "0"}},
        "bgpInstances": [{"peers": [{"peerAddress": "10.0.0.254", "peerConfigRef": {"name": "leaf"}}]}],
    }


def test_of_a_nodes_annotations_only_calicos_are_kept() -> None:
    made = node("worker-1")
    addresses = {f"projectcalico.org/IPv{family}Address": "10.0.0.2/24" for family in (4, 6)}
    made["metadata"]["annotations"] = {**addresses, "csi": "s3cr3t"}
    assert kept(made)["metadata"]["annotations"] == addresses


def test_a_bgp_peers_password_is_not_even_named() -> None:
    peer = item(
        "BGPPeer", "leaf", spec={"peerIP": "10.0.0.1", "password": {"secretKeyRef": {"name": "s3cr3t"}}}
    )
    assert kept(peer)["spec"] == {"peerIP": "10.0.0.1"}


def test_of_a_field_that_nobody_here_knows_only_that_it_is_there_is_kept(tmp_path: Path) -> None:
    """It may keep routes from being announced: without it the snapshot would prove what isn't so."""
    filtered = item("BGPPeer", "leaf", api=CALICO_API, spec={"peerIP": "10.0.0.254", "filters": ["s3cr3t"]})
    assert kept(filtered)["spec"] == {"peerIP": "10.0.0.254", "filters": None}
    others = [each for each in SMALL if each["kind"] != "BGPPeer"]
    for each in (filtered, kept(filtered)):
        world = world_of(tmp_path / "c.json", *others, each)
        (doubt,) = routes_of(world, frozenset({"worker-1"})).proof.doubts
        assert (doubt.subject, doubt.key) == ("BGPPeer/leaf", "spec.filters")


def test_flannels_backend_is_kept(tmp_path: Path) -> None:
    """k3s runs flannel itself, so that no Pod shows it."""
    made = node("worker-1", version="v1.34.4+k3s1")
    made["metadata"]["annotations"] = {
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "flannel.alpha.coreos.com/public-ip": "10.0.0.2",
    }
    assert kept(made)["metadata"]["annotations"] == {"flannel.alpha.coreos.com/backend-type": "vxlan"}
    world = world_of(tmp_path / "c.json", kept(made))
    assert routes_of(world, frozenset()).proof.holds


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: wanted.kind)
def test_every_kind_says_what_it_is(wanted: object) -> None:
    each = KNOWN[wanted.kind]  # type: ignore[attr-defined]
    found = least(each, {"metadata": {"name": "x"}})
    assert (found["kind"], found["apiVersion"]) == (each.kind, each.api_version)
    assert found["metadata"] == {"name": "x"}


def test_what_a_workload_and_a_service_say_about_their_users_is_kept(tmp_path: Path) -> None:
    """A quorum's annotation or label, a load balancer's type; nothing else of their annotations."""
    sets = [
        item(
            "StatefulSet",
            name,
            "db",
            "apps/v1",
            metadata={where: {"chaosext.io/quorum": said, "x": "s3cr3t"}},
            spec={"replicas": 3},
        )
        for name, where, said in (("cache", "annotations", "false"), ("etcd", "labels", "true"))
    ]
    edge = item("Service", "edge", "shop", spec={"selector": {"app": "edge"}, "type": "LoadBalancer"})
    local = item(
        "Service", "local", "shop", spec={"selector": {"app": "x"}, "externalTrafficPolicy": "Local"}
    )
    items = [*map(kept, (*sets, edge, local)), node("worker-1")]
    assert "s3cr3t" not in json.dumps(items)
    world = world_of(tmp_path / "one.json", *items)
    assert {each.name: each.quorum for each in world.workloads.values()} == {"cache": False, "etcd": True}
    assert [each.external for each in world.services] == [True, True]
