"""A signal ends a strict run within seconds: what was playing is left, nothing more is played, and it says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from crash_activities import LOG
from crash_stage import act, experiment, gate

DRIVER = Path(__file__).with_name("crash_driver.py")
PATIENCE_S = 5.0


class Run:
    """`chaosext run` in a process of its own, on an experiment without a cluster."""

    def __init__(self, directory: Path, value: dict[str, Any], *options: str) -> None:
        self.log, self.directory = directory / "log", directory / "run"
        path = directory / "experiment.json"
        path.write_text(json.dumps(value))
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), "run", str(path), "--run-dir", str(self.directory), *options],
            env={**os.environ, LOG: str(self.log), "XDG_STATE_HOME": str(directory / "state")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def words(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def wait_for(self, word: str) -> None:
        deadline_s = time.monotonic() + 30
        while word not in self.words():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline_s, f"never heard {word!r}"
            time.sleep(0.02)

    def ends_after(self, number: signal.Signals) -> int:
        """The exit code that the process ends with, soon after signal `number`."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_S)

    def result(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.directory / "latest" / "result.json").read_text())
        return value

    def journal(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.directory / "latest" / "journal.json").read_text())
        return value


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
