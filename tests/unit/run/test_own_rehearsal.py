"""A run's own rehearsal: of the cut that the experiment makes, bounded, and never a reason not to run."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT

from chaosext.experiment.load import load_experiment
from chaosext.experiment.resolve import resolve
from chaosext.model.errors import Unreachable
from chaosext.model.timeline import Kind
from chaosext.run import preflight
from chaosext.run.preflight import Course, OwnRehearsal, course_of, rehearse_apart, rehearse_run
from chaosext.run.session.run_directory import RunDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.experiment.resolve import Resolved
SNAPSHOTS = ROOT / "examples" / "snapshots"


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, all is simulated."""
    monkeypatch.setattr(preflight, "SIMULATED_WITHIN_S", float("inf"))


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory("20261123t000000abcd", tmp_path)


@pytest.fixture
def resolved() -> Resolved:
    return resolve(load_experiment(ROOT / "experiments" / "control-plane-partition.yaml"))


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The cluster shows what a bundled snapshot has."""

    def showing(name: str) -> None:
        def take(_: object, path: Path) -> None:
            with gzip.open(path, "wb") as file, (SNAPSHOTS / name).open("rb") as source:
                shutil.copyfileobj(source, file)

        monkeypatch.setattr(preflight, "connect", lambda _: None)
        monkeypatch.setattr(preflight, "_take", take)

    return showing


def test_the_experiments_course_is_read_from_its_arguments(
    resolved: Resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert course_of(resolved) == Course(lasts_s=120, moves_s=90, begins_s=5, settle_s=120)
    monkeypatch.setenv("CHAOSEXT_TTL_S", "600")
    longer = resolve(resolved.experiment)
    assert course_of(longer) == Course(lasts_s=600, moves_s=90, begins_s=5, settle_s=120)


def method(*activities: dict[str, Any]) -> Any:
    """The resolved experiment with a cut of 100 s, these, and a heal."""
    ours = {"type": "python", "module": "chaosext.actions", "secrets": ["kubernetes"]}
    sever = {**ours, "func": "sever_control_plane", "arguments": {"ttl_s": 100}}
    experiment = load_experiment(ROOT / "experiments" / "control-plane-partition.yaml")
    heal = {"type": "action", "name": "heal", "provider": {**ours, "func": "heal_control_plane"}}
    experiment["method"] = [{"type": "action", "name": "cut", "provider": sever}, *activities, heal]
    return resolve(experiment)


PROOF = {
    "type": "probe",
    "name": "effective",
    "provider": {
        "type": "python",
        "module": "chaosext.probes",
        "func": "cut_effective",
        "secrets": ["kubernetes"],
    },
}
SLEEP = {
    "type": "action",
    "name": "sleep",
    "provider": {"type": "process", "path": "sleep", "arguments": "3"},
}


def test_a_cut_that_is_healed_soon_is_rehearsed_as_a_short_one() -> None:
    assert course_of(method(PROOF)) == Course(lasts_s=5, settle_s=0)
    paused = {**PROOF, "pauses": {"before": 1, "after": 12}}
    assert course_of(method(paused)) == Course(lasts_s=18, settle_s=0)


def test_where_nobody_knows_how_long_the_method_holds_the_cut_it_is_rehearsed_until_the_kernel_heals() -> (
    None
):
    assert course_of(method(PROOF, SLEEP)) == Course(lasts_s=100, settle_s=0)
    assert course_of(method({**PROOF, "pauses": {"after": 500}})) == Course(lasts_s=100, settle_s=0)


MOVED = {
    "type": "probe",
    "name": "moved",
    "provider": {
        "type": "python",
        "module": "chaosext.probes",
        "func": "kube_dns_moved",
        "arguments": {"timeout_s": 60},
        "secrets": ["kubernetes"],
    },
}


def test_pauses_around_the_wait_for_kube_dns_hold_the_cut_longer() -> None:
    later = course_of(method({**PROOF, "pauses": {"after": 20}}, {**MOVED, "pauses": {"after": 30}}))
    assert later == Course(lasts_s=100, moves_s=60, begins_s=25, holds_s=30, settle_s=0)
    assert later.healed_s(moved_s=10) == 55
    assert later.healed_s(moved_s=40) == 70
    assert later.waits_until_s == 100
    unknown = course_of(method(MOVED, SLEEP))
    assert unknown is not None
    assert unknown.healed_s(moved_s=10) == 100


def test_the_storys_heal_is_expected_once_kube_dns_has_moved(
    resolved: Resolved, directory: RunDirectory, of: Any
) -> None:
    of("story.json")
    rehearsed = rehearse_run(resolved, directory)
    found = rehearsed.prediction
    assert found
    assert rehearsed.lines[0].startswith("rehearsal: deviated, it does not heal by itself")
    assert found.verdict.value == "deviated"
    times = {event.kind: event.t_s for event in found.timeline if event.kind in (Kind.HEAL, Kind.ROLLBACK)}
    assert 40 < times[Kind.HEAL] < 65
    assert times[Kind.ROLLBACK] == times[Kind.HEAL] + 120
    said = json.loads((directory.path / "rehearsal.json").read_text())
    assert said == json.loads(json.dumps(found.to_json()))
    assert (directory.path / "snapshot.json.gz").exists()


def test_where_kube_dns_stays_pending_the_heal_comes_when_all_of_it_is_gone(
    resolved: Resolved, directory: RunDirectory, of: Any
) -> None:
    of("mitigated.json")
    found = rehearse_run(resolved, directory).prediction
    assert found
    assert found.verdict.value == "passed"
    assert next(event.t_s for event in found.timeline if event.kind is Kind.HEAL) < 65


@pytest.mark.parametrize("error", [Unreachable("no answer"), KeyError("items"), OSError(28, "No space left")])
def test_a_rehearsal_that_fails_is_a_line(
    resolved: Resolved, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(preflight, "connect", fail)
    found = rehearse_run(resolved, directory)
    assert found.prediction is None
    assert found.lines[0].startswith(f"no prediction: {type(error).__name__}")
    assert not (directory.path / "rehearsal.json").exists()


def test_what_cuts_nothing_is_not_rehearsed(resolved: Resolved, directory: RunDirectory) -> None:
    resolved.experiment["method"] = []
    assert rehearse_run(resolved, directory) == OwnRehearsal()
    assert list(directory.path.iterdir()) == []


class Slow:
    """A cluster that answers for ever."""

    context = "kind-slow"

    def pages(self, plural: str, **_: Any) -> Any:
        while True:
            yield {"items": [{"metadata": {"name": "x", "namespace": "y"}}] * 500}

    def request(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}


def test_it_waits_for_no_cluster_longer_than_it_may(
    resolved: Resolved, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "connect", lambda _: Slow())
    monkeypatch.setattr(preflight, "TAKEN_WITHIN_S", 0.2)
    found = rehearse_run(resolved, directory)
    assert found.prediction is None
    assert "no snapshot within 0.2 s" in found.lines[0]
    assert list(directory.path.iterdir()) == []


def test_where_it_does_not_move_the_heal_comes_when_the_experiment_stops_waiting(
    resolved: Resolved, directory: RunDirectory, of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of("story.json")
    monkeypatch.setenv("CHAOSEXT_MOVE_TIMEOUT_S", "20")
    found = rehearse_run(resolve(resolved.experiment), directory).prediction
    assert found
    assert (
        next(event.t_s for event in found.timeline if event.kind is Kind.HEAL) == 25
    )  # after the proof of the cut


# -- what is cut is another thing than is rehearsed ------------------------------------------------------------


def cuts(*arguments: dict[str, Any]) -> Any:
    """The experiment with cuts of these arguments, one after the other."""
    experiment = load_experiment(ROOT / "experiments" / "control-plane-partition.yaml")
    sever = next(
        each for each in experiment["method"] if each["provider"].get("func") == "sever_control_plane"
    )
    others = [
        {**sever, "provider": {**sever["provider"], "arguments": {"ttl_s": 100, **each}}}
        for each in arguments
    ]
    experiment["method"] = [*others, *(each for each in experiment["method"] if each is not sever)]
    return resolve(experiment)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (({"uplinks": ["eth0"]}, {"uplinks": ["eth1"]}), "method[1] uplinks: it cuts other interfaces"),
        (({"peers": ["172.18.0.4"]},), "the experiment peers: it limits what is cut off"),
        (({"families": ["ipv4"]},), "the experiment families: it cuts one address family"),
    ],
)
def test_what_is_not_the_cut_that_is_rehearsed_is_unknown(
    directory: RunDirectory, of: Any, arguments: tuple[dict[str, Any], ...], says: str
) -> None:
    of("mitigated.json")
    found = rehearse_run(cuts(*arguments), directory).prediction
    assert found
    assert (found.verdict.value, found.self_heals) == ("unknown", None)
    assert says in found.routes.why_not


# -- several cuts ------------------------------------------------------------------------------------------------


def flapping(*between: dict[str, Any], ttl_s: float = 16, after_s: float = 26, times: int = 4) -> Any:
    """The experiment with so many cuts that expire, `after_s` from begin to begin, and these after the first."""
    experiment = load_experiment(ROOT / "experiments" / "control-plane-partition.yaml")
    sever = next(
        each for each in experiment["method"] if each["provider"].get("func") == "sever_control_plane"
    )
    provider = {**sever["provider"], "arguments": {"ttl_s": ttl_s}}
    one = {**sever, "provider": provider, "pauses": {"after": after_s}}
    experiment["method"] = [one, *between, *(one for _ in range(times - 1))]
    return resolve(experiment)


def test_every_cut_of_an_experiment_is_played(directory: RunDirectory, of: Any) -> None:
    """Four cuts of 16 s, 10 s apart, under a grace period of 20 s: a single one moves nothing."""
    four = flapping()
    assert course_of(four) == Course(lasts_s=16, later=((26, 42), (52, 68), (78, 94)), settle_s=0)
    of("story.json")
    found = rehearse_run(four, directory).prediction
    assert found
    cuts = [event.t_s for event in found.timeline if event.kind is Kind.CUT]
    assert cuts == [0, 26, 52, 78]
    assert found.verdict.value == "deviated"
    alone = rehearse_run(flapping(times=1), directory).prediction
    assert alone
    assert alone.verdict.value == "passed"


def test_a_cut_that_is_healed_before_it_expires_ends_with_the_heal() -> None:
    heal = {
        "type": "action",
        "name": "heal",
        "provider": {
            "type": "python",
            "module": "chaosext.actions",
            "func": "heal_control_plane",
            "secrets": ["kubernetes"],
        },
        "pauses": {"after": 4},
    }
    assert course_of(flapping(heal, ttl_s=60, after_s=8, times=2)) == Course(
        lasts_s=8, later=((12, 72),), settle_s=0
    )


def test_cuts_that_meet_are_one() -> None:
    assert course_of(flapping(after_s=16)) == Course(lasts_s=64, settle_s=0)


@pytest.mark.parametrize(
    ("activity", "says"),
    [
        ({**PROOF, "background": True}, "method[1] (effective): it runs in the background"),
        (SLEEP, "method[1] (sleep): it is an action between two cuts"),
        (
            {
                **PROOF,
                "name": "moved",
                "provider": {
                    **PROOF["provider"],  # type: ignore[dict-item]
                    "func": "kube_dns_moved",
                    "arguments": {"timeout_s": 5},
                },
            },
            "method[1] (moved): how long it takes is known only in the run",
        ),
        (
            {
                "type": "action",
                "name": "move it",
                "provider": {
                    "type": "python",
                    "module": "chaosext.actions",
                    "func": "reschedule_kube_dns",
                    "secrets": ["kubernetes"],
                },
            },
            "method[1] (move it): it reschedules kube-dns between two cuts",
        ),
    ],
)
def test_what_can_not_be_played_between_two_cuts_makes_it_unknown_by_name(
    directory: RunDirectory, of: Any, activity: dict[str, Any], says: str
) -> None:
    of("mitigated.json")
    found = rehearse_run(flapping(activity, times=2), directory).prediction
    assert found
    assert (found.verdict.value, found.self_heals) == ("unknown", None)
    assert says in found.routes.why_not


def test_a_cut_outside_of_the_method_can_not_be_played() -> None:
    twice = flapping(times=1)
    twice.experiment["rollbacks"] = [twice.experiment["method"][0], *twice.experiment["rollbacks"]]
    course = course_of(twice)
    assert course
    assert [each.subject for each in course.doubts] == ["rollbacks[0]"]


def test_a_rehearsal_that_takes_too_long_says_how_much_was_simulated(
    resolved: Resolved, directory: RunDirectory, of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of("story.json")
    monkeypatch.setattr(preflight, "SIMULATED_WITHIN_S", 0.0)
    rehearsed = rehearse_run(resolved, directory)
    assert rehearsed.prediction
    assert rehearsed.prediction.verdict.value == "unknown"
    assert rehearsed.prediction.simulations.made == 0
    assert "0 of 500 random simulations" in rehearsed.lines[0]
    said = json.loads((directory.path / "rehearsal.json").read_text())
    assert (said["simulations"], said["workloads"]) == ({"made": 0, "wanted": 500}, None)


# -- a preflight says the same -----------------------------------------------------------------------------------


def test_a_preflight_says_what_the_runs_own_rehearsal_says_and_leaves_nothing(
    resolved: Resolved, directory: RunDirectory, of: Any
) -> None:
    of("story.json")
    apart, own = rehearse_apart(resolved), rehearse_run(resolved, directory)
    assert apart == own
    assert "to cp-1" in apart.lines[-4]
    assert apart.lines[-3:-1] == (
        "DNS during the cut: resolvable",
        "DNS after the heal, in 96%: dead, 2 of 2 kube-dns Pods on cp-1, whose Pod addresses are not announced",
    )
