"""Whose cluster is it? Nothing is built on, and nothing taken away, that isn't this testbed's."""

import io
import json
import threading
from dataclasses import replace

import pytest
from bed_images import IMAGES
from click.testing import CliRunner

from chaosext.cli.testbed import testbed as command
from chaosext.model.errors import Refused
from chaosext.safety.pins import Pin, read_pins, write_pin
from chaosext.testbed import containers, delivery, kubeconfig_entry, leaf, lifecycle, wait
from chaosext.testbed.bed_lock import locked
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.config import make_blueprint, read_kind_config
from chaosext.testbed.stage_progress import Progress

TOLD = io.StringIO()
LOUD = Progress(TOLD)


@pytest.fixture(autouse=True)
def _own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv(
        "KUBECONFIG", str(tmp_path / "none")
    )  # the testbed that is up on this machine is another's
    TOLD.seek(0)
    TOLD.truncate()


def wait_until_told(words):
    wait.wait_until(
        lambda: words in TOLD.getvalue(),
        what=words,
        look="",
        timeout_s=20,
        stop=threading.Event(),
        poll_s=0.01,
    )


def container(name, *, role="", labels=None):
    return containers.NodeContainer(
        name=name, role=role, running=True, image="", ipv4="", on_kind_network=True, labels=labels or {}
    )


def mark(blueprint, **more):
    record = blueprint.record(node_image=IMAGES.node_image, image_source=IMAGES.source)
    labels = {leaf.TESTBED_LABEL: "chaosext", leaf.RECORD_LABEL: json.dumps(record), **more}
    return container("chaosext-leaf", labels=labels)


def blueprint(**options):
    return make_blueprint(config_text=read_kind_config(), **options)


class Machine:
    """Docker as these tests need it: what is there, and what was done."""

    def __init__(self, monkeypatch, *, leaf_container=None, nodes=(), further_leafs=()):
        self.done = []
        monkeypatch.setattr(containers, "find_container", {"chaosext-leaf": leaf_container}.get)
        monkeypatch.setattr(containers, "cluster_containers", lambda _name: tuple(nodes))
        monkeypatch.setattr(
            containers, "remove", lambda gone: self.note("remove", *(each.name for each in gone))
        )
        monkeypatch.setattr(containers, "network_exists", lambda: True)
        monkeypatch.setattr(containers, "network_in_use", lambda: False)
        monkeypatch.setattr(containers, "docker", lambda *words: self.note(*words))
        monkeypatch.setattr(lifecycle, "read_status", self.is_silent)
        monkeypatch.setattr(delivery, "deliver", lambda *_: None)
        monkeypatch.setattr(leaf, "further_leafs", lambda _name: tuple(further_leafs))
        monkeypatch.setattr(leaf, "make_leaf", lambda *_: self.note("make leaf"))
        monkeypatch.setattr(kubeconfig_entry, "forget_context", lambda name: self.note("forget", name))

    def is_silent(self, *_, **__):
        raise CommandFailed("the API server does not answer")

    def note(self, *words):
        if len(words) > 1 or words == ("make leaf",):
            self.done.append(" ".join(words))


NODE = container("chaosext-control-plane", role="control-plane")


def progress():
    return Progress(io.StringIO())


def test_a_free_name_is_marked_before_anything_else(monkeypatch):
    machine = Machine(monkeypatch)

    lifecycle.claim(blueprint(), IMAGES)

    assert machine.done == ["make leaf"]


def test_the_same_blueprint_goes_on_where_it_was(monkeypatch):
    machine = Machine(monkeypatch, leaf_container=mark(blueprint()), nodes=[NODE])

    lifecycle.claim(blueprint(), IMAGES)

    assert machine.done == []


def test_another_blueprint_is_refused_naming_the_difference_and_the_fix(monkeypatch):
    Machine(monkeypatch, leaf_container=mark(blueprint()), nodes=[NODE])

    with pytest.raises(Refused) as refused:
        lifecycle.claim(blueprint(timings="production"), IMAGES)

    assert "timings: accelerated → production" in refused.value.message
    assert "chaosext testbed down --name chaosext" in refused.value.fix


def test_a_strangers_cluster_is_neither_built_on_nor_taken_away(monkeypatch):
    machine = Machine(monkeypatch, nodes=[NODE])

    with pytest.raises(Refused, match="not a testbed"):
        lifecycle.claim(blueprint(), IMAGES)
    with pytest.raises(Refused, match="not a testbed"):
        lifecycle.down("chaosext", progress())
    assert machine.done == []


def test_a_strangers_container_with_the_leafs_name_is_refused(monkeypatch):
    machine = Machine(monkeypatch, leaf_container=container("chaosext-leaf"))

    with pytest.raises(Refused, match="not a leaf"):
        lifecycle.down("chaosext", progress())
    assert machine.done == []


def test_down_removes_the_mark_last_and_the_network_only_if_it_brought_it(monkeypatch):
    brought = Machine(
        monkeypatch, leaf_container=mark(blueprint(), **{leaf.NETWORK_MADE_LABEL: "yes"}), nodes=[NODE]
    )
    assert lifecycle.down("chaosext", progress())
    assert brought.done == [
        "forget kind-chaosext",
        "remove chaosext-control-plane",
        "remove chaosext-leaf",
        "network rm kind",
    ]

    found = Machine(
        monkeypatch, leaf_container=mark(blueprint(), **{leaf.NETWORK_MADE_LABEL: "no"}), nodes=[NODE]
    )
    assert lifecycle.down("chaosext", progress())
    assert found.done[-1] == "remove chaosext-leaf"


def test_down_removes_every_leaf_and_the_mark_last(monkeypatch):
    racks = Machine(
        monkeypatch,
        leaf_container=mark(blueprint(network="calico-racks")),
        nodes=[NODE],
        further_leafs=[container("chaosext-leaf2")],
    )

    assert lifecycle.down("chaosext", progress())
    assert racks.done[1:3] == ["remove chaosext-control-plane chaosext-leaf2", "remove chaosext-leaf"]


def test_down_of_nothing_is_no_error(monkeypatch):
    machine = Machine(monkeypatch)

    assert lifecycle.down("chaosext", progress()) is False
    assert machine.done == []


def test_down_of_nothing_leaves_a_context_and_a_pin_of_that_name_alone(monkeypatch):
    machine = Machine(monkeypatch)
    write_pin(Pin(context="kind-chaosext", server="https://x", ca_sha256="", kube_system_uid="1"))

    shown = CliRunner().invoke(command, ["down"])

    assert "no testbed named chaosext" in shown.output
    assert machine.done == []
    assert "kind-chaosext" in read_pins()


def test_down_takes_the_pin_of_its_testbed_away(monkeypatch):
    Machine(monkeypatch, leaf_container=mark(blueprint()), nodes=[NODE])
    write_pin(Pin(context="kind-chaosext", server="https://x", ca_sha256="", kube_system_uid="1"))

    assert CliRunner().invoke(command, ["down"]).exit_code == 0
    assert read_pins() == {}


@pytest.mark.parametrize(
    "act", [lambda: lifecycle.down("chaosext", LOUD), lambda: lifecycle.up(blueprint(), IMAGES, LOUD)]
)
def test_up_and_down_wait_for_each_other(monkeypatch, act):
    machine = Machine(monkeypatch, leaf_container=mark(blueprint()), nodes=[NODE])
    monkeypatch.setattr(lifecycle, "BringUp", lambda *_: FakeBringUp(machine, [NODE], steady_at=1))
    thread = threading.Thread(target=act)
    with locked("testbed-chaosext"):
        thread.start()
        wait_until_told("Waiting for another")
        assert machine.done == []
    thread.join(20)

    assert machine.done


class FakeBringUp:
    """A bring-up that is steady at its `steady_at`th run, and notes each run."""

    def __init__(self, machine, nodes, *, steady_at):
        self.machine, self.nodes, self.steady_at = machine, nodes, steady_at

    def machines(self):
        return tuple(self.nodes)

    def run(self):
        self.machine.done.append("bring up")
        if self.machine.done.count("bring up") < self.steady_at:
            raise wait.NotInTime("the API server did not come within 300 s")
        return "steady"


def test_nodes_that_had_stopped_and_do_not_come_back_are_made_anew(monkeypatch):
    machine = Machine(monkeypatch, leaf_container=mark(blueprint()))
    stopped = replace(NODE, has_stopped=True)
    monkeypatch.setattr(lifecycle, "BringUp", lambda *_: FakeBringUp(machine, [stopped], steady_at=2))

    assert lifecycle.up(blueprint(), IMAGES, progress()) == "steady"
    assert machine.done == ["bring up", "remove chaosext-control-plane", "bring up"]


def test_nodes_that_never_stopped_stay_for_looking_at(monkeypatch):
    machine = Machine(monkeypatch, leaf_container=mark(blueprint()))
    monkeypatch.setattr(lifecycle, "BringUp", lambda *_: FakeBringUp(machine, [NODE], steady_at=2))

    with pytest.raises(wait.NotInTime, match="API server"):
        lifecycle.up(blueprint(), IMAGES, progress())
    assert machine.done == ["bring up"]


@pytest.mark.parametrize(
    ("finished_at", "has_stopped"), [("0001-01-01T00:00:00Z", False), ("2026-11-23T08:58:33.3Z", True)]
)
def test_docker_tells_whether_a_container_has_stopped(finished_at, has_stopped):
    inspected = {
        "Name": "/x",
        "Config": {},
        "State": {"Running": True, "FinishedAt": finished_at},
        "NetworkSettings": {},
    }

    (found,) = containers.parse_inspect(json.dumps([inspected]))

    assert found.has_stopped is has_stopped


def test_the_status_of_nothing_is_refused_with_the_fix(monkeypatch):
    Machine(monkeypatch)

    with pytest.raises(Refused, match="chaosext testbed up --name chaosext"):
        lifecycle.status("chaosext")


def test_a_wait_is_bounded_and_says_what_was_missing_and_where_to_look():
    with pytest.raises(wait.NotInTime) as late:
        wait.wait_until(
            lambda: None, what="rain", look="see the sky", timeout_s=0, stop=threading.Event(), poll_s=0
        )

    assert "rain" in late.value.message
    assert late.value.fix == "see the sky"


def test_a_wait_ends_when_another_stage_has_failed():
    stop = threading.Event()
    stop.set()

    with pytest.raises(wait.GaveUp):
        wait.wait_until(lambda: None, what="rain", look="", timeout_s=60, stop=stop)


def test_a_wait_returns_what_came():
    answers = iter([None, [], [1]])

    found = wait.wait_until(
        lambda: next(answers), what="", look="", timeout_s=5, stop=threading.Event(), poll_s=0
    )

    assert found == [1]
