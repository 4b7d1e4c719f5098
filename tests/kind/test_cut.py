"""The cut on the real cluster: proven from both sides, judged by others, gone when it should be."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.run.fault.run_lock import unlock_cluster
from chaosext.run.session import run_context

from .conftest import CONTEXT, NAME, activity, docker, node_names, rulesets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Outcome

SECRETS = {"KUBERNETES_CONTEXT": CONTEXT, "KUBERNETES_VERIFY_SSL": "true"}
TTL_S = 8.0
"""Shorter than 9 s: with a 20 s grace a longer cut already disturbs the cluster."""


@pytest.fixture
def actions(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path / "run"))
    from chaosext import actions

    run = run_context.start()
    yield actions
    try:
        actions.heal_control_plane()
    finally:
        unlock_cluster(run)  # what `chaosext run` does at its end: this process lives on


def _ours() -> list[str]:
    return [name for name in node_names() if "chaosext_" in docker("exec", name, "nft", "list", "tables")]


def test_a_cut_is_proven_from_both_sides_and_in_both_families(actions: Any) -> None:
    report = actions.sever_control_plane(ttl_s=TTL_S, secrets=SECRETS)
    subjects = [row["subject"] for row in report["finding"]["evidence"]]
    assert report["finding"]["status"] == "healthy"
    for side in (f"Node/{NAME}-control-plane →", f"Node/{NAME}-worker →"):
        assert any(side in subject and "ipv4" in subject.lower() for subject in subjects)
        assert any(side in subject and "ipv6" in subject.lower() for subject in subjects)


def test_foreign_rules_are_byte_identical_before_during_and_after_a_cut(actions: Any) -> None:
    before = rulesets()
    report = actions.sever_control_plane(ttl_s=TTL_S, prove=False, secrets=SECRETS)
    assert report["foreign_rules_identical"]
    actions.heal_control_plane(secrets=SECRETS)
    unlock_cluster(run_context.current())
    assert rulesets() == before


def test_only_the_control_plane_carries_rules(actions: Any) -> None:
    actions.sever_control_plane(ttl_s=TTL_S, prove=False, secrets=SECRETS)
    assert _ours() == [f"{NAME}-control-plane"]
    actions.heal_control_plane(secrets=SECRETS)
    assert _ours() == []


def test_the_kernel_lets_go_at_the_ttl_when_nobody_heals(actions: Any) -> None:
    actions.sever_control_plane(ttl_s=3.0, secrets=SECRETS)
    time.sleep(3.5)
    script = f"exec 3<>/dev/tcp/{NAME}-control-plane/6443 && echo open"
    assert "open" in docker("exec", f"{NAME}-worker", "timeout", "2", "bash", "-c", script)


def test_another_process_can_judge_the_cut_while_it_is_in_force(
    actions: Any, command: Callable[..., Outcome]
) -> None:
    actions.sever_control_plane(ttl_s=TTL_S, prove=False, secrets=SECRETS)
    during = command("chaosext", "check", "cut_effective", "--json")
    actions.heal_control_plane(secrets=SECRETS)
    after = command("chaosext", "check", "cut_effective", "--json")
    assert (during.exit_code, json.loads(during.stdout)[0]["status"]) == (0, "healthy")
    assert (after.exit_code, json.loads(after.stdout)[0]["status"]) == (10, "unhealthy")


def test_a_second_run_is_refused_while_the_first_is_in_force(
    actions: Any, run: Callable[..., Outcome], experiment: dict[str, Any]
) -> None:
    actions.sever_control_plane(ttl_s=TTL_S, prove=False, secrets=SECRETS)
    experiment["steady-state-hypothesis"]["probes"] = experiment["steady-state-hypothesis"]["probes"][-1:]
    outcome = run(experiment)
    assert outcome.exit_code in (20, 30)
    assert outcome.result["verdict"] in ("refused", "inconclusive")
    assert [event["kind"] for event in outcome.events if event["kind"] == "cut"] == []


def test_ipv6_left_open_is_said_and_the_run_is_inconclusive(
    run: Callable[..., Outcome], experiment: dict[str, Any]
) -> None:
    activity(experiment, "sever_control_plane")["provider"]["arguments"]["families"] = ["ipv4"]
    outcome = run(experiment)
    assert outcome.exit_code == 30, outcome
    assert "ipv6 left open" in " ".join(outcome.result["reasons"]).lower()
    assert _ours() == []


def test_a_cut_of_the_wrong_address_is_inconclusive_and_leaves_nothing(
    run: Callable[..., Outcome], experiment: dict[str, Any]
) -> None:
    activity(experiment, "sever_control_plane")["provider"]["arguments"]["peers"] = ["192.0.2.7"]
    outcome = run(experiment)
    assert outcome.exit_code == 30, outcome
    assert outcome.result["verdict"] == "inconclusive"
    assert _ours() == []
