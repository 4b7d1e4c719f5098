"""`chaosext testbed`, as people and scripts meet it."""

import io
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from chaosext.cli.testbed import testbed as command
from chaosext.model.errors import Refused
from chaosext.testbed import bringup, cluster, engine, pair
from chaosext.testbed.config import make_blueprint, read_kind_config
from chaosext.testbed.containers import unpack_script
from chaosext.testbed.progress import Progress
from chaosext.testbed.status import BedStatus, NodeStatus

WORKER = NodeStatus(
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
    monkeypatch.setattr(cluster, "status", lambda _: STATUS)


@pytest.mark.usefixtures("found")
def test_a_status_that_misses_something_says_what_and_ends_with_10():
    shown = invoke("status", "--name", "bed")

    assert shown.exit_code == 10
    assert (
        "missing: the leaf's BGP session with bed-worker (172.18.0.3) is not Established: Active"
        in shown.output
    )
    assert "not steady" in shown.output


@pytest.mark.usefixtures("found")
def test_the_json_status_holds_what_the_lines_say():
    shown = json.loads(invoke("status", "--name", "bed", "--json").stdout)

    assert shown["steady"] is False
    assert shown["record"] == {"timings": "accelerated"}
    assert shown["nodes"][0]["bgp"] == "Active"
    assert list(STATUS.missing) == shown["missing"]


def test_a_bad_name_is_refused_before_docker_is_asked(monkeypatch):
    monkeypatch.setattr(cluster, "status", lambda _: pytest.fail("asked"))

    refused = invoke("status", "--name", "no/such")

    assert isinstance(refused.exception, Refused)


def test_unknown_image_modes_are_refused_before_an_engine_is_touched(monkeypatch):
    monkeypatch.setattr(engine, "ensure_engine", lambda *_, **__: pytest.fail("touched"))
    monkeypatch.setattr(bringup, "ensure_engine", lambda *_, **__: pytest.fail("touched"))
    blueprint = make_blueprint(config_text=read_kind_config())

    with pytest.raises(Refused, match="auto, registry, source"):
        bringup.bring_up(blueprint, Progress(io.StringIO()), images="cloud")


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
        "--sidecars",
        "--mitigation",
        "--workers",
        "--config",
    ):
        assert option in shown
    assert "chaosext testbed up --timings production" in shown


def test_a_steady_status_ends_with_0(monkeypatch):
    steady = replace(STATUS, nodes=(), record={})
    monkeypatch.setattr(type(steady), "missing", property(lambda _: ()))
    monkeypatch.setattr(cluster, "status", lambda _: steady)

    assert invoke("status", "--name", "bed").exit_code == 0


def test_an_image_name_never_breaks_out_of_its_quotes():
    assert "for image in good:1 'bad; rm -rf /'; do" in unpack_script(["good:1", "bad; rm -rf /"])
