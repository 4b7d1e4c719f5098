"""The table: which rows there are, on which ground they stand, and how they are written down."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import tests.trust.rows
from tests.trust.row import Ground, Measured, Row

if TYPE_CHECKING:
    from collections.abc import Collection

CLUSTER = "kind-chaosext"
HEAD = "| # | test | bar | trials | worst | residue | holds |\n|---|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row and what its parts came to; `missing` says which ground was not there ("": none)."""

    row: Row
    measured: Measured
    took_s: float
    missing: str = ""

    @property
    def holds(self) -> bool:
        return self.measured.holds and not self.missing

    @property
    def said(self) -> str:
        """The last column."""
        if self.missing and not self.measured.failures:
            return f"not measured: {self.missing}"
        return "yes" if self.holds else "no"

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.row.number,
            "test": self.row.title,
            "bar": self.row.bar,
            **asdict(self.measured),
            "holds": self.holds,
            "missing": self.missing,
            "took_s": round(self.took_s, 1),
        }

    def __str__(self) -> str:
        row, found = self.row, self.measured
        left = len(found.residue)
        cells = (row.number, row.title, row.bar, found.trials, found.worst, left, self.said)
        return f"| {' | '.join(map(str, cells))} |"


def rows(numbers: Collection[int] = ()) -> tuple[Row, ...]:
    """Every `ROW` of the modules in `rows/`, by number; only those named, where any is.

    Raises ValueError for a number that no row has, or two have.
    """
    names = [module.name for module in pkgutil.iter_modules(tests.trust.rows.__path__)]
    found = [importlib.import_module(f"tests.trust.rows.{name}").ROW for name in sorted(names)]
    by_number = {row.number: row for row in found}
    if len(by_number) < len(found):
        raise ValueError(f"two rows have one number: {sorted(row.number for row in found)}")
    if unknown := set(numbers) - by_number.keys():
        raise ValueError(f"there is no row {sorted(unknown)}")
    return tuple(by_number[number] for number in sorted(numbers or by_number))


def grounds() -> dict[Ground, str]:
    """Each ground, and why it is not here ("": it is)."""
    asked = ("kubectl", "--context", CLUSTER, "get", "nodes", "--request-timeout=5s")
    return {
        Ground.HERE: "",
        Ground.KERNEL: _kernel(),
        Ground.CONTAINERS: _answers("no Docker Engine answers", "docker", "info"),
        Ground.CLUSTER: _answers(f"{CLUSTER} does not answer", *asked),
    }


def table(lines: Collection[Line]) -> str:
    """The table in Markdown, and below it what failed and what was left, row by row."""
    troubles = [
        f"row {line.row.number}, {kind}: {text}"
        for line in lines
        for kind, texts in (("failure", line.measured.failures), ("residue", line.measured.residue))
        for text in texts
    ]
    return "\n".join([HEAD, *map(str, lines), *([""] if troubles else []), *troubles])


def _kernel() -> str:
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    missing = [tool for tool in ("ip", "nft", "openssl") if not shutil.which(tool)]
    return f"needs {', '.join(missing)}" if missing else ""


def _answers(otherwise: str, *argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return otherwise
    return otherwise if done.returncode else ""
