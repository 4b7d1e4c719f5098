"""A run on a cluster that is never fully healthy: judged as it was at the baseline, or better."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.checks import baseline_inventory, suite
from chaosext.checks.baseline_inventory import THERE, Inventory
from chaosext.checks.suite import Surroundings
from chaosext.experiment.settings import settings_from
from chaosext.model.errors import Refused
from chaosext.model.findings import Evidence, Finding, Status, worst
from chaosext.model.known_unhealthy import Became
from chaosext.run.monitor import steady_baseline as module
from chaosext.run.monitor import steady_state
from chaosext.run.monitor import surroundings as surroundings_module
from chaosext.run.monitor.steady_baseline import BASELINE, Baseline, begin_baseline, kept, observe
from chaosext.run.session import run_context as contexts
from chaosext.timeline.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat()
STANDS = Inventory(namespaces=("shop",), counts={("Node/w", THERE): 1})


def known(check: str, name: str, **more: str) -> dict[str, str]:
    return {"check": check, "object": name, "reason": "CHG-1", "until": SOON, **more}


def settings(*entries: dict[str, str]) -> Any:
    return settings_from({"chaosext_known_unhealthy": list(entries)}, {"KUBERNETES_CONTEXT": "kind-x"})


def row(subject: str, status: Status = Status.HEALTHY, **more: Any) -> Evidence:
    return Evidence(subject=subject, status=status, detail="so", **more)


BAD, DARK = Status.UNHEALTHY, Status.UNKNOWN
CART, FRONT = row("Deployment/shop/cart", BAD, share=(1, 3)), row("Pod/shop/front-5d8c9b7c4-p9w7t")


class Cluster:
    def namespace_uid(self, _name: str) -> str:
        return "uid"

    def nodes(self) -> tuple[Any, ...]:
        return ()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Evidence, ...]]:
    """Check -> what it finds; whatever is not here is healthy."""
    found: dict[str, tuple[Evidence, ...]] = {}

    def checked(name: str) -> Callable[[Surroundings], Finding]:
        def check(_around: Surroundings) -> Finding:
            rows = found.get(name, (row(f"all of {name}"),))
            status = worst(each.status for each in rows if each.counts)
            return Finding(check=name, status=status, summary="counted", evidence=rows)

        return check

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(contexts, "_current", None)
    monkeypatch.setattr(suite, "CHECKS", {name: checked(name) for name in suite.CHECKS})
    monkeypatch.setattr(baseline_inventory, "gather", lambda *_: STANDS)

    def surroundings(given: Any) -> Surroundings:
        return Surroundings(cluster=Cluster(), shells={}, known=surroundings_module._known(given))  # type: ignore[arg-type]

    monkeypatch.setattr(module, "surroundings", surroundings)
    monkeypatch.setattr(steady_state, "surroundings", surroundings)
    return found


def begun(tmp_path: Path, given: Any) -> Any:
    run = contexts.start(root=tmp_path / "run")
    run.recorder.set_zero(time.monotonic())
    begin_baseline(run, Baseline.take(Cluster(), given))  # type: ignore[arg-type]
    return run


def test_a_known_object_that_stays_as_it_was_neither_refuses_nor_deviates(
    world: dict[str, tuple[Evidence, ...]], tmp_path: Path
) -> None:
    world["probes_healthy"] = (CART, FRONT)
    given = settings(known("probes_healthy", "Deployment/shop/cart"))
    assert steady_state.ask(settings(), "probes_healthy").status is BAD
    run = begun(tmp_path, given)
    assert steady_state.ask(given, "probes_healthy").status is Status.HEALTHY
    assert steady_state.ask_steady_state(given, run, None, settle_s=0, dwell_s=0)["status"] == "healthy"
    (became,) = run.stash[BASELINE].objects
    assert (became.became, became.at_baseline, became.at_end) == (Became.SAME, "1 of 3", "1 of 3")


@pytest.mark.parametrize(
    ("later", "status", "became"),
    [
        ((replace(CART, share=(2, 3)), FRONT), Status.HEALTHY, Became.BETTER),
        ((FRONT,), Status.HEALTHY, Became.SAME),
        ((replace(CART, share=(0, 3)), FRONT), BAD, Became.WORSE),
        ((CART, replace(FRONT, status=BAD)), BAD, Became.SAME),
        ((replace(CART, status=DARK), FRONT), DARK, Became.SAME),
    ],
)
def test_better_passes_and_worse_deviates(
    world: dict[str, tuple[Evidence, ...]],
    tmp_path: Path,
    later: tuple[Evidence, ...],
    status: Status,
    became: Became,
) -> None:
    world["probes_healthy"] = (CART, FRONT)
    given = settings(known("probes_healthy", "Deployment/shop/cart"))
    run = begun(tmp_path, given)
    world["probes_healthy"] = later
    assert steady_state.ask_steady_state(given, run, None, settle_s=0, dwell_s=0)["status"] == status
    assert [each.became for each in run.stash[BASELINE].objects] == [became]


def test_what_had_recovered_before_the_run_is_expected_to_stay_so(
    world: dict[str, tuple[Evidence, ...]], tmp_path: Path
) -> None:
    given = settings(known("probes_healthy", "Deployment/shop/cart"))
    world["probes_healthy"] = (FRONT,)
    run = begun(tmp_path, given)
    assert [each.became for each in run.stash[BASELINE].objects] == [Became.NO_MATCH]
    world["probes_healthy"] = (CART, FRONT)
    assert steady_state.ask(given, "probes_healthy").status is BAD
    assert [each.became for each in run.stash[BASELINE].objects] == [Became.WORSE]


def test_what_is_worse_than_when_it_was_saved_refuses_at_the_gate(
    world: dict[str, tuple[Evidence, ...]], tmp_path: Path
) -> None:
    world["probes_healthy"] = (replace(CART, share=(0, 3)), FRONT)
    given = settings(known("probes_healthy", "Deployment/shop/cart", was="1 of 3"))
    begun(tmp_path, given)
    assert steady_state.ask(given, "probes_healthy").status is BAD


def test_what_is_unknown_at_the_baseline_is_not_taken_for_what_it_was(
    world: dict[str, tuple[Evidence, ...]], tmp_path: Path
) -> None:
    world["probes_healthy"] = (replace(CART, status=DARK, share=None), FRONT)
    given = settings(known("probes_healthy", "Deployment/shop/cart"))
    run = begun(tmp_path, given)
    assert run.stash[BASELINE].before == {}
    world["probes_healthy"] = (CART, FRONT)
    assert steady_state.ask(given, "probes_healthy").status is BAD


def test_a_run_that_goes_on_past_an_expiry_is_judged_as_it_began(
    world: dict[str, tuple[Evidence, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rollback is not refused for that; what begins later is."""
    world["probes_healthy"] = (CART, FRONT)
    given = settings(known("probes_healthy", "Deployment/shop/cart"))
    begun(tmp_path, given)
    later = datetime.now(UTC) + timedelta(days=2)
    monkeypatch.setattr(
        surroundings_module, "datetime", type("Later", (), {"now": staticmethod(lambda _zone: later)})
    )
    assert steady_state.ask(given, "probes_healthy").status is Status.HEALTHY
    monkeypatch.setattr(contexts, "_current", None)
    with pytest.raises(Refused, match="probes_healthy: Deployment/shop/cart expired on"):
        steady_state.ask(given, "probes_healthy")


def test_a_saved_baseline_excuses_exactly_what_was_seen(
    world: dict[str, tuple[Evidence, ...]], tmp_path: Path
) -> None:
    world["probes_healthy"] = (CART, FRONT)
    world["xds_synced"] = (row("Pod/shop/x", DARK), row("Pod/shop/y"))
    seen = observe(settings(known("probes_healthy", "Deployment/shop/cart")), datetime.now(UTC), "why")
    assert [(str(each), each.was) for each in seen.entries] == [
        ("probes_healthy: Deployment/shop/cart", "1 of 3")
    ]
    assert seen.unknown == ("xds_synced: Pod/shop/x: so",)
    found = kept("uid")
    assert found
    assert found.inventory == STANDS


def test_dns_that_is_dead_everywhere_can_t_be_saved_as_known(
    world: dict[str, tuple[Evidence, ...]],
) -> None:
    world["dns_resolvable"] = (row("Node/w → x", BAD), row("Service/kube-system/kube-dns", BAD, vital=True))
    with pytest.raises(Refused, match="Service/kube-system/kube-dns: so: this can't be accepted as known"):
        observe(settings(), datetime.now(UTC), "why")


def test_what_is_measured_of_other_checks_leaves_an_entry_as_it_was() -> None:
    (entry,) = settings(known("probes_healthy", "Node/w")).known
    baseline = Baseline(cluster=None, inventory=STANDS, entries=(entry,))  # type: ignore[arg-type]
    baseline.note(
        Finding(check="dns_resolvable", status=BAD, summary="", evidence=(row("Node/w", BAD),)), Recorder()
    )
    assert baseline.after == {}
