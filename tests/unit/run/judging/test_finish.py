"""What a result says beyond the verdict's own reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.run import context as contexts
from chaosext.run.judging.finish import result_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_lock_that_was_lost_is_a_reason(tmp_path: Path) -> None:
    run = contexts.start(root=tmp_path)
    run.recorder.set_zero(0.0)
    run.recorder.say(Kind.LOCK_LOST, "Cluster/kind-nowhere", "cp: run b of bob@desk took it over")
    run.recorder.close()
    result = result_of(run, {}, Verdict(outcome=Outcome.PASSED, reasons=("the steady state held",)))
    assert result.verdict.reasons[-1] == "the lock was lost: cp: run b of bob@desk took it over"
