"""A run's baseline: what is missing is told once, asked for again where it may come back, and kept for later."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.checks import baseline_inventory
from chaosext.checks.baseline_inventory import ENDPOINTS, REPLICAS, THERE, Inventory
from chaosext.checks.suite import STEADY_STATE, Surroundings
from chaosext.cli.testbed import _require_steady_state
from chaosext.experiment.settings import settings_from
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Status
from chaosext.model.timeline import Kind
from chaosext.run.monitor import steady_baseline as module
from chaosext.run.monitor import steady_state
from chaosext.run.monitor.steady_baseline import BASELINE, KEPT_S, Baseline, keep, kept, write
from chaosext.run.session import connection
from chaosext.run.session import run_context as contexts
from chaosext.testbed.stage_progress import Progress
from chaosext.timeline.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path

CART, DNS, NODE = (
    ("Deployment/shop/cart", REPLICAS),
    ("Service/kube-system/kube-dns", ENDPOINTS),
    ("Node/w", THERE),
)
BEFORE = Inventory(namespaces=("shop",), counts={NODE: 1, CART: 2, DNS: 2})
UID = "0a1b2c3d"


@pytest.fixture
def stands(monkeypatch: pytest.MonkeyPatch) -> list[Inventory | Exception]:
    """What stands, look by look; the last one goes on."""
    looks: list[Inventory | Exception] = []

    def gather(_cluster: Any, namespaces: Any) -> Inventory:
        assert tuple(namespaces) == BEFORE.namespaces
        found = looks.pop(0) if len(looks) > 1 else looks[0]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(baseline_inventory, "gather", gather)
    monkeypatch.setattr(module, "POLL_S", 0.01)
    return looks


def less(**changes: int) -> Inventory:
    named = {"cart": CART, "dns": DNS, "node": NODE}
    counts = {**BEFORE.counts, **{named[name]: count for name, count in changes.items()}}
    return Inventory(
        namespaces=("shop",), counts={item: count for item, count in counts.items() if count or item != NODE}
    )


def look(stands: list[Inventory | Exception], *found: Inventory | Exception) -> tuple[Status, Recorder]:
    stands[:] = found
    recorder = Recorder()
    recorder.set_zero(time.monotonic())
    baseline = Baseline(cluster=None, inventory=BEFORE)  # type: ignore[arg-type]
    return baseline.last_look(recorder, threading.Event()).status, recorder


def test_what_is_gone_is_an_event_of_its_own(stands: list[Inventory | Exception]) -> None:
    status, recorder = look(stands, less(node=0, cart=1))
    assert status is Status.UNHEALTHY
    assert [(event.kind, event.object, event.detail) for event in recorder.events] == [
        (Kind.OBJECT_MISSING, "Node/w", "is gone"),
        (Kind.OBJECT_MISSING, "Deployment/shop/cart", "has 1 of 2 replicas wanted"),
    ]


def test_readiness_that_comes_back_in_a_moment_is_waited_for(stands: list[Inventory | Exception]) -> None:
    status, recorder = look(stands, less(dns=1), Unreachable("no answer"), BEFORE)
    assert (status, recorder.events) == (Status.HEALTHY, ())


def test_readiness_that_does_not_come_back_is_missing(
    stands: list[Inventory | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_LOOK_S", 0.1)
    assert look(stands, less(dns=1))[0] is Status.UNHEALTHY


def test_what_gives_no_answer_is_unknown_and_no_event(
    stands: list[Inventory | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_LOOK_S", 0.1)
    status, recorder = look(stands, Unreachable("no answer"))
    assert (status, recorder.events) == (Status.UNKNOWN, ())


def test_each_loss_is_told_once_and_so_is_its_return(stands: list[Inventory | Exception]) -> None:
    recorder = Recorder()
    recorder.set_zero(time.monotonic())
    baseline = Baseline(cluster=None, inventory=BEFORE)  # type: ignore[arg-type]
    for now in (BEFORE, less(cart=1), less(cart=1), less(cart=1, dns=0), BEFORE, BEFORE):
        baseline.note(baseline_inventory.judge(BEFORE, now), recorder)
    assert [(event.kind, event.object) for event in recorder.events] == [
        (Kind.OBJECT_MISSING, "Deployment/shop/cart"),
        (Kind.OBJECT_BACK, "Deployment/shop/cart"),
    ]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("home")
def test_a_runs_baseline_is_kept_for_its_cluster_alone() -> None:
    assert kept(UID) is None
    write(UID, BEFORE)
    found = kept(UID)
    assert found
    assert (found.inventory, time.time() - found.at.timestamp() < 60) == (BEFORE, True)
    assert kept("another") is None


def test_a_baseline_that_is_old_torn_or_from_the_future_says_nothing(home: Path) -> None:
    write(UID, BEFORE)
    path = home / "chaosext" / f"inventory-{UID}.json"
    value = json.loads(path.read_text())
    for changed in (
        {**value, "at": value["at"] - KEPT_S - 1},
        {**value, "at": value["at"] + 60},
        {"at": 0},
        [],
    ):
        path.write_text(json.dumps(changed))
        assert kept(UID) is None
    path.write_text("{")
    assert kept(UID) is None


def test_a_run_keeps_its_baseline_where_it_has_one(home: Path, tmp_path: Path) -> None:
    run = contexts.start(root=tmp_path / "run")
    run.trail.cluster_uid = UID
    keep(run)
    assert kept(UID) is None
    run.stash[BASELINE] = Baseline(cluster=None, inventory=BEFORE)  # type: ignore[arg-type]
    keep(run)
    assert kept(UID)
    run.recorder.close()
    assert (home / "chaosext" / f"inventory-{UID}.json").exists()


class Cluster:
    def namespace_uid(self, _name: str) -> str:
        return UID


@pytest.fixture
def asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The checks that were asked, with the baseline that they were given."""
    found: list[tuple[Any, ...]] = []

    def run_checks(names: Any, around: Surroundings) -> tuple[Any, ...]:
        found.append((tuple(names), around.baseline))
        return (baseline_inventory.judge(BEFORE, less(node=0)),)

    monkeypatch.setattr(contexts, "_current", None)
    monkeypatch.setattr(steady_state, "connect", lambda _: Cluster())
    monkeypatch.setattr(steady_state, "surroundings", lambda _: Surroundings(cluster=None, shells={}))  # type: ignore[arg-type]
    monkeypatch.setattr(steady_state, "run_checks", run_checks)
    return found


SETTINGS = settings_from({}, {"KUBERNETES_CONTEXT": "kind-x"})


def test_check_all_compares_with_the_last_baseline(asked: list[tuple[Any, ...]]) -> None:
    steady_state.ask_now(SETTINGS, "all")
    assert asked == [(STEADY_STATE, None)]
    write(UID, BEFORE)
    (finding,) = steady_state.ask_now(SETTINGS, "all")
    assert asked[1:] == [((*STEADY_STATE, "nothing_missing"), BEFORE)]
    assert finding.status is Status.UNHEALTHY
    assert "Node/w is gone" in finding.summary
    assert "; the baseline is of 20" in finding.summary
    assert finding.summary.endswith(" UTC (`chaosext baseline save` records a new one)")
    steady_state.ask_now(SETTINGS, "dns_resolvable")
    assert asked[-1] == (("dns_resolvable",), None)


def test_a_testbed_that_is_up_is_its_own_baseline(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have tried something on it, and taken it away again."""
    write(UID, BEFORE)
    well = baseline_inventory.judge(BEFORE, BEFORE)

    def run_checks(names: Any, around: Surroundings) -> tuple[Any, ...]:
        asked.append((tuple(names), around.baseline))
        return (well,)

    monkeypatch.setattr(steady_state, "run_checks", run_checks)
    monkeypatch.setattr(connection, "connect", lambda _: Cluster())
    monkeypatch.setattr(baseline_inventory, "gather", lambda *_: less(node=0))
    _require_steady_state("kind-x", Progress())
    assert asked == [(STEADY_STATE, None)]
    last = kept(UID)
    assert last is not None
    assert last.inventory.counts == less(node=0).counts


def test_every_steady_state_of_a_run_has_its_baseline_as_denominator(
    asked: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    run = contexts.start(root=tmp_path / "run")
    run.recorder.set_zero(0.0)
    steady_state.ask_steady_state(SETTINGS, run, ["dns_resolvable"], settle_s=0.0, dwell_s=0.0)
    assert asked[-1] == (("dns_resolvable",), None)
    run.stash[BASELINE] = Baseline(cluster=None, inventory=BEFORE)  # type: ignore[arg-type]
    for checks in (None, ["dns_resolvable"]):
        found = steady_state.ask_steady_state(SETTINGS, run, checks, settle_s=0.0, dwell_s=0.0)
        assert asked[-1] == ((*(checks or STEADY_STATE), "nothing_missing"), BEFORE)
        assert found["status"] == "unhealthy"
        assert "nothing_missing: Node/w is gone (1 of 3 objects of the baseline)" in found["summary"]
    assert [(event.kind, event.object) for event in run.recorder.events] == [(Kind.OBJECT_MISSING, "Node/w")]
    run.recorder.close()
