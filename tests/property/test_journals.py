"""Any JSON may stand in a journal: activities answer what they like, and chaoslib may die half-way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from example_counts import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosext.model.findings import Status
from chaosext.model.verdict import Outcome
from chaosext.run.session.run_directory import RunDirectory
from chaosext.run.verdict.derive import derive
from chaosext.run.verdict.facts import facts_of

if TYPE_CHECKING:
    import pytest

words = st.sampled_from(
    ["", "healthy", "unhealthy", "unknown", "succeeded", "failed", "aborted", "action", "probe"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | words
KEYS = (
    "status output activity type name provider module func finding summary exception probes tolerance_met "
    "steady_state_met before after"
)
keys = st.sampled_from(KEYS.split()) | st.text(max_size=3)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
ours = st.sampled_from(
    ["sever_control_plane", "heal_control_plane", "steady_state", "cut_effective", "other"]
)
activities = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["action", "probe"]),
        "name": st.just("a"),
        "provider": st.fixed_dictionaries(
            {"module": st.sampled_from(["chaosext.probes", "chaosk8s.x"]), "func": ours}
        ),
    }
)
errors = st.sampled_from(["Refused", "Inconclusive", "Unsafe"])
findings = st.fixed_dictionaries({"status": words, "summary": st.text(max_size=5)})
runs = st.fixed_dictionaries(
    {"activity": activities | anything},
    optional={
        "status": words | anything,
        "output": findings | st.fixed_dictionaries({"finding": findings | st.none()}) | anything,
        "exception": st.lists(st.text(max_size=9)) | anything,
        "raised": st.fixed_dictionaries({"error": errors, "message": st.text(max_size=9)}) | anything,
        "tolerance_met": st.booleans(),
    },
)
sections = st.lists(runs | anything, max_size=4) | anything
states = (
    st.none()
    | anything
    | st.fixed_dictionaries({"steady_state_met": st.booleans() | st.none(), "probes": sections})
)
journals = st.fixed_dictionaries(
    {},
    optional={
        "status": words | anything,
        "steady_states": st.fixed_dictionaries({"before": states, "after": states}) | anything,
        "run": sections,
        "rollbacks": sections,
    },
)
MET = {"steady_state_met": True, "probes": []}
hopeful = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["completed", "failed", "aborted", None]),
        "steady_states": st.fixed_dictionaries({"before": st.just(MET), "after": st.just(MET) | st.none()}),
        "run": st.lists(
            activities.map(lambda each: {"activity": each, "status": "succeeded"}) | runs, max_size=3
        ),
        "rollbacks": st.lists(runs, max_size=2),
    }
)


@given(journals | hopeful | st.dictionaries(keys, anything))
@settings(max_examples=examples(150))
def test_every_journal_leads_to_a_verdict(journal: dict[str, Any]) -> None:
    assert derive(facts_of(journal)).reasons


@given(hopeful)
@settings(max_examples=examples(150))
def test_a_pass_needs_every_activity_to_have_succeeded(journal: dict[str, Any]) -> None:
    if derive(facts_of(journal)).outcome is not Outcome.PASSED:
        return
    assert all(run["status"] == "succeeded" for run in (*journal["run"], *journal["rollbacks"]))
    assert journal["status"] != "aborted"


@given(journals, st.sampled_from(["aborted", "interrupted"]))
def test_a_journal_cut_short_never_passes(journal: dict[str, Any], status: str) -> None:
    assert derive(facts_of({**journal, "status": status})).exit_code != 0


@given(journals, st.sampled_from(["unhealthy", "unknown"]))
def test_a_cut_without_a_healthy_proof_never_passes(journal: dict[str, Any], status: str) -> None:
    sever = {"module": "chaosext.actions", "func": "sever_control_plane"}
    run = {
        "activity": {"type": "action", "name": "sever", "provider": sever},
        "status": "succeeded",
        "output": {"finding": {"status": status, "summary": "left open"}},
    }
    method = journal.get("run")
    method = [run, *(method if isinstance(method, list) else [])]
    facts = facts_of({**journal, "run": method})
    assert facts.cut
    assert facts.cut.status is not Status.HEALTHY
    assert derive(facts).exit_code != 0


@given(journals)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50))
def test_every_journal_can_be_written(
    tmp_path_factory: pytest.TempPathFactory, journal: dict[str, Any]
) -> None:
    directory = RunDirectory("r", Path(tmp_path_factory.mktemp("run")))
    directory.write_json("journal.json", {**journal, "output": {("no", "key"): "of JSON"}, "half": "\udcff"})
    assert "half" in json.loads((directory.path / "journal.json").read_text())
