"""Kept runs: what the page of the matrix is made from, one file per run, in a directory per cell.

A kept run holds the snapshot and the prediction, which were written before the run began, and the run's result and
timeline. Reading verifies the prediction's digest, and that it is older than the cut.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping  # noqa: TC003  # msgspec reads it
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

from chaosext.cluster.object_files import read_document
from chaosext.matrix.cells import MatrixCell
from chaosext.model.bounded_json import Finite, parse_json
from chaosext.model.errors import MALFORMED, Refused
from chaosext.model.files import Folder, opened, unzipped, write_pieces, write_whole
from chaosext.model.printable import json_text
from chaosext.model.result import RunResult
from chaosext.model.timeline import Event, Predicted
from chaosext.report.data.run_data import RunData, forecast_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SCHEMA = "chaosext.cell/v1"
SUFFIX = ".json.gz"
PREDICTION, FAILURE, EXPLANATIONS = "prediction.json", "failure.json", "explanations.yaml"

KEPT_BYTES = 16 << 20
MOST_RUNS_OF_CELL = 1000


def digest_of(prediction: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a prediction, in hex: of its JSON with sorted keys and without spaces."""
    text = json.dumps(prediction, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPrediction:
    """A prediction on disk, before the cell's run begins. `predicted_at`: ISO 8601."""

    cell: str
    predicted_at: str
    sha256: str
    prediction: Mapping[str, Any]
    snapshot: Mapping[str, Any]

    @classmethod
    def of(
        cls, cell: MatrixCell, prediction: Mapping[str, Any], snapshot: Mapping[str, Any], at: datetime
    ) -> Self:
        return cls(
            cell=cell.name,
            predicted_at=at.isoformat(timespec="milliseconds"),
            sha256=digest_of(prediction),
            prediction=prediction,
            snapshot=snapshot,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prevention:
    """A mitigation tried on the cell's snapshot: the probability that the cut passes with it."""

    mitigation: str
    passes: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """A cell that was predicted, then played.

    Attributes:
        versions: component -> version.
        up_s: how long `testbed up` took in seconds; None if the testbed was up already.
        late_s: how late the machine was while the run lasted, in seconds; None if that was not measured.
        prevents: mitigations tried on the snapshot, whether or not they help.
    """

    before: CellPrediction
    result: Mapping[str, Any]
    timeline: tuple[Event, ...]
    versions: Mapping[str, str]
    up_s: Finite | None = None
    late_s: Finite | None = None
    prevents: tuple[Prevention, ...] = ()

    @property
    def cell(self) -> MatrixCell:
        return MatrixCell.named(self.before.cell)

    @property
    def run(self) -> str:
        return str(self.result["run"])

    @property
    def date(self) -> str:
        """The day on which it was played, by the runner's clock: `2026-11-30`."""
        return str(self.result["started_at"])[:10]

    def data(self) -> RunData:
        """Return the run as reports read it, with the prediction that was made before it."""
        forecast, unobserved = forecast_of(self.before.prediction)
        return RunData(
            result=RunResult.from_json(self.result, self.timeline),
            prediction=tuple(map(Predicted.from_json, self.before.prediction["timeline"])),
            forecast=forecast,
            unobserved=unobserved,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **msgspec.to_builtins(self.before),
            "versions": dict(self.versions),
            "up_s": self.up_s,
            "late_s": self.late_s,
            "prevents": [msgspec.to_builtins(each) for each in self.prevents],
            "result": dict(self.result),
            "timeline": [event.to_json() for event in self.timeline],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse the output of `to_json`. Raises a member of `MALFORMED` for anything else.

        ValueError if the prediction is not the one that was digested, or is not older than the cut.
        """
        if value["schema"] != SCHEMA:
            raise ValueError(f"schema {value['schema']!r}, not {SCHEMA}")
        kept = cls(
            before=msgspec.convert(value, CellPrediction),
            result=msgspec.convert(value["result"], dict[str, Any]),
            timeline=msgspec.convert(value["timeline"], tuple[Event, ...]),
            versions=msgspec.convert(value["versions"], dict[str, str]),
            up_s=msgspec.convert(value["up_s"], Finite | None),
            late_s=msgspec.convert(value["late_s"], Finite | None),
            prevents=msgspec.convert(value["prevents"], tuple[Prevention, ...]),
        )
        _require_foretold(kept)
        kept.data()
        return kept


def _require_foretold(kept: KeptRun) -> None:
    if digest_of(kept.before.prediction) != kept.before.sha256:
        raise ValueError("the prediction is not the one that was digested before the run")
    cut_at = str(kept.result["cut_at"])
    if not cut_at or datetime.fromisoformat(kept.before.predicted_at) >= datetime.fromisoformat(cut_at):
        raise ValueError(
            f"the prediction ({kept.before.predicted_at}) is not older than the cut ({cut_at or 'none'})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFailure:
    """Why a cell was not played to its end. `step`: predict, up, run …; `at`: ISO 8601."""

    cell: str
    step: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why something was not as predicted. `cells`, `runs` and `difference` are patterns, as of file names."""

    difference: str
    why: str
    cells: str = "*"
    runs: str = "*"


@dataclass(frozen=True, slots=True)
class MatrixStore:
    """The directory with all kept runs."""

    root: Path

    def runs(self) -> tuple[KeptRun, ...]:
        """Return every kept run, by the names of their cells and runs. Raises `Refused` for a damaged one."""
        return tuple(kept for cell in self._cells() for kept in self.of(cell))

    def of(self, cell: MatrixCell) -> tuple[KeptRun, ...]:
        """Return the kept runs of a cell, the oldest first. Raises `Refused` for a damaged one."""
        path = self._place(cell)
        if not path.is_dir():
            return ()
        with Folder(path) as folder:
            names = folder.names(SUFFIX, most=MOST_RUNS_OF_CELL)
        return tuple(_read(path / name) for name in names)

    def failures(self) -> tuple[CellFailure, ...]:
        """Return the failures of cells that have not been played since."""
        return tuple(filter(None, map(self._failure, self._cells())))

    def explanations(self) -> tuple[Explanation, ...]:
        """Return what people wrote about differences, in `explanations.yaml`. Raises `Refused` if it is malformed."""
        path = self.root / EXPLANATIONS
        if not path.exists():
            return ()
        value, _ = read_document(path, "explanations")
        try:
            return msgspec.convert(value, tuple[Explanation, ...])
        except MALFORMED as error:
            fix = "write a list of mappings with difference, why, and optionally cells and runs"
            raise Refused(f"explanations {path}: {error}", fix) from None

    def promise(self, before: CellPrediction) -> Path:
        """Write a prediction to disk, before its run begins."""
        path = self._made(MatrixCell.named(before.cell)) / PREDICTION
        write_whole(path, f"{json_text(msgspec.to_builtins(before))}\n", fsync=True)
        return path

    def keep(self, kept: KeptRun) -> Path:
        """Write a kept run; it replaces the prediction and a failure of its cell."""
        place = self._made(kept.cell)
        path = place / f"{kept.run}{SUFFIX}"
        write_pieces(path, [f"{json_text(kept.to_json(), indent=1)}\n"], fsync=True, gzipped=True)
        for name in (PREDICTION, FAILURE):
            (place / name).unlink(missing_ok=True)
        return path

    def fail(self, failure: CellFailure) -> None:
        """Write why a cell was not played."""
        path = self._made(MatrixCell.named(failure.cell)) / FAILURE
        write_whole(path, f"{json_text(msgspec.to_builtins(failure))}\n", fsync=False)

    def _failure(self, cell: MatrixCell) -> CellFailure | None:
        with Folder(self._place(cell)) as folder:
            if not folder.has(FAILURE):
                return None
            try:
                return msgspec.convert(parse_json(folder.read(FAILURE, most=KEPT_BYTES)), CellFailure)
            except MALFORMED as error:
                raise _damaged(self._place(cell) / FAILURE, error) from None

    def _cells(self) -> Iterator[MatrixCell]:
        for path in sorted(self.root.glob("*/*/*")):
            if path.is_dir():
                yield MatrixCell.named(str(path.relative_to(self.root)))

    def _place(self, cell: MatrixCell) -> Path:
        return self.root / cell.name

    def _made(self, cell: MatrixCell) -> Path:
        place = self._place(cell)
        place.mkdir(parents=True, exist_ok=True)
        return place


def by_cell(runs: Iterable[KeptRun]) -> dict[MatrixCell, tuple[KeptRun, ...]]:
    """Group kept runs by cell."""
    found: dict[MatrixCell, tuple[KeptRun, ...]] = {}
    for kept in runs:
        found[kept.cell] = (*found.get(kept.cell, ()), kept)
    return found


def _read(path: Path) -> KeptRun:
    try:
        with opened(path) as file:
            data = b"".join(unzipped(file, path))
        return KeptRun.from_json(parse_json(data))
    except (OSError, *MALFORMED) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> Refused:
    said = getattr(error, "strerror", None) or " ".join(str(error).split())
    return Refused(
        f"{path} is not a kept run: {said:.200}", "restore the file, or remove it and play the cell again"
    )
