"""Flags as people paste them: each is read, listed as without effect, doubted, or refused with the nearest name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from listings import SMALL, listed, node, pod, written

from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot.control_plane_flags import READ_FLAGS, given_flags
from chaosext.rehearsal.snapshot.flag_names import FLAGS
from chaosext.rehearsal.snapshot.prune import WANTED, least
from chaosext.rehearsal.snapshot.reader import read_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

GRACE = "node-monitor-grace-period"


@pytest.mark.parametrize(
    ("argument", "flags"),
    [
        (f"--{GRACE}=40s", {GRACE: "40s"}),
        (f"{GRACE}=40s", {GRACE: "40s"}),
        (f"--{GRACE} 40s", {GRACE: "40s"}),
        ("--node_monitor_grace_period=40s", {GRACE: "40s"}),
        ("--profiling", {"profiling": "true"}),
        ("-v=2", {"v": "2"}),
        (
            "--etcd-servers=https://10.0.0.1:2379,https://10.0.0.2:2379",
            {"etcd-servers": "https://10.0.0.1:2379,https://10.0.0.2:2379"},
        ),
        (
            f"kube-controller-manager --leader-elect --{GRACE}=1m5s --v 2",
            {"leader-elect": "true", GRACE: "1m5s", "v": "2"},
        ),
        ("/usr/bin/kube-apiserver --profiling=false", {"profiling": "false"}),
    ],
)
def test_a_flag_is_read_as_it_is_pasted(argument: str, flags: dict[str, str]) -> None:
    assert given_flags([argument]) == flags


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("node-monitor-grace-perod=40s", "did you mean --node-monitor-grace-period?"),
        ("--default-unreachable-toleration=60", "did you mean --default-unreachable-toleration-seconds?"),
        ("--kubelet-magic-switch=1", "did you mean|write e.g."),
        ("=1", "write e.g."),
        ("", "write e.g."),
        (f"--{GRACE}", "write e.g."),
        ("--default-unreachable-toleration-seconds=²", "write e.g."),
    ],
)
def test_a_flag_that_no_version_has_or_a_value_that_it_cannot_have_is_refused(
    argument: str, hint: str
) -> None:
    with pytest.raises(Refused, match="--controller-manager-arg/--apiserver-arg") as refused:
        given_flags([argument])
    assert any(each in refused.value.fix for each in hint.split("|"))


def test_every_flag_that_is_read_has_a_name_that_is_known() -> None:
    assert READ_FLAGS <= FLAGS
    assert all(name == name.strip("-").lower() for name in FLAGS)


def world(tmp_path: Path, *items: Any, **flags: Any) -> World:
    return read_snapshot([written(tmp_path / "c.json", listed(*items))], **flags)


def test_flags_without_effect_are_listed(tmp_path: Path) -> None:
    found = world(
        tmp_path,
        *SMALL,
        controller_manager_args=["--node-monitor-grace-period=20s", "--leader-elect"],
        apiserver_args=["default-not-ready-toleration-seconds=20"],
    )
    assert found.control_plane.timings.grace_s == 20.0
    said = "no effect on the prediction: --leader-elect, --default-not-ready-toleration-seconds"
    assert said in found.assumptions
    assert found.doubts == ()


def static(*command: str) -> Any:
    made = pod("kube-controller-manager-cp-1", "cp-1", "kube-system", "Node/cp-1")
    made["spec"]["containers"][0]["command"] = ["kube-controller-manager", *command]
    return made


UNMODELLED = (
    "--controllers=*,bootstrapsigner,-nodelifecycle",
    "--controllers=deployment,replicaset",
    "--enable-taint-manager=false",
    "--feature-gates=A=true,DeploymentPodReplacementPolicy=true",
)


@pytest.mark.parametrize("flag", UNMODELLED)
def test_a_flag_that_switches_off_what_is_predicted_makes_the_outcome_unknown(
    tmp_path: Path, flag: str
) -> None:
    given, found = (
        world(tmp_path, *SMALL, controller_manager_args=[flag]),
        world(tmp_path, *SMALL, static(flag)),
    )
    for each in (given, found):
        assert "isn't modelled" in " ".join(each.assumptions)
        assert each.doubts


@pytest.mark.parametrize("flag", ["--controllers=*,bootstrapsigner,tokencleaner", "--feature-gates=A=true"])
def test_usual_values_of_such_flags_are_no_doubt(tmp_path: Path, flag: str) -> None:
    assert world(tmp_path, *SMALL, static(flag)).doubts == ()


# -- k3s and RKE2 ------------------------------------------------------------------------------------------------


def server(name: str, *arguments: str, by: str = "k3s.io/node-args") -> Any:
    made = node(name)
    made["metadata"]["annotations"] = {by: json.dumps(["server", "--token", "********", *arguments])}
    return made


@pytest.mark.parametrize("by", ["k3s.io/node-args", "rke2.io/node-args"])
def test_the_arguments_of_k3s_and_rke2_are_in_force(tmp_path: Path, by: str) -> None:
    arguments = (
        "--kube-controller-manager-arg=node-monitor-grace-period=20s",
        "--kube-apiserver-arg",
        "default-unreachable-toleration-seconds=30",
        "--kube-apiserver-arg=profiling=false",
    )
    whole = server("cp-1", *arguments, by=by)
    kind = next(each for each in WANTED if each.kind == "Node")
    little = least(kind, whole)
    assert "token" not in json.dumps(little)
    assert "profiling" not in json.dumps(little)
    for made in (whole, little):
        found = world(tmp_path, made, node("worker-1")).control_plane.timings
        assert (found.grace_s, found.toleration_s) == (20.0, 30.0)
        assert "k3s or RKE2 servers" in found.source


@pytest.mark.parametrize(
    "value", ["", "{}", '["agent"]', '"server"', "[" * 100_000, '["server", 5, "--kube-apiserver-arg"]']
)
def test_an_annotation_of_another_form_is_passed_over(tmp_path: Path, value: str) -> None:
    made = node("cp-1")
    made["metadata"]["annotations"] = {"k3s.io/node-args": value}
    assert world(tmp_path, made, node("worker-1")).control_plane.timings.toleration_s == 300.0
