"""Plays a cell: testbed up, snapshot, prediction on disk, run, comparison, kept run, testbed down.

Every step is a command of chaosext in a process of its own, as a user would type it; only the prediction is made here.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext import __version__
from chaosext.experiment.load import load_experiment
from chaosext.experiment.resolve import resolve
from chaosext.matrix.cell_experiment import MAIN, cell_experiment
from chaosext.matrix.cell_review import CellReview
from chaosext.matrix.kept_runs import CellFailure, CellPrediction, KeptRun, Prevention
from chaosext.matrix.machine_lateness import LATE_S, MachineLateness
from chaosext.model.bounded_json import JSON_BYTES, parse_json
from chaosext.model.errors import MALFORMED, ChaosextError, Unsafe
from chaosext.model.files import opened, read_file, unzipped, write_whole
from chaosext.model.printable import json_text
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.predict.recommendations import advised
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.time_budget import TimeBudget
from chaosext.rehearsal.snapshot.cut_targets import cut_nodes
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.report.data.run_data import REHEARSAL, RESULT, read_run
from chaosext.run.course import AFTERWARDS_S
from chaosext.run.preflight import SNAPSHOT, RehearsedCourse, rehearse_into
from chaosext.run.session.connection import forget_connections
from chaosext.run.session.run_directory import LATEST
from chaosext.testbed import versions
from chaosext.testbed.commands import CommandFailed, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.matrix.cells import MatrixCell
    from chaosext.matrix.kept_runs import MatrixStore
    from chaosext.testbed.stage_progress import Progress

UP_WITHIN_S, RUN_WITHIN_S, DOWN_WITHIN_S = 900.0, 2400.0, 120.0
"""Time limits of the steps, seconds. A run with production timings takes up to half an hour."""

UP_ATTEMPTS = 2
"""A busy machine may miss a deadline of `testbed up`, which continues where it stopped."""

ADVISED_WITHIN_S = 60.0
"""Time limit for simulating mitigations on the snapshot, seconds."""

SEEN_OUTCOMES = frozenset({Outcome.PASSED, Outcome.DEVIATED})
"""Only a run that ends with one of these shows what the cell does."""


SPEAKER = "chaosext: "
"""What a command's own message begins with."""


class CellNotPlayed(ChaosextError):
    """A step of a cell failed. `step` names it."""

    def __init__(self, step: str, message: str, fix: str = "") -> None:
        super().__init__(message, fix)
        self.step = step


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlayer:
    """Plays cells on a testbed of one name.

    Attributes:
        bed: the testbed's name. It is removed before and after each cell, unless `leaves_up`.
        runs: the directory in which each run leaves its own, and the log of the steps.
        images: as `testbed up --images`.
    """

    store: MatrixStore
    progress: Progress
    bed: str
    runs: Path
    images: str = "auto"
    leaves_up: bool = False

    def play(self, cell: MatrixCell, repeats: int = 1) -> Iterator[CellReview]:
        """Play a cell, several times on one testbed. Yield what each run showed, once it is kept.

        Raises `CellNotPlayed`, and keeps the reason; raises `Unsafe` if a run may have left a cut.
        """
        try:
            yield from self._on_testbed(cell, repeats)
        except CellNotPlayed as error:
            failure = CellFailure(cell=cell.name, step=error.step, reason=error.message, at=_now())
            self.store.fail(failure)
            raise

    def _on_testbed(self, cell: MatrixCell, repeats: int) -> Iterator[CellReview]:
        try:
            if not self.leaves_up:
                self._down(cell)
            for turn in range(repeats):
                up_s = self._up(cell)
                kept = self._played(cell, up_s if turn == 0 else None)
                self.store.keep(kept)
                yield CellReview(kept)
        finally:
            if not self.leaves_up:
                self._down(cell)

    def _down(self, cell: MatrixCell) -> None:
        self._step(cell, "down", "testbed", "down", "--name", self.bed, "--force", within_s=DOWN_WITHIN_S)

    def _up(self, cell: MatrixCell) -> float:
        """Bring the testbed up; it takes seconds if it is up already. Return how long it took."""
        begun_s = time.monotonic()
        words = ("testbed", "up", "--name", self.bed, "--images", self.images, *cell.up_options)
        for left in reversed(range(UP_ATTEMPTS)):
            try:
                self._step(cell, "up", *words, within_s=UP_WITHIN_S)
                break
            except CellNotPlayed:
                if not left:
                    raise
        return round(time.monotonic() - begun_s, 1)

    def _played(self, cell: MatrixCell, up_s: float | None) -> KeptRun:
        with tempfile.TemporaryDirectory(prefix="chaosext-cell-") as place:
            experiment = Path(place, "experiment.json")
            main = load_experiment(Path(MAIN))
            made = cell_experiment(cell, main, f"kind-{self.bed}")
            write_whole(experiment, json_text(made), fsync=False)
            with self.progress.stage(f"{cell}: predict"):
                before, found = self._predicted(cell, experiment, Path(place))
            self.progress.line(f"{cell}: {found.prediction.headline} (prediction {before.sha256[:12]})")
            with MachineLateness() as machine:
                directory = self._run(cell, experiment)
        if machine.late_s >= LATE_S:
            self.progress.line(f"{cell}: the machine was {machine.late_s:.1f} s late; its times say little")
        with self.progress.stage(f"{cell}: simulate mitigations"):
            prevents = tuple(_prevents(found))
        return _kept(
            before,
            directory,
            versions=_versions(cell, before.snapshot),
            up_s=up_s,
            late_s=round(machine.late_s, 2),
            prevents=prevents,
        )

    def _predicted(
        self, cell: MatrixCell, experiment: Path, place: Path
    ) -> tuple[CellPrediction, RehearsedCourse]:
        """Predict the cell's run, and write the prediction to disk."""
        forget_connections()  # the testbeds of all cells have one name
        try:
            found = rehearse_into(resolve(load_experiment(experiment)), place)
        except ChaosextError as error:
            raise CellNotPlayed("predict", error.message, error.fix) from error
        assert found is not None  # noqa: S101  the incident's experiment cuts
        snapshot = _json_of(place / SNAPSHOT)
        prediction: Any = parse_json(json_text(found.prediction.to_json()))  # as it is read back
        before = CellPrediction.of(cell, prediction, snapshot, datetime.now(UTC))
        self.store.promise(before)
        return before, found

    def _run(self, cell: MatrixCell, experiment: Path) -> Path:
        """Run the experiment, and return the run's directory. Raises `CellNotPlayed` if it shows nothing."""
        root = self.runs / cell.name.replace("/", "_")
        words = ("run", str(experiment), "--run-dir", str(root), "--plain")
        latest, failed = root / LATEST, ""
        before = latest.resolve()
        try:
            self._step(cell, "run", *words, within_s=RUN_WITHIN_S)
        except CellNotPlayed as error:
            failed = error.message
        directory = latest.resolve()
        if directory in (before, latest):
            raise CellNotPlayed("run", failed or "the run left no directory")
        return directory

    def _step(self, cell: MatrixCell, step: str, *words: str, within_s: float) -> None:
        """Run a command of chaosext. Raises `CellNotPlayed` if it fails."""
        log = self.runs / f"{cell.name.replace('/', '_')}.log"
        with self.progress.stage(f"{cell}: {step}"):
            try:
                run_command(
                    [sys.executable, "-m", "chaosext", *words], timeout_s=within_s, log=log.absolute()
                )
            except CommandFailed as error:
                raise CellNotPlayed(step, _said(error), f"see {log}") from error


def keep_run(store: MatrixStore, cell: MatrixCell, directory: Path) -> CellReview:
    """Keep a run that was played otherwise, with its own rehearsal as the prediction, dated by that file.

    Raises `CellNotPlayed` if it has none, or shows nothing.
    """
    try:
        prediction = parse_json(read_file(directory / REHEARSAL, most=JSON_BYTES))
        written_at = datetime.fromtimestamp((directory / REHEARSAL).stat().st_mtime, UTC)
        snapshot = _json_of(directory / SNAPSHOT)
        before = CellPrediction.of(cell, prediction, snapshot, written_at)
        found = _rehearsed_again(directory / SNAPSHOT, prediction)
    except (OSError, *MALFORMED) as error:
        raise CellNotPlayed("predict", f"{directory} has no rehearsal that can be read: {error}") from error
    kept = _kept(before, directory, versions=_versions(cell, snapshot), prevents=tuple(_prevents(found)))
    store.keep(kept)
    return CellReview(kept)


def _rehearsed_again(snapshot: Path, prediction: Mapping[str, Any]) -> RehearsedCourse:
    """Return the prediction of the same cut, from which mitigations are tried: when it heals, and is rolled back."""
    world = read_snapshot([snapshot])
    times = {each["kind"]: float(each["t_s"]) for each in prediction["timeline"]}
    rollback_s = times.get(Kind.ROLLBACK)
    plan = Plan(
        cut_nodes=cut_nodes(world, ""),
        cut_for_s=times[Kind.HEAL],
        horizon_s=(rollback_s or times[Kind.HEAL]) + AFTERWARDS_S,
        rollback_s=rollback_s,
    )
    found = rehearse(world, plan, with_timeline=False, budget=TimeBudget.of(ADVISED_WITHIN_S))
    return RehearsedCourse(world=world, plan=plan, prediction=found)


def _said(error: CommandFailed) -> str:
    """Return the message of a command of chaosext that failed, without its progress."""
    own = [line for line in error.message.splitlines() if line.startswith(SPEAKER)]
    return own[-1].removeprefix(SPEAKER) if own else error.message


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json_of(path: Path) -> dict[str, Any]:
    with opened(path) as file:
        value: dict[str, Any] = parse_json(b"".join(unzipped(file, path)))
    return value


def _prevents(found: RehearsedCourse) -> Iterator[Prevention]:
    """Yield each mitigation that applies to the snapshot, the most effective first."""
    budget = TimeBudget.of(ADVISED_WITHIN_S)
    for each in advised(found.prediction, found.world, found.plan, budget=budget).advice:
        if each.passes is not None:
            yield Prevention(mitigation=each.mitigation, passes=round(each.passes, 3))


def _kept(before: CellPrediction, directory: Path, **about: Any) -> KeptRun:
    """Return the run in `directory` as it is kept, with more that is known `about` it.

    Raises `CellNotPlayed` if a file of it can't be read, or it shows nothing, and `Unsafe` if it may have left a cut.
    """
    try:
        result = parse_json(read_file(directory / RESULT, most=JSON_BYTES))
        data = read_run(directory)
    except (OSError, *MALFORMED) as error:
        raise CellNotPlayed("run", f"{directory} can't be read: {error}") from error
    verdict = data.result.verdict
    said = f"{verdict.headline}: {'; '.join(verdict.reasons)}"
    if verdict.outcome is Outcome.UNSAFE:
        raise Unsafe(f"{before.cell}: {said}", f"see {directory}, and `chaosext status`")
    if verdict.outcome not in SEEN_OUTCOMES:
        raise CellNotPlayed("run", said, f"see {directory}")
    kept = KeptRun(
        before=before,
        result=result,
        timeline=tuple(event for event in data.result.events if event.kind is not Kind.CLOCK),
        **about,
    )
    try:
        return KeptRun.from_json(parse_json(json_text(kept.to_json())))
    except MALFORMED as error:
        raise CellNotPlayed("run", f"{directory} proves nothing: {error}") from error


def _versions(cell: MatrixCell, snapshot: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions of what the cell's testbed is made of."""
    about = snapshot.get("chaosext") or {}
    found = {"chaosext": __version__, "Kubernetes": str(about.get("version") or versions.KUBERNETES_VERSION)}
    name, version = next(
        (each for prefix, each in NETWORK_VERSIONS.items() if cell.network.startswith(prefix)), ("", "")
    )
    if version:
        found[name] = version
    if cell.mesh != "none":
        found["Istio"] = versions.ISTIO_VERSION
    return found


NETWORK_VERSIONS = {
    "calico": ("Calico", versions.CALICO_VERSION),
    "flannel": ("flannel", versions.FLANNEL_VERSION),
    "kube-router": ("kube-router", versions.KUBE_ROUTER_VERSION),
}
"""Beginning of a network's name -> its component and version."""
