"""A signal ends a strict run within seconds: what was playing is left, nothing more is played, and it says so."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from crash_run import Run
from crash_stage import act, experiment, gate

if TYPE_CHECKING:
    from pathlib import Path


def sleeping(first: dict[str, Any]) -> dict[str, Any]:
    return experiment([first, act("mark", word="next")], rollbacks=[act("mark", word="back")])


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2],
    ids=lambda number: number.name,
)
def test_a_signal_inside_an_action_ends_the_run(tmp_path: Path, number: signal.Signals) -> None:
    with Run(tmp_path, sleeping(act("snooze", word="asleep", seconds=60))) as run:
        run.wait_for("asleep")
        assert run.ends_after(number) == 128 + number
        assert run.words() == ["asleep"]
        assert (run.result()["verdict"], run.result()["exit_code"]) == ("interrupted", 128 + number)
        assert run.journal()["rollbacks"] == []


@pytest.mark.parametrize(
    ("first", "words"),
    [
        pytest.param(
            act("snooze", word="asleep", seconds=60) | {"pauses": {"after": 60}},
            ["asleep"],
            id="with a pause",
        ),
        pytest.param(
            act("stay", word="asleep", seconds=60), ["asleep", "asleep-swallowed"], id="that swallows it"
        ),
    ],
)
def test_no_activity_can_hold_the_run_up(tmp_path: Path, first: dict[str, Any], words: list[str]) -> None:
    with Run(tmp_path, sleeping(first)) as run:
        run.wait_for("asleep")
        assert run.ends_after(signal.SIGTERM) == 143
        assert run.words() == words


def test_an_activity_in_the_background_can_not_hold_the_process_up(tmp_path: Path) -> None:
    behind = act("snooze", word="behind", seconds=60) | {"background": True}
    method = [behind, act("snooze", word="asleep", seconds=60), act("mark", word="next")]
    with Run(tmp_path, experiment(method)) as run:
        run.wait_for("behind")
        run.wait_for("asleep")
        assert run.ends_after(signal.SIGTERM) == 143
        assert sorted(run.words()) == ["asleep", "behind"]
        assert run.result()["verdict"] == "interrupted"


def test_a_signal_inside_the_gate_touches_nothing(tmp_path: Path) -> None:
    slow = act("snooze", kind="probe", word="asleep", seconds=60) | {
        "tolerance": True,
        "pauses": {"after": 60},
    }
    value = experiment([act("mark", word="next")], probes=[slow], rollbacks=[act("mark", word="back")])
    with Run(tmp_path, value) as run:
        run.wait_for("asleep")
        assert run.ends_after(signal.SIGTERM) == 143
        assert run.words() == ["asleep"]


def test_a_signal_inside_a_rollback_ends_the_run(tmp_path: Path) -> None:
    rollbacks = [act("snooze", word="asleep", seconds=60), act("mark", word="back")]
    with Run(tmp_path, experiment([act("mark", word="method")], rollbacks=rollbacks)) as run:
        run.wait_for("asleep")
        assert run.ends_after(signal.SIGINT) == 130
        assert run.words() == ["method", "asleep"]


def test_impatience_changes_nothing(tmp_path: Path) -> None:
    """A second signal of another kind neither kills the healing nor changes what is said."""
    with Run(tmp_path, sleeping(act("snooze", word="asleep", seconds=60))) as run:
        run.wait_for("asleep")
        run.process.send_signal(signal.SIGINT)
        assert run.ends_after(signal.SIGTERM) in (
            130,
            143,
        )  # two pending signals are taken in their numbers' order
        assert run.result()["verdict"] == "interrupted"


@pytest.mark.parametrize(
    ("value", "expect", "exit_code"),
    [
        pytest.param("well", "passed", 0, id="passed as expected"),
        pytest.param("well", "deviated", 1, id="passed though a deviation was expected"),
        pytest.param("ill", "refused", 0, id="refused as expected"),
        pytest.param("ill", "passed", 20, id="refused though a pass was expected"),
    ],
)
def test_the_process_ends_with_what_was_expected(
    tmp_path: Path, value: str, expect: str, exit_code: int
) -> None:
    made = experiment([act("mark", word="method")], probes=[gate(value)])
    with Run(tmp_path, made, "--expect", expect) as run:
        assert run.process.wait(timeout=30) == exit_code
        assert run.result()["expected"] == expect


def test_a_reader_that_goes_away_does_not_end_the_run(tmp_path: Path) -> None:
    with Run(tmp_path, experiment([act("snooze", word="asleep", seconds=0.5)])) as run:
        assert run.process.stdout
        run.process.stdout.close()
        run.process.wait(timeout=30)
        run.process.stdout = None
        assert run.words() == ["asleep", "asleep-woke"]
        assert run.result()["verdict"] == "passed"
        assert run.process.returncode == 0


@pytest.mark.parametrize("attempt", range(5))
def test_a_signal_that_arrives_just_before_a_sleep_is_not_lost(tmp_path: Path, attempt: int) -> None:
    """Two at once: the first may fall between the last look at pending signals and the sleep's system call."""
    with Run(tmp_path, sleeping(act("snooze", word="asleep", seconds=60))) as run:
        run.wait_for("asleep")
        run.process.send_signal(signal.SIGTERM)
        assert run.ends_after(signal.SIGTERM) == 143


def test_a_process_ends_though_the_one_who_ends_its_run_fails(tmp_path: Path) -> None:
    """Else nobody would: its main thread does not come, and no signal is heeded any more."""
    script = tmp_path / "forsaken.py"
    script.write_text(FORSAKEN)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=30, check=False)
    assert done.returncode == 40, done.stderr


FORSAKEN = """
import os, signal, time
from chaosext.run.shutdown import leaving_on_signals

def stay():
    while True:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except SystemExit:
            pass

def end():
    raise RuntimeError("dictionary changed size during iteration")

with leaving_on_signals() as left:
    left.forsaken = end
    left.play(stay)
"""
