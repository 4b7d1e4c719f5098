"""What the shop lives through, and what it does not."""

from pathlib import Path

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def test_a_short_cut_evicts_nothing(chaosext_run):
    run = chaosext_run(EXPERIMENTS / "short-cut.yaml", expect="passed")
    assert not run.events("pod_evicted")
    assert run.longest_outage_s("dns") < 25


def test_the_night_of_the_cutover(chaosext_run):
    run = chaosext_run("control-plane-partition", expect="deviated")
    heal = run.first("heal")
    assert heal.t_s < run.first("dns_dead", "worker").t_s, "DNS was fine until the network was back"
    assert run.verdict.rollback_verified


def test_the_shop_is_back(chaosext_testbed):
    ready = chaosext_testbed.kubectl("get", "pods", "-n", "shop", "-o", "jsonpath={.items[*].status.phase}")
    assert set(ready.split()) == {"Running"}
