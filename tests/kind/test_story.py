"""The night itself, on the real cluster: each test takes some minutes and ends in the steady state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import CONTEXT, EXPERIMENT, NAME, kubectl, rulesets, run_as_printed, without

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Outcome

pytestmark = pytest.mark.usefixtures("steady_afterwards")


def _dns_nodes() -> set[str]:
    template = "jsonpath={range .items[*]}{.spec.nodeName} {end}"
    return set(kubectl("-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", template).split())


def _kinds(outcome: Outcome) -> set[str]:
    return {event["kind"] for event in outcome.events}


def test_without_the_reschedule_the_cluster_does_not_come_back_and_the_exit_code_is_11(
    run: Callable[..., Outcome], experiment: dict[str, Any]
) -> None:
    experiment["rollbacks"][-1]["provider"]["arguments"]["settle_s"] = 20
    outcome = run(without(experiment, "reschedule_kube_dns"), CHAOSEXT_SETTLE_S="30")
    assert outcome.exit_code == 11, outcome
    assert outcome.result["rollback_verified"] is False
    assert _dns_nodes() == {f"{NAME}-control-plane"}
    assert {"cut", "node_not_ready", "pod_evicted", "pod_bound", "heal", "dns_dead"} <= _kinds(outcome)


def test_plain_chaos_run_tells_the_same_story_and_leaves_the_same_verdict(
    command: Callable[..., Outcome],
) -> None:
    before = rulesets().keys()
    outcome = command("chaos", "run", str(EXPERIMENT))
    assert outcome.result["verdict"] == "deviated", outcome
    assert outcome.result["rollback_verified"] is True
    assert _dns_nodes() <= {name for name in before if "control-plane" not in name}
    assert "chaosext_" not in "".join(rulesets().values())


def test_the_gate_says_no_go_then_go_with_its_patch_and_the_run_agrees_each_time(
    command: Callable[..., Outcome], run: Callable[..., Outcome], experiment: dict[str, Any], tmp_path: Path
) -> None:
    plan = tmp_path / "cutover.yaml"
    plan.write_text("title: t\ncut: {selector: '!node-role.kubernetes.io/control-plane', for: 2m}\n")

    def asked() -> tuple[int, dict[str, Any]]:
        outcome = command("chaosext", "gate", "--cutover", str(plan), "--context", CONTEXT, "--json")
        told: dict[str, Any] = json.loads(outcome.stdout)
        return outcome.exit_code, told

    code, told = asked()
    assert (code, told["decision"]) == (10, "no-go"), told["reasons"]
    assert run(experiment).result["verdict"] == "deviated"

    smallest = told["remedies"][0]
    try:
        for how in smallest["commands"]:
            run_as_printed(how, tmp_path)
        code, told = asked()
        assert (code, told["decision"]) == (0, "go"), told["reasons"]
        assert run(experiment).result["verdict"] == "passed"
    finally:
        run_as_printed(
            f"kubectl --context {CONTEXT} -n kube-system rollout undo deployment/coredns", tmp_path
        )
