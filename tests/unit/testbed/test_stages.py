"""A bring-up ends: its retries are bounded, its first failure stops the others, and its error names what is missing."""

import io
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from bed_images import IMAGES

from chaosext.testbed import containers, dns_install, stages
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.config import make_blueprint, read_kind_config
from chaosext.testbed.health import BedStatus
from chaosext.testbed.stage_progress import Progress
from chaosext.testbed.stages import BringUp
from chaosext.testbed.wait import GaveUp, NotInTime

WORKERS = ("chaosext-worker", "chaosext-worker2")
EMPTY = BedStatus(
    name="chaosext", context="kind-chaosext", record={}, leaf_ip="", nodes=(), pods=(), workloads=()
)


def machine(name):
    role = "worker" if "worker" in name else "control-plane"
    return containers.NodeContainer(
        name=name, role=role, running=True, image="", ipv4="", on_kind_network=True, labels={}
    )


def node(name):
    return {"kind": "Node", "metadata": {"name": name}, "spec": {}, "status": {}}


def dns(name, where):
    return {
        "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": name, "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": where},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


DEPLOYMENT = {
    "metadata": {"name": "coredns", "labels": {}},
    "spec": {
        "selector": {},
        "template": {"metadata": {"labels": {}}, "spec": {"containers": [{"image": "c:1"}]}},
    },
}


class Cluster:
    """A kubectl whose scheduler puts kube-dns on `places`, one pair for each time it is scaled up."""

    def __init__(self, *places):
        self.places = list(places)
        self.pods = []
        self.said = []
        self.applied = []
        self.has_deployment = True

    def run(self, *words, **_):
        self.said.append(" ".join(words))
        if "--replicas=0" in words:
            self.pods = []
        elif "--replicas=2" in words:
            self.pods = [dns(f"dns-{index}", where) for index, where in enumerate(self.places.pop(0))]
        return ""

    def get(self, *words):
        if words == dns_install.TARGET:
            return DEPLOYMENT
        return [*(node(name) for name in (*WORKERS, "chaosext-control-plane")), *self.pods]

    def wait(self, *_, **__):
        return

    rollout = wait

    def exists(self, *_):
        return self.has_deployment

    def apply(self, objects):
        self.applied += objects

    def count(self, words):
        return len([line for line in self.said if words in line])


@pytest.fixture
def bring_up_with(monkeypatch):
    machines = tuple(machine(name) for name in (*WORKERS, "chaosext-control-plane"))
    monkeypatch.setattr(containers, "cluster_containers", lambda _: machines)

    def made(**options):
        blueprint = make_blueprint(config_text=read_kind_config(), **options)
        return BringUp(blueprint, IMAGES, Progress(io.StringIO()), lambda: EMPTY)

    return made


@pytest.fixture
def bring_up(bring_up_with):
    return bring_up_with()


def done():
    future = Future()
    future.set_result(None)
    return future


def test_kube_dns_on_the_workers_is_left_alone(bring_up):
    bring_up.kubectl = Cluster()
    bring_up.kubectl.pods = [dns("a", WORKERS[0]), dns("b", WORKERS[1])]

    bring_up.place_kube_dns(done(), done())

    assert bring_up.kubectl.count("scale") == 0


def test_kube_dns_is_placed_while_the_control_plane_is_cordoned(bring_up):
    bring_up.kubectl = Cluster(WORKERS)

    bring_up.place_kube_dns(done(), done())

    assert bring_up.kubectl.said[0].startswith("cordon")
    assert bring_up.kubectl.said[-1].startswith("uncordon")
    assert bring_up.kubectl.count("--replicas=2") == 1


def test_misplaced_kube_dns_is_placed_again_but_not_for_ever(bring_up):
    astray = ("chaosext-control-plane", WORKERS[0])
    bring_up.kubectl = Cluster(*[astray] * 9)

    with pytest.raises(NotInTime, match="kube-dns is not on the workers after 3 attempts"):
        bring_up.place_kube_dns(done(), done())

    assert bring_up.kubectl.count("--replicas=2") == 3
    assert bring_up.kubectl.said[-1].startswith("uncordon")


def test_a_second_attempt_that_hits_the_workers_is_enough(bring_up):
    bring_up.kubectl = Cluster((WORKERS[0], WORKERS[0]), WORKERS)

    bring_up.place_kube_dns(done(), done())

    assert bring_up.kubectl.count("--replicas=2") == 2


def test_the_control_plane_is_uncordoned_even_when_placing_fails(bring_up):
    bring_up.kubectl = Cluster(WORKERS)
    bring_up.kubectl.wait = None  # calling it raises

    with pytest.raises(TypeError):
        bring_up.place_kube_dns(done(), done())

    assert bring_up.kubectl.said[-1].startswith("uncordon")


def test_kube_dns_on_the_control_plane_is_placed_while_the_workers_are_cordoned(bring_up_with):
    made = bring_up_with(dns="on-control-plane", mitigations=["bgp-on-control-plane"])
    made.kubectl = Cluster(("chaosext-control-plane",) * 2)

    made.place_kube_dns(done(), done())

    assert made.kubectl.said[0] == f"cordon {' '.join(WORKERS)}"
    assert made.kubectl.count("--replicas=2") == 1


def test_a_daemon_set_replaces_kube_dns_once(bring_up_with):
    made = bring_up_with(dns="dns-daemonset")
    made.kubectl = Cluster()

    made.place_kube_dns(done(), done())
    made.kubectl.has_deployment = False
    made.hold_kube_dns(done())
    made.place_kube_dns(done(), done())

    assert [each["kind"] for each in made.kubectl.applied] == ["DaemonSet"]
    assert made.kubectl.said == ["delete deployment coredns --namespace=kube-system"]


def test_every_node_gets_the_caches_address_before_the_cache(bring_up_with, monkeypatch):
    addressed = []
    monkeypatch.setattr(containers, "node_script", lambda name, *_: addressed.append(name))
    made = bring_up_with(mitigations=["nodelocal-dns"])
    made.kubectl = Cluster()

    made.start_node_caches(done(), done())

    assert addressed == [*WORKERS, "chaosext-control-plane"]
    assert made.kubectl.applied[-1]["kind"] == "DaemonSet"
    assert made.kubectl.applied[-1]["spec"]["template"]["spec"]["containers"][0]["image"] == "c:1"


def test_no_node_gets_a_cache_that_is_not_asked_for(bring_up, monkeypatch):
    monkeypatch.setattr(containers, "node_script", lambda *_: pytest.fail("touched"))
    bring_up.kubectl = Cluster()

    bring_up.start_node_caches(done(), done())

    assert bring_up.kubectl.applied == []


def test_the_shop_starts_without_istiod_if_there_is_no_mesh(bring_up_with, monkeypatch):
    made = bring_up_with(mesh="none")
    made.kubectl = Cluster()
    monkeypatch.setattr(made, "render_istio", lambda: pytest.fail("rendered"))

    made.start_mesh_and_shop(done(), done())

    spaces = [each for each in made.kubectl.applied if each["kind"] == "Namespace"]
    assert [each["metadata"]["labels"] for each in spaces] == [{}]


def test_the_first_failure_ends_the_others_and_is_the_one_told(bring_up, monkeypatch):
    def fails():
        raise CommandFailed("kind said no")

    monkeypatch.setattr(bring_up, "create_nodes", fails)
    monkeypatch.setattr(bring_up, "node_addresses", list)
    monkeypatch.setattr(bring_up, "render_istio", lambda: ("", []))
    monkeypatch.setattr(bring_up, "apply_network", lambda *_: None)
    monkeypatch.setattr(Path, "read_text", lambda _: "")
    monkeypatch.setattr(
        bring_up, "await_api", lambda: bring_up.patiently(_never, what="", look="", timeout_s=60)
    )
    monkeypatch.setattr(bring_up, "drop_half_made_nodes", lambda: None)

    with pytest.raises(NotInTime) as failed:
        bring_up.run()

    assert "kind said no" in failed.value.message
    assert "istio-system/istiod does not exist" in failed.value.fix


def test_no_stage_begins_after_a_failure(bring_up):
    bring_up.stop.set()

    with pytest.raises(GaveUp), bring_up.stage("too late"):
        pytest.fail("it began")


def test_a_wait_in_slices_is_repeated_until_it_succeeds(bring_up, monkeypatch):
    monkeypatch.setattr(stages, "SLICE_S", 0)
    answers = iter([CommandFailed("not yet"), None])

    def call(_slice_s):
        if (answer := next(answers)) is not None:
            raise answer

    bring_up.patiently(call, what="it", look="", timeout_s=30)

    assert next(answers, "none left") == "none left"


def _never(_slice_s):
    threading.Event().wait(0.01)
    raise CommandFailed("never")


class Nodes:
    """Docker, whose nodes answer each script with `answers[name]`, an error when it is None."""

    def __init__(self, monkeypatch, answers):
        self.removed = []
        self.answers = answers
        monkeypatch.setattr(containers, "node_script", self.script)
        monkeypatch.setattr(containers, "start_stopped", lambda _: None)
        monkeypatch.setattr(containers, "remove", lambda gone: self.removed.extend(gone))
        monkeypatch.setattr(containers, "docker", self.refuse)

    def script(self, name, *_, **__):
        return self.answers[name] or self.refuse()

    def refuse(self, *_, **__):
        raise CommandFailed("nothing answers")


JOINED = dict.fromkeys((*WORKERS, "chaosext-control-plane"), "yes\n")


def test_joined_nodes_with_a_silent_api_server_are_kept(bring_up, monkeypatch):
    nodes = Nodes(monkeypatch, JOINED)

    bring_up.drop_half_made_nodes()

    assert nodes.removed == []


def test_nodes_of_an_interrupted_start_make_way(bring_up, monkeypatch):
    nodes = Nodes(monkeypatch, JOINED | {WORKERS[1]: "no\n"})

    bring_up.drop_half_made_nodes()

    assert [each.name for each in nodes.removed] == [*WORKERS, "chaosext-control-plane"]


def test_a_missing_node_makes_the_others_make_way(bring_up, monkeypatch):
    nodes = Nodes(monkeypatch, JOINED)
    monkeypatch.setattr(containers, "cluster_containers", lambda _: (machine(WORKERS[0]),))

    bring_up.drop_half_made_nodes()

    assert [each.name for each in nodes.removed] == [WORKERS[0]]


def test_a_node_that_can_not_be_asked_is_no_reason_to_remove_any(bring_up, monkeypatch):
    nodes = Nodes(monkeypatch, JOINED | {WORKERS[0]: None})

    with pytest.raises(NotInTime, match="nothing answers"):
        bring_up.run()

    assert nodes.removed == []
