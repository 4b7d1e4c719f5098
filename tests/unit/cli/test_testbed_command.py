"""`chaosext testbed`, as people and scripts meet it."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from chaosext.cli.testbed import testbed as command
from chaosext.model.errors import Refused
from chaosext.model.owner import LockFacts
from chaosext.run.fault import run_lock
from chaosext.safety.intent import INTENT, intent_log
from chaosext.testbed import bringup, lifecycle, pair
from chaosext.testbed.containers import unpack_script
from chaosext.testbed.health import BedStatus, NodeHealth

WORKER = NodeHealth(
    name="bed-worker",
    role="worker",
    ipv4="172.18.0.3",
    ready=True,
    schedulable=True,
    bgp="Active",
    prefixes=0,
)
STATUS = BedStatus(
    name="bed",
    context="kind-bed",
    record={"timings": "accelerated"},
    leaf_ip="172.18.0.5",
    nodes=(WORKER,),
    pods=(),
    workloads=(),
)


@pytest.fixture(autouse=True)
def _one_cluster(monkeypatch):
    monkeypatch.setattr(pair, "has_second", lambda _: False)


def invoke(*words):
    return CliRunner().invoke(command, list(words))


@pytest.fixture
def found(monkeypatch):
    monkeypatch.setattr(lifecycle, "status", lambda _: STATUS)


@pytest.mark.usefixtures("found")
def test_a_status_that_misses_something_says_what_and_ends_with_10():
    shown = invoke("status", "--name", "bed")

    assert shown.exit_code == 10
    assert "missing: BGP of bed-worker (172.18.0.3) is not Established: Active" in shown.output
    assert "not steady" in shown.output


@pytest.mark.usefixtures("found")
def test_the_json_status_holds_what_the_lines_say():
    shown = json.loads(invoke("status", "--name", "bed", "--json").stdout)

    assert shown["steady"] is False
    assert shown["record"] == {"timings": "accelerated"}
    assert shown["nodes"][0]["bgp"] == "Active"
    assert list(STATUS.missing) == shown["missing"]


def test_a_bad_name_is_refused_before_docker_is_asked(monkeypatch):
    monkeypatch.setattr(lifecycle, "status", lambda _: pytest.fail("asked"))

    refused = invoke("status", "--name", "no/such")

    assert isinstance(refused.exception, Refused)


@pytest.mark.parametrize("name", ["up", "down", "status", "kubeconfig"])
def test_every_command_explains_itself(name):
    shown = invoke(name, "--help")

    assert shown.exit_code == 0
    assert "--name" in shown.output


def test_up_explains_each_choice_and_gives_examples():
    shown = invoke("up", "--help").output

    for option in (
        "--images",
        "--registry",
        "--timings",
        "--network",
        "--mesh",
        "--sidecars",
        "--dns",
        "--mitigation",
        "--workers",
        "--config",
    ):
        assert option in shown
    assert "chaosext testbed up --timings production" in shown


@pytest.fixture
def asked(monkeypatch):
    """The blueprint that `up` brings up, which ends there."""
    found = []

    def bring_up(blueprint, *_, **__):
        found.append(blueprint)
        raise Refused("enough", "")

    monkeypatch.setattr(bringup, "bring_up", bring_up)
    monkeypatch.setattr(run_lock, "require_no_run", lambda *_: None)
    return found


def test_up_keeps_what_an_existing_testbed_has(asked, monkeypatch):
    record = {"sidecars": "classic", "dns": "nodelocal", "workers": "3", "timings": "production"}
    monkeypatch.setattr(lifecycle, "existing_record", lambda _: record)

    invoke("up", "--name", "bed", "--mitigation", "spread")

    (blueprint,) = asked
    made = blueprint.record(node_image="", image_source="")
    assert {**made, **record} == made
    assert made["mitigations"] == "spread"


def test_up_refuses_what_makes_no_sense_before_it_touches_anything(asked, monkeypatch):
    monkeypatch.setattr(lifecycle, "existing_record", lambda _: {})

    refused = invoke("up", "--mesh", "none", "--mitigation", "dns-capture").exception

    assert isinstance(refused, Refused)
    assert "mitigation dns-capture: mesh none" in refused.message
    assert asked == []


def test_a_steady_status_ends_with_0(monkeypatch):
    steady = replace(STATUS, nodes=(), record={})
    monkeypatch.setattr(type(steady), "missing", property(lambda _: ()))
    monkeypatch.setattr(lifecycle, "status", lambda _: steady)

    assert invoke("status", "--name", "bed").exit_code == 0


def test_an_image_name_never_breaks_out_of_its_quotes():
    assert "for image in good:1 'bad; rm -rf /'; do" in unpack_script(["good:1", "bad; rm -rf /"])


class TestDuringARun:
    """`up` and `down` keep their hands off a testbed that a run is using."""

    @pytest.fixture(autouse=True)
    def bed(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setattr(bringup, "bring_up", lambda *_, **__: pytest.fail("touched"))
        monkeypatch.setattr(pair, "take_down", lambda *_: self.taken.append("second") or False)
        monkeypatch.setattr(lifecycle, "down", lambda *_: self.taken.append("first") or True)
        self.taken = []

    def leased(self, monkeypatch, **facts):
        held = {"run": "r1", "owner": "bob@two", "holder": None, "remaining_s": 43, "is_live": True, **facts}

        def look(context):
            return LockFacts(**held) if context == "kind-bed" else None

        monkeypatch.setattr(run_lock, "_lease_of", look)

    @pytest.mark.parametrize("words", [("up",), ("down",)])
    def test_it_is_refused_with_the_run_and_how_to_go_on(self, monkeypatch, words):
        self.leased(monkeypatch, over=datetime(2026, 1, 1, 22, 5, 10, tzinfo=UTC))

        refused = invoke(*words, "--name", "bed").exception

        assert isinstance(refused, Refused)
        assert (
            refused.message
            == "run r1 of bob@two (the run is over by 22:05:10 UTC) is using the cluster of context kind-bed"
        )
        assert "chaosext abort --run r1 --context kind-bed" in refused.fix
        assert "--force" in refused.fix
        assert self.taken == []

    def test_a_run_of_this_machine_is_known_without_any_cluster(self, monkeypatch):
        monkeypatch.setattr(run_lock, "_lease_of", lambda _: None)
        intent = {
            "run": "r2",
            "event": INTENT,
            "context": "kind-bed",
            "nodes": ["bed-control-plane"],
            "ttl_s": 60,
        }
        intent_log().write(intent)

        refused = invoke("down", "--name", "bed").exception

        assert isinstance(refused, Refused)
        assert "run r2 is using the cluster of context kind-bed" in refused.message
        assert self.taken == []

    @pytest.mark.parametrize("facts", [{"is_live": False}, {"run": ""}])
    def test_a_lease_that_nobody_holds_any_more_is_no_run(self, monkeypatch, facts):
        self.leased(monkeypatch, **facts)

        assert invoke("down", "--name", "bed").exception is None
        assert self.taken == ["second", "first"]

    def test_force_takes_it_away_all_the_same(self, monkeypatch):
        self.leased(monkeypatch)

        assert invoke("down", "--name", "bed", "--force").exception is None
        assert self.taken == ["second", "first"]

    def test_a_cluster_that_is_not_there_is_nobodys(self, monkeypatch, tmp_path):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

        assert invoke("down", "--name", "bed").exception is None
        assert self.taken == ["second", "first"]
