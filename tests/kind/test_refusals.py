"""Bad input, the wrong cluster, a gate not met: exit 20, one line with the fix, and no rule touched on any node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .conftest import activity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Outcome

pytestmark = pytest.mark.usefixtures("rules_stay")

Change = "Callable[[dict[str, Any]], None]"


def _ttl(value: object) -> Callable[[dict[str, Any]], None]:
    return lambda experiment: activity(experiment, "sever_control_plane")["provider"]["arguments"].update(
        ttl_s=value
    )


def _rename_probe(experiment: dict[str, Any]) -> None:
    activity(experiment, "dns_resolvable")["provider"]["func"] = "dns_resolvabel"


def _misspell(experiment: dict[str, Any]) -> None:
    experiment["methods"] = experiment.pop("method")


def _misspell_argument(experiment: dict[str, Any]) -> None:
    activity(experiment, "sever_control_plane")["provider"]["arguments"]["tll_s"] = 5


def _misspell_setting(experiment: dict[str, Any]) -> None:
    experiment["configuration"]["chaosext_namespacs"] = ["shop"]


def _other_context(experiment: dict[str, Any]) -> None:
    experiment["secrets"]["kubernetes"]["KUBERNETES_CONTEXT"] = "kind-elsewhere"


def _unmet_gate(experiment: dict[str, Any]) -> None:
    experiment["configuration"]["chaosext_namespaces"] = ["no-such-namespace"]


def _loopback(experiment: dict[str, Any]) -> None:
    activity(experiment, "sever_control_plane")["provider"]["arguments"]["peers"] = ["127.0.0.1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(_ttl(0), "ttl_s", id="a TTL of 0"),
        pytest.param(_ttl(100_000), "max_ttl_s", id="a TTL beyond the limit"),
        pytest.param(_ttl("soon"), "ttl_s", id="a TTL that is no number"),
        pytest.param(_rename_probe, "dns_resolvabel", id="an unknown probe"),
        pytest.param(_misspell, "method", id="an unknown key"),
        pytest.param(_misspell_argument, "tll_s", id="an unknown argument"),
        pytest.param(_misspell_setting, "chaosext_namespaces", id="an unknown setting"),
        pytest.param(_other_context, "kind-elsewhere", id="an unknown context"),
        pytest.param(_unmet_gate, "steady state not met", id="a steady state not met"),
        pytest.param(_loopback, "loopback", id="loopback as a peer"),
    ],
)
def test_refuses_and_touches_nothing(
    run: Callable[..., Outcome],
    experiment: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    said: str,
) -> None:
    change(experiment)
    outcome = run(experiment)
    assert outcome.exit_code == 20, outcome
    assert said in outcome.stdout + outcome.stderr


def test_refuses_a_context_that_the_experiment_does_not_pin(
    run: Callable[..., Outcome], experiment: dict[str, Any]
) -> None:
    outcome = run(experiment, "--context", "kind-elsewhere")
    assert outcome.exit_code == 20
    assert "kind-elsewhere" in outcome.stderr


def test_refuses_a_cluster_that_does_not_answer(
    run: Callable[..., Outcome], experiment: dict[str, Any], kubeconfig_to_nowhere: str
) -> None:
    outcome = run(experiment, KUBECONFIG=kubeconfig_to_nowhere)
    assert outcome.exit_code == 20
    assert "did not answer" in outcome.stdout + outcome.stderr


def test_refuses_a_context_that_leads_to_another_server_than_the_pinned_one(
    run: Callable[..., Outcome], experiment: dict[str, Any], kubeconfig_by_another_name: str
) -> None:
    outcome = run(experiment, KUBECONFIG=kubeconfig_by_another_name)
    assert outcome.exit_code == 20
    assert "pinned" in outcome.stdout + outcome.stderr


def test_a_dry_run_prints_the_rules_and_touches_nothing(
    run: Callable[..., Outcome], experiment: dict[str, Any]
) -> None:
    outcome = run(experiment, "--dry-run")
    assert outcome.exit_code == 0, outcome
    assert "add table inet chaosext_" in outcome.stdout
    assert "timeout" in outcome.stdout


def test_refuses_a_context_that_is_not_pinned(
    run: Callable[..., Outcome], experiment: dict[str, Any], tmp_path: Path
) -> None:
    outcome = run(experiment, XDG_CONFIG_HOME=str(tmp_path))
    assert outcome.exit_code == 20
    assert "chaosext pin --context kind-" in outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("max_ttl_s: 5", "max_ttl_s is 5 s in {}"),
        ("protected_nodes: ['*-worker']", "-worker may not be cut off (protected_nodes is *-worker in {})"),
        ("protected_namespaces: [shop]", "protected_namespaces is shop in {}"),
        ("allowed_hours: Mon 00:00-00:01 UTC", "allowed_hours is Mon 00:00-00:01 UTC in {}"),
    ],
)
def test_refuses_what_the_operator_does_not_allow(
    run: Callable[..., Outcome], experiment: dict[str, Any], tmp_path: Path, limit: str, said: str
) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(limit)
    outcome = run(experiment, CHAOSEXT_LIMITS=str(path))
    assert outcome.exit_code == 20
    assert said.format(path) in outcome.stdout + outcome.stderr
