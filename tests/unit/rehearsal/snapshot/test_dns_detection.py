"""The DNS that Pods really ask is found whatever its name; where several may be it, none is taken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from listings import KUBE_DNS, SMALL, Item, agent, item, listed, node, pod, written

from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Dns, Forecast
from chaosext.rehearsal.snapshot.dns_detection import config_of_dns, handed_out, stale_s
from chaosext.rehearsal.snapshot.prune import WANTED, least
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.rehearsal.snapshot.world import Nearness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

    Read = Callable[..., World]

NODES = ("cp-1", "worker-1", "worker-2")
WORKERS = frozenset(NODES[1:])
ROUTED = (*(node(name) for name in NODES), *(agent(name, "aws-node") for name in NODES))
"""Three nodes whose Pod addresses the fabric knows, without any DNS."""
KUBERNETES = item("Service", "kubernetes", "default", spec={"clusterIP": "10.96.0.1"})
NOT_THE_DNS = [each for each in SMALL if each is not KUBE_DNS and "coredns" not in each["metadata"]["name"]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return lambda *items: read_snapshot([written(tmp_path / "c.json", listed(*items))])


def service(
    name: str,
    namespace: str = "kube-system",
    ip: str = "10.96.0.10",
    labels: Item | None = None,
    notes: Item | None = None,
    selector: Item | None = None,
    **spec: Any,
) -> Item:
    meta = {"labels": labels or {}, "annotations": notes or {}}
    own = {"clusterIP": ip, "selector": selector or {"app": name}, "ports": [{"port": 53}], **spec}
    return item("Service", name, namespace, metadata=meta, spec=own)


def behind(name: str, on: str, namespace: str = "kube-system", owner: str = "", **labels: str) -> Item:
    own = labels or {"app": name}
    made = pod(f"{name}-{on}", on, namespace, owner or f"ReplicaSet/{name}-1", own)
    made["spec"]["tolerations"] = [{"operator": "Exists"}]
    return made


def kubelet_config(*addresses: str) -> Item:
    said = "".join(f"\n- {each}" for each in addresses)
    text = f"apiVersion: kubelet.config.k8s.io/v1beta1\nclusterDNS:{said}\nclusterDomain: cluster.local\n"
    return item("ConfigMap", "kubelet-config", "kube-system", data={"kubelet": text})


def cut(world: World, cut_for_s: float = 60.0) -> Any:
    return rehearse(world, Plan(cut_nodes=WORKERS, cut_for_s=cut_for_s, horizon_s=700), samples=6)


# -- which one it is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespace", "name", "labels"),
    [
        ("kube-system", "kube-dns", {}),
        ("kube-system", "coredns", {}),
        ("kube-system", "rke2-coredns-rke2-coredns", {"k8s-app": "kube-dns"}),
        ("openshift-dns", "dns-default", {"dns.operator.openshift.io/owning-dns": "default"}),
        ("kube-system", "names", {"k8s-app": "kube-dns"}),
        ("kube-system", "names", {"k8s-app": "coredns"}),
        ("infra", "names", {"app.kubernetes.io/name": "coredns"}),
    ],
)
def test_cluster_dns_is_found_by_name_or_label(
    read: Read, namespace: str, name: str, labels: dict[str, str]
) -> None:
    world = read(*ROUTED, service(name, namespace, labels=labels), behind(name, "worker-1", namespace))
    assert world.dns is not None
    assert (world.dns.namespace, world.dns.name) == (namespace, name)
    assert world.dns_doubts == ()
    assert cut(world).dns.after_heal is Dns.RESOLVABLE


def test_the_tenth_address_is_dns_if_its_port_is(read: Read) -> None:
    pods = (behind("names", "worker-1", "infra"), behind("names", "worker-2", "infra"))
    assert read(*ROUTED, KUBERNETES, service("names", "infra"), *pods).dns is not None
    assert read(*ROUTED, KUBERNETES, service("names", "infra", ports=[{"port": 80}]), *pods).dns is None


def test_what_kubelet_hands_out_wins(read: Read) -> None:
    odd = service("names", "infra", "10.96.0.99")
    world = read(*SMALL, odd, behind("names", "cp-1", "infra"), kubelet_config("10.96.0.99"))
    assert world.dns is not None
    assert world.dns.name == "names"


def test_an_address_that_no_service_has_is_a_doubt(read: Read) -> None:
    world = read(*SMALL, kubelet_config("192.0.2.53"))
    assert "192.0.2.53" in str(world.dns_doubts[0])
    assert cut(world).dns.after_heal is Dns.UNKNOWN


def test_two_candidates_are_unknown_and_both_named(read: Read) -> None:
    other = service("coredns", ip="10.96.0.53")
    world = read(*SMALL, other, behind("coredns", "cp-1"))
    (doubt,) = world.dns_doubts
    assert doubt.subject == "Service/kube-system/coredns and Service/kube-system/kube-dns"
    assert "kubelet-config" in doubt.why
    found = cut(world)
    assert (found.verdict, found.dns.during_cut) == (Forecast.UNKNOWN, Dns.UNKNOWN)
    assert "looks like the cluster DNS" in found.outcomes[0].why


@pytest.mark.parametrize("left_out", ["Service", "Pod"])
def test_a_candidate_that_is_half_shown_is_still_one(read: Read, left_out: str) -> None:
    own = {"k8s-app": "coredns"}
    other = (
        service("coredns", ip="10.96.0.53", labels=own, selector=own),
        behind("coredns", "cp-1", **own),
    )
    assert read(*SMALL, *(each for each in other if each["kind"] != left_out)).dns_doubts


def test_kubelets_config_settles_which_of_two_it_is(read: Read) -> None:
    other = service("coredns", ip="10.96.0.53")
    world = read(*SMALL, other, behind("coredns", "cp-1"), kubelet_config("10.96.0.10"))
    assert world.dns_doubts == ()
    assert world.dns is not None
    assert world.dns.name == "kube-dns"


def test_other_services_of_the_same_pods_are_the_same_dns(read: Read) -> None:
    own = {"k8s-app": "kube-dns"}
    upstream = service("kube-dns-upstream", ip="10.96.0.77", labels=own, selector=own)
    world = read(*SMALL, upstream)
    assert world.dns is not None
    assert (world.dns.name, world.dns_doubts) == ("kube-dns", ())


def test_a_coredns_of_another_project_is_not_the_cluster_dns(read: Read) -> None:
    own = {"app.kubernetes.io/name": "coredns"}
    edge = service("edge-dns", "edge", "10.96.3.3", labels=own, selector=own)
    world = read(*SMALL, edge, behind("edge-dns", "worker-1", "edge", **own))
    assert world.dns is not None
    assert (world.dns.name, world.dns_doubts) == ("kube-dns", ())


# -- kinds of DNS ----------------------------------------------------------------------------------------------


def openshift(**service_fields: Any) -> tuple[Item, ...]:
    own = {"dns.operator.openshift.io/daemonset-dns": "default"}
    made = tuple(behind("dns-default", on, "openshift-dns", "DaemonSet/dns-default", **own) for on in NODES)
    labels = {"dns.operator.openshift.io/owning-dns": "default"}
    return (
        *ROUTED,
        service("dns-default", "openshift-dns", labels=labels, selector=own, **service_fields),
        *made,
    )


def test_a_daemonset_stays_on_cut_nodes_and_is_back_after_the_heal(read: Read) -> None:
    """Worker lookups go to three endpoints of which cp-1's is cut off; all are back, and a rollback changes nothing."""
    found = cut(read(*openshift()), 480)
    assert (found.dns.during_cut, found.dns.after_heal) == (Dns.PARTIAL, Dns.RESOLVABLE)
    assert found.dns.after_rollback is Dns.RESOLVABLE
    assert found.verdict is Forecast.PASSED
    assert not [name for name in found.workloads if "dns-default" in name]


@pytest.mark.parametrize(("wanted", "is_known"), [(2, True), (3, False), (None, False)])
def test_a_daemonset_that_leaves_nodes_out_is_known_by_the_number_that_it_wants(
    read: Read, wanted: int | None, is_known: bool
) -> None:
    """Its Pods don't show its affinity, so that only its controller says that none is missing."""
    *others, on_first, second, third = openshift()
    lacking = on_first if on_first["spec"]["nodeName"] == "cp-1" else third
    kept = [each for each in (*others, on_first, second, third) if each is not lacking]
    status = {} if wanted is None else {"desiredNumberScheduled": wanted}
    found = cut(read(*kept, item("DaemonSet", "dns-default", "openshift-dns", status=status)), 480)
    assert lacking["spec"]["nodeName"] == "cp-1"
    assert (found.verdict is Forecast.PASSED) is is_known


@pytest.mark.parametrize(
    "fields",
    [
        {"notes": {"traffic-policy.network.alpha.openshift.io/local-with-fallback": ""}},
        {"trafficDistribution": "PreferSameNode"},
        {"internalTrafficPolicy": "Local"},
    ],
)
def test_a_node_that_asks_its_own_dns_does_not_notice(read: Read, fields: Item) -> None:
    assert cut(read(*openshift(**fields)), 480).dns.during_cut is Dns.RESOLVABLE


def zoned(**service_fields: Any) -> tuple[Item, ...]:
    """kube-dns in zone a with cp-1 and in zone b with the workers."""
    zone = "topology.kubernetes.io/zone"
    nodes = tuple(node(name, **{zone: "a" if name == "cp-1" else "b"}) for name in NODES)
    pods = (behind("kube-dns", "cp-1"), behind("kube-dns", "worker-1"))
    return (*nodes, *ROUTED[3:], service("kube-dns", **service_fields), *pods)


def test_a_zone_that_asks_its_own_dns_does_not_notice(read: Read) -> None:
    assert cut(read(*zoned())).dns.during_cut is Dns.PARTIAL
    assert cut(read(*zoned(trafficDistribution="PreferClose"))).dns.during_cut is Dns.RESOLVABLE


def test_hints_that_are_given_only_if_they_balance_are_played_both_ways(read: Read) -> None:
    world = read(*zoned(notes={"service.kubernetes.io/topology-mode": "Auto"}))
    assert world.dns is not None
    assert world.dns.prefers is Nearness.BALANCED
    assert cut(world).dns.during_cut is Dns.UNKNOWN


# -- caches ----------------------------------------------------------------------------------------------------


def cache(on: str, name: str) -> Item:
    return pod(f"{name}-{on}", on, "kube-system", f"DaemonSet/{name}", {"k8s-app": name}, hostNetwork=True)


@pytest.mark.parametrize("name", ["node-local-dns", "nodelocaldns"])
def test_nodelocal_dns_is_recognised(read: Read, name: str) -> None:
    assert read(*SMALL, *(cache(on, name) for on in NODES)).network.nodelocal_dns


def test_a_node_without_the_cache_that_kubelet_hands_out_is_a_doubt(read: Read) -> None:
    config = kubelet_config("169.254.25.10")
    assert read(*SMALL, *(cache(on, "nodelocaldns") for on in NODES), config).dns_doubts == ()
    (doubt,) = read(*SMALL, *(cache(on, "nodelocaldns") for on in NODES[:2]), config).dns_doubts
    assert "worker-2" in doubt.why


KUBESPRAY = """cluster.local:53 {
    errors
    cache {
        success 9984 30
        denial 9984 5
        %s
    }
    forward . 10.233.0.3 {
        force_tcp
    }
}
.:53 {
    cache 30 {
      serve_stale 9h
    }
}
"""


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("", 0.0),
        ("serve_stale", 3600.0),
        ("serve_stale 1h30m", 5400.0),
        ("serve_stale 24h immediate", 86400.0),
        ("# serve_stale 2h", 0.0),
    ],
)
def test_how_long_expired_names_are_served(line: str, seconds: float) -> None:
    assert stale_s(KUBESPRAY % line) == seconds


def test_a_corefile_of_one_zone_is_about_every_name() -> None:
    assert stale_s(".:53 {\n  cache 30 {\n    serve_stale 10m\n  }\n}\n") == 600.0


# -- what is kept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "clusterDNS:\n- 10.96.0.10\n- fd00::a\nclusterDomain: s3cr3t\n",
        "a: s3cr3t\nclusterDNS:\n  - '10.96.0.10'\n  - \"fd00::a\"\n",
        "clusterDNS: [10.96.0.10, fd00::a]\n",
        '{\n"authentication": "s3cr3t",\n"clusterDNS": ["10.96.0.10", "fd00::a"]}',
    ],
)
def test_of_kubelets_config_only_the_addresses_are_kept(text: str) -> None:
    kept = config_of_dns("kubelet-config-1.23", {"kubelet": text, "other": "s3cr3t"})
    assert kept is not None
    assert "s3cr3t" not in str(kept)
    assert handed_out({"kubelet-config": kept}) == ("10.96.0.10", "fd00::a")


def test_what_is_no_address_is_not_kept() -> None:
    assert config_of_dns("kubelet-config", {"kubelet": "clusterDNS:\n- s3cr3t\n"}) == {}


@pytest.mark.parametrize("seconds", [0.0, 600.0, 86400.0])
def test_of_a_corefile_only_the_duration_is_kept(seconds: float) -> None:
    kept = config_of_dns(
        "nodelocaldns", {"Corefile": KUBESPRAY % (f"serve_stale {seconds:g}s" * (seconds > 0))}
    )
    assert kept is not None
    assert stale_s(kept.get("Corefile", "")) == seconds
    assert "forward" not in str(kept)


def test_what_is_pruned_is_read_as_before(read: Read) -> None:
    known = {wanted.kind: wanted for wanted in WANTED}
    items = (
        *openshift(
            notes={"traffic-policy.network.alpha.openshift.io/local-with-fallback": "", "x": "s3cr3t"}
        ),
        KUBERNETES,
        kubelet_config("10.96.0.10"),
    )
    little = [least(known[each["kind"]], each) for each in items]
    assert "s3cr3t" not in str(little)
    assert read(*little).dns == read(*items).dns


@pytest.mark.parametrize("labels", [{"kubernetes.io/os": "windows"}, {"type": "virtual-kubelet"}])
def test_a_node_that_runs_no_daemons_needs_no_cache(read: Read, labels: Item) -> None:
    config = kubelet_config("169.254.20.10")
    other = node("other-1", **labels)
    assert read(*SMALL, other, *(cache(on, "node-local-dns") for on in NODES), config).dns_doubts == ()
