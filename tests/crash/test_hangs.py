"""What hangs is left at its deadline, healed and named; what can't be left is ended over its head."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from crash_run import Run
from crash_stage import act, experiment

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 1.0
START_S = 15.0
"""What starting Python may take on a crowded machine, before any deadline begins."""

HANGS = {
    "a sleep": act("snooze", word="hung", seconds=600),
    "one that swallows once": act("stay", word="hung", seconds=600),
    "one that swallows all": act("swallow_all", word="hung"),
    "C": act("wait_in_c", word="hung", seconds=600),
    "a command": {
        "type": "action",
        "name": "a command",
        "provider": {
            "type": "process",
            "path": "bash",
            "arguments": ["-c", "echo hung >>$CRASH_LOG; sleep 600"],
        },
    },
    "its own timeout": act("snooze", word="hung", seconds=600) | {"timeout": LIMIT_S},
}


def hanging(hang: dict[str, Any], limit_s: float = LIMIT_S) -> dict[str, Any]:
    method = [hang, act("mark", word="next")]
    return experiment(method, rollbacks=[act("mark", word="back")], chaosext_activity_timeout_s=limit_s)


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_a_hung_activity_ends_the_run_at_its_deadline(tmp_path: Path, hang: dict[str, Any]) -> None:
    with Run(tmp_path, hanging(hang, 60.0 if "timeout" in hang else LIMIT_S)) as run:
        run.wait_for("hung")
        began_s = time.monotonic()
        assert run.process.wait(timeout=LIMIT_S + 6) == 30
        assert time.monotonic() - began_s <= LIMIT_S + 5
        assert {"next", "back"}.isdisjoint(run.words())
        result = run.result()
    assert result["verdict"] == "inconclusive"
    assert result["reasons"] == [f"action '{hang['name']}' did not end within 1 s; nothing had been cut"]


@pytest.mark.parametrize("name", ["one that swallows all", "C"])
def test_a_signal_ends_even_what_no_signal_ends(tmp_path: Path, name: str) -> None:
    with Run(tmp_path, hanging(HANGS[name], 600.0)) as run:
        run.wait_for("hung")
        assert run.ends_after(signal.SIGTERM) == 143
        assert run.result()["verdict"] == "interrupted"
        assert "verdict: interrupted" in run.process.stdout.read()  # type: ignore[union-attr]


def test_a_hung_activity_in_the_background_is_bounded_too(tmp_path: Path) -> None:
    behind = act("snooze", word="hung", seconds=600) | {"background": True}
    with Run(tmp_path, hanging(behind)) as run:
        assert run.process.wait(timeout=START_S + LIMIT_S + 5) == 30
        assert "back" not in run.words()
        assert "did not end within 1 s" in run.result()["reasons"][0]


def test_pauses_are_no_hanging(tmp_path: Path) -> None:
    paused = act("mark", word="paused") | {"pauses": {"before": 2 * LIMIT_S, "after": 2 * LIMIT_S}}
    with Run(tmp_path, hanging(paused)) as run:
        assert run.process.wait(timeout=START_S + 10) == 0
        assert run.words() == ["paused", "next", "back"]


def test_a_hung_tolerance_is_bounded(tmp_path: Path) -> None:
    tolerance = act("snooze", kind="probe", word="hung", seconds=600) | {"name": "a tolerance"}
    probe = act("answer", kind="probe", name="gate", value="well") | {"tolerance": tolerance}
    value = experiment([act("mark", word="next")], probes=[probe], chaosext_activity_timeout_s=LIMIT_S)
    with Run(tmp_path, value) as run:
        assert run.process.wait(timeout=START_S + LIMIT_S + 5) == 30
        assert run.words() == ["hung"]
        assert run.result()["reasons"][0].startswith("the gap after probe 'gate' did not end within 1 s")


def test_a_killed_run_leaves_what_it_had_done(tmp_path: Path) -> None:
    method = [act("mark", word="done"), act("snooze", word="asleep", seconds=600)]
    with Run(tmp_path, experiment(method)) as run:
        run.wait_for("asleep")
        run.process.send_signal(signal.SIGKILL)
        assert run.process.wait(timeout=5) == -signal.SIGKILL
        journal = run.journal()
    assert journal["status"] == "running"
    assert journal["steady_states"]["before"]["probes"][0]["tolerance_met"] is True
    assert [each.get("status") for each in journal["run"]] == ["succeeded", None]
    assert json.loads((tmp_path / "run/latest/journal.json").read_text()) == journal


def test_a_gate_that_is_killed_leaves_the_probes_that_it_had_asked(tmp_path: Path) -> None:
    probes = [
        act("answer", kind="probe", value=1) | {"tolerance": 1},
        act("snooze", kind="probe", word="asleep", seconds=60) | {"tolerance": True},
    ]
    with Run(tmp_path, experiment([act("mark", word="next")], probes=probes)) as run:
        run.wait_for("asleep")
        run.process.send_signal(signal.SIGKILL)
        run.process.wait(timeout=5)
        (asked,) = run.journal()["steady_states"]["before"]["probes"]
        assert asked["output"] == "(number)"  # it was kept; numbers of others are not shown


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGINT])
def test_an_end_that_hangs_is_unsafe_and_the_process_is_gone(
    tmp_path: Path, number: signal.Signals | None
) -> None:
    hangs = act("hang_the_end", word="armed", within_s=600.0 if number else 1.0)
    with Run(tmp_path, experiment([hangs])) as run:
        run.wait_for("hangs")
        if number:
            run.process.send_signal(number)
        assert run.process.wait(timeout=15) == 40
        said = run.process.stdout.read()  # type: ignore[union-attr]
        assert "unsafe: the run did not end in time" in said
        assert "chaosext status" in said
