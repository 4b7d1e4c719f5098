"""The second cluster, and the entry before both: what they are made of, and when they are steady."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from chaosext.cli.testbed import testbed as command
from chaosext.model.errors import Refused
from chaosext.model.load_balancer_state import Failover, Member, Request
from chaosext.safety.intent import Changed, changed, intent_log, write_changing
from chaosext.testbed import containers, leaf, lifecycle, load_balancer_nodes, pair, shop_install
from chaosext.testbed.config import make_blueprint, nodes_of, read_kind_config, second_blueprint

WAY = Member(cluster="way", addresses=("172.18.0.3:30080",), healthy=1)
OTHER = Member(cluster="way-b", addresses=("172.18.0.7:30080",), healthy=1)
OK = Request(ago_s=1, took_s=0.01, status=200, served_by="way")


def blueprint(**more):
    return make_blueprint(name="way", config_text=read_kind_config(), **more)


def test_the_second_cluster_is_small_and_the_same_in_all_else():
    first = blueprint(timings="production", workers=5, mitigations=["dns-affinity"])

    second = second_blueprint(first)

    assert (second.name, second.context) == ("way-b", "kind-way-b")
    assert (second.control_planes, second.workers) == (1, 1)
    assert (second.timings, second.options) == (first.timings, first.options)
    assert len(nodes_of(first.kind_config, "worker")) == 5


def test_a_testbed_of_its_own_is_told_from_a_second_cluster_of_the_same_shape():
    second = second_blueprint(blueprint(workers=1))
    alone = make_blueprint(name="way-b", config_text=read_kind_config(), workers=1)
    records = [each.record(node_image="n", image_source="source") for each in (second, alone)]

    assert records[0].pop("second of") == "way"
    assert records[0] == records[1]


def test_a_name_that_leaves_no_room_for_the_second_clusters_is_refused():
    with pytest.raises(Refused, match="cluster name"):
        second_blueprint(make_blueprint(name="a" * 29, config_text=read_kind_config()))


def test_nobody_is_sent_to_a_cluster_that_fails_and_nothing_is_retried():
    (cluster,) = load_balancer_nodes.bootstrap()["static_resources"]["clusters"]

    assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
    assert "retry_policy" not in json.dumps(load_balancer_nodes.bootstrap())


def test_the_check_is_as_deep_as_a_customers_request():
    (check,) = load_balancer_nodes.bootstrap()["static_resources"]["clusters"][0]["health_checks"]
    recipe = load_balancer_nodes._buying("way")

    assert check["http_health_check"]["path"] == load_balancer_nodes.CHECK_PATH
    assert f"-url=http://way-entry:{load_balancer_nodes.PORT}{load_balancer_nodes.CHECK_PATH}" in recipe


def test_the_storefront_is_where_the_entry_looks_for_it():
    (service,) = shop_install.entry_objects()
    (port,) = service["spec"]["ports"]

    assert (service["spec"]["type"], port["nodePort"]) == ("NodePort", shop_install.NODE_PORT)
    assert service["spec"]["selector"] == {"app": "storefront"}


def test_members_are_the_workers_of_each_cluster(monkeypatch):
    machines = {"way": ("control-plane", "worker"), "way-b": ("control-plane", "worker")}
    monkeypatch.setattr(containers, "cluster_containers", lambda name: nodes(name, machines[name]))

    assert [(each.cluster, each.addresses) for each in load_balancer_nodes.members(["way-b", "way"])] == [
        ("way", ("10.0.0.2:30080",)),
        ("way-b", ("10.0.0.2:30080",)),
    ]


def nodes(cluster, roles):
    return tuple(
        containers.NodeContainer(
            name=f"{cluster}-{role}", role=role, running=True, image="", ipv4=f"10.0.0.{number}",
            on_kind_network=True, labels={},
        )
        for number, role in enumerate(roles, 1)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("members", "requests", "missing"),
    [
        ((WAY, OTHER), [OK], ()),
        ((WAY, OTHER), [], ("way-customers sends no requests",)),
        (
            (WAY, OTHER),
            [OK, Request(ago_s=1, took_s=2, status=0)],
            ("1 of 2 requests of way-customers failed",),
        ),
        (
            (Member(cluster="way", addresses=("a:1",), healthy=1, drained=True), OTHER),
            [OK],
            ("way-entry sends no requests to way: drained by hand",),
        ),
    ],
)
def test_an_entry_is_steady_when_all_serve_and_all_are_served(members, requests, missing):
    assert pair.judged("way", members, requests).missing == missing


def test_the_second_cluster_is_known_by_its_leafs_record(monkeypatch):
    def mark(record):
        labels = {leaf.TESTBED_LABEL: "way-b", leaf.RECORD_LABEL: json.dumps(record)}
        return containers.NodeContainer(
            name="way-b-leaf", role="", running=True, image="", ipv4="", on_kind_network=True, labels=labels
        )

    found = {}
    monkeypatch.setattr(containers, "find_container", found.get)

    assert not pair.has_second("way")
    found["way-b-leaf"] = mark({})
    assert not pair.has_second("way")
    found["way-b-leaf"] = mark({"second of": "way"})
    assert pair.has_second("way")


def test_an_entry_is_made_anew_for_another_configuration_only():
    recipe = load_balancer_nodes.Recipe(
        name="e", image="i", command=("c",), files={load_balancer_nodes.BOOTSTRAP: "1", "/other": "a"}
    )
    behind_another = load_balancer_nodes.Recipe(
        name="e", image="i", command=("c",), files={load_balancer_nodes.BOOTSTRAP: "1", "/other": "b"}
    )
    set_otherwise = load_balancer_nodes.Recipe(
        name="e", image="i", command=("c",), files={load_balancer_nodes.BOOTSTRAP: "2"}
    )

    assert recipe.key == behind_another.key
    assert recipe.key != set_otherwise.key


def test_a_member_that_nobody_checks_serves_whatever_its_check_said():
    assert Member(cluster="w", addresses=("a:1",), healthy=1, failover=Failover.BY_HAND).serves


def test_what_was_left_drained_is_forgotten_with_its_entry(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(pair, "take_down", lambda *_: False)
    monkeypatch.setattr(lifecycle, "down", lambda *_: False)
    ours, others = (Changed(run="a", entry=f"{name}-entry", cluster=name) for name in ("way", "another"))
    write_changing(ours)
    write_changing(others)

    CliRunner().invoke(command, ["down", "--name", "way"], catch_exceptions=False)

    assert changed(intent_log().entries()) == (others,)
