"""The reports at the end of a run: bounded, and never a reason to end otherwise than the run did."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.report.formats import FILES, FORMATS, write_report
from chaosext.report.run_data import read_run

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True)
class Ending:
    """Writes every report of a run into its directory. `written` are those that are there, `problems` say why others
    are not."""

    written: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __call__(self, path: Path, within_s: float) -> None:
        """Report the run in the directory `path`, and wait `within_s` for it at the most. Raises nothing."""
        writing = threading.Thread(target=self._report, args=(path,), name="report", daemon=True)
        writing.start()
        writing.join(within_s)
        if writing.is_alive():
            self.problems.append(f"the report was not ready within {within_s:.1f} s: chaosext report {path}")

    def best(self) -> Path | None:
        """What a person should open."""
        return next((self.written[name] for name in FILES if name in self.written), None)

    def _report(self, path: Path) -> None:
        try:
            data = read_run(path)
        except Exception as error:  # whatever it is, the run has its verdict
            self.problems.append(f"no report: {type(error).__name__}: {error}")
            return
        for name, render in FORMATS.items():
            try:
                write_report(path / FILES[name], render(data))
                self.written[name] = path / FILES[name]
            except Exception as error:  # as above, and the other formats may well succeed
                self.problems.append(f"no {FILES[name]}: {type(error).__name__}: {error}")
