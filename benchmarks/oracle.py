"""A prediction against KWOK on a real control plane: the same cut of the same cluster, once played, once predicted.

The play takes as long as the cut and what follows, and a control plane's start before it; the prediction starts where
a person would start it, with reading the snapshot that was taken just before the cut.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError
from chaosext.testbed.stage_progress import Progress

if TYPE_CHECKING:
    from oracle.controlplane import Programs
    from oracle.recording import Recording
    from oracle.scenarios import Scenario

SCENARIO, SEED = "1+3 zone of their own", 1
ALLOWED_SHARE = 0.5
"""A prediction that takes half as long as the cut itself would be no rehearsal."""


def main() -> None:
    """Print both times and their ratio. Raises SystemExit where the prediction is wrong, or hardly quicker."""
    from oracle.scenarios import SCENARIOS

    programs = _programs()
    if programs is None:
        print("skipped: the oracle's programs are not built; make oracle builds them (a quarter of an hour)")
        return
    scenario = next(each for each in SCENARIOS if each.name == SCENARIO)
    with tempfile.TemporaryDirectory(prefix="bench-oracle-") as root:
        played_s, recording = _played(scenario, programs, Path(root, "plane"))
        predicted_s = _predicted(recording, Path(root))
    _print(scenario, recording, played_s, predicted_s)


def _programs() -> Programs | None:
    """Those that were built before; a benchmark builds none."""
    from oracle.controlplane import Programs

    return Programs.built(Progress()) if Programs.are_built() else None


def _played(scenario: Scenario, programs: Programs, directory: Path) -> tuple[float, Recording]:
    """Seconds from nothing to the end of the play, and what was seen."""
    from oracle.play import play

    began_s = time.monotonic()
    try:
        recording = play(scenario, SEED, programs, directory)
    except ChaosextError as error:
        raise SystemExit(f"the control plane did not come up: {error}") from None
    return time.monotonic() - began_s, recording


def _predicted(recording: Recording, directory: Path) -> float:
    """Seconds of the whole command, with its start."""
    snapshot = directory / "snapshot.json"
    snapshot.write_text("\n".join(map(json.dumps, recording.snapshot)))
    flags = [f"--controller-manager-arg={each}" for each in recording.controller_manager_flags]
    flags += [f"--apiserver-arg={each}" for each in recording.apiserver_flags]
    plan = [f"--cut-nodes={','.join(recording.cut_nodes)}", f"--cut-for={recording.cut_for_s:.0f}s"]
    began_s = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "chaosext", "rehearse", f"--snapshot={snapshot}", "--json", *plan, *flags],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - began_s


def _print(scenario: Scenario, recording: Recording, played_s: float, predicted_s: float) -> None:
    from oracle.judge import compare

    found = compare(recording)
    right = found.is_foreseen and not found.misses
    print(
        f"{scenario.name}: {found.observed}, {found.events} events, {'as' if right else 'NOT as'} predicted"
    )
    for miss in found.misses:
        print(f"       {miss} (this machine was {found.late_s:.1f} s late)")
    print(f"played      {played_s:8.2f} s    a real control plane with KWOK's nodes, its start included")
    print(f"predicted   {predicted_s:8.2f} s    {played_s / predicted_s:.1f} times as quick", flush=True)
    if not found.is_foreseen or predicted_s > ALLOWED_SHARE * scenario.cut_for_s:
        raise SystemExit(1)
