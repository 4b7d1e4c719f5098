"""The way out, on two real clusters behind a real entry.

`chaosext testbed up --sidecars classic --name way --clusters 2` first.

Each run takes some eight minutes. What is asserted is what customers got, as they counted it.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from .conftest import ROOT, docker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Outcome

NAME = "way"
ENTRY = f"{NAME}-entry"
FAILOVER = ROOT / "experiments" / "multi-cluster-failover.yaml"

RUN_S = 1200
BACK_WITHIN_S = 5.0
WELL = 0.999


@pytest.fixture(scope="session", autouse=True)
def testbed() -> None:
    """In place of the one-cluster testbed: skip, saying why, where there is no pair."""
    try:
        if ENTRY in docker("ps", "--format", "{{.Names}}").split():
            return
    except (OSError, subprocess.SubprocessError):
        pass
    pytest.skip(f"no entry {ENTRY} is up: run `chaosext testbed up --name {NAME} --clusters 2`")


@pytest.fixture(autouse=True)
def _all_serve(command: Callable[..., Outcome]) -> None:
    shown = command("chaosext", "failover", "show", "--load-balancer", ENTRY)
    assert shown.exit_code == 0, shown.stdout


@pytest.fixture
def failover(tmp_path: Path) -> Path:
    """The experiment, on this testbed."""
    value: dict[str, Any] = yaml.safe_load(FAILOVER.read_text())
    value["secrets"]["kubernetes"]["KUBERNETES_CONTEXT"] = f"kind-{NAME}"
    path = tmp_path / "failover.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def seconds(outcome: Outcome) -> list[dict[str, Any]]:
    lines = (outcome.directory / "latest" / "customers.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def ratio(found: list[dict[str, Any]]) -> float:
    ok, failed = (sum(each[name] for each in found) for name in ("ok", "failed"))
    return ok / (ok + failed)


def first(outcome: Outcome, kind: str) -> float:
    return min(event["t_s"] for event in outcome.events if event["kind"] == kind and event["t_s"] > 0)


@pytest.mark.parametrize("how", ["health_check", "by_hand"])
def test_customers_feel_the_outage_until_the_drain_and_nothing_after_it(
    command: Callable[..., Outcome], failover: Path, how: str
) -> None:
    outcome = command(
        "chaosext", "run", str(failover), "--expect", "deviated", timeout_s=RUN_S, CHAOSEXT_FAILOVER=how
    )

    assert outcome.exit_code == 0, outcome.stdout
    assert outcome.result["verdict"] == "deviated"
    assert outcome.result["rollback_verified"] is True
    found = seconds(outcome)
    drained_s, taken_back_s = first(outcome, "entry_drained"), first(outcome, "entry_taken_back")
    felt = [each for each in found if first(outcome, "entry_degraded") < each["t_s"] <= drained_s + 1]
    after = [each for each in found if each["t_s"] - 1 >= drained_s + BACK_WITHIN_S]
    assert ratio(felt) < 0.9
    assert ratio(after) >= WELL
    drained = [each for each in after if each["t_s"] < taken_back_s - 1]
    assert not any(NAME in each["served_by"] for each in drained)
    assert any(NAME in each["served_by"] for each in after if each["t_s"] > taken_back_s)
    assert "Customers" in (outcome.directory / "latest" / "report.html").read_text()


def test_a_cluster_that_is_not_steady_stays_out_and_the_run_says_how_to_take_it_back(
    command: Callable[..., Outcome], failover: Path
) -> None:
    value: dict[str, Any] = yaml.safe_load(failover.read_text())
    value["rollbacks"] = [
        each for each in value["rollbacks"] if each["provider"]["func"] != "reschedule_kube_dns"
    ]
    for each in value["rollbacks"]:
        each["provider"].get("arguments", {}).pop("settle_s", None)
    restore = next(each for each in value["rollbacks"] if "restore" in each["provider"]["func"])
    restore["provider"]["arguments"]["settle_s"] = 10
    failover.write_text(yaml.safe_dump(value))

    outcome = command("chaosext", "run", str(failover), timeout_s=RUN_S, CHAOSEXT_SETTLE_S="10")

    assert outcome.exit_code == 40, outcome.stdout
    assert f"chaosext failover restore {NAME} --load-balancer {ENTRY}" in outcome.stdout
    assert command("chaosext", "status", "--cluster", NAME).exit_code == 40
    docker(
        "exec", f"{NAME}-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf",
        "-n", "kube-system", "delete", "pod", "-l", "k8s-app=kube-dns",
    )  # fmt: skip
    taken = command(
        "chaosext", "failover", "restore", NAME, "--load-balancer", ENTRY, "--settle", "300", timeout_s=400
    )
    assert taken.exit_code == 0, taken.stderr
    assert "in service" in taken.stdout


def test_a_drain_by_hand_fails_nobody_and_the_last_cluster_is_not_drained(
    command: Callable[..., Outcome],
) -> None:
    def entry(*words: str) -> Outcome:
        return command("chaosext", "failover", *words, "--load-balancer", ENTRY)

    for _ in range(2):
        assert "drained by hand" in entry("drain", NAME).stdout
    assert entry("drain", f"{NAME}-b").exit_code == 20
    docker("restart", "--time", "1", ENTRY)
    shown = json.loads(entry("show", "--json").stdout)
    assert [each["drained"] for each in shown["members"]] == [True, False]
    for _ in range(2):
        assert "in service" in entry("restore", NAME).stdout
