"""Rows side by side: what waits next to what computes, each lane in a process of its own.

A lane's process (`python -m tests.trust.lanes EFFORT ROW:PART …`) says a line of JSON for each part that it has tried.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from children import leave_with_parent

from tests.trust import ROOT
from tests.trust.row import Effort, Ground, Measured, NotHere, Row
from tests.trust.table import rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BUSY = frozenset({10, 15, 20, 22})
"""Rows that compute all the time: they give way to those whose bar is a time."""

LONG = frozenset({9, 12, 16, 17, 18, 19})
"""Rows that don't fill the labs: next to those that do."""

POLITE = ("nice", "-n", "15")
NOTHING = Measured(trials=0, worst="")
LAB_LANES = {Effort.FAST: 3, Effort.FULL: 1}
"""How many lanes share the rows that play in labs: a taste of a row doesn't fill the labs of a lane."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A part of a row: `row.measures[index]`."""

    row: int
    index: int

    def __str__(self) -> str:
        return f"{self.row}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> Part:
        row, _, index = text.partition(":")
        return cls(int(row), int(index))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a part came to; `missing` says what was not here ("": nothing)."""

    part: Part
    measured: Measured = NOTHING
    missing: str = ""
    took_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "part": str(self.part)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tried:
        found = value["measured"]
        measured = Measured(
            trials=found["trials"],
            worst=found["worst"],
            failures=tuple(found["failures"]),
            residue=tuple(found["residue"]),
        )
        return cls(
            part=Part.parse(value["part"]),
            measured=measured,
            missing=value["missing"],
            took_s=value["took_s"],
        )


def lanes(parts: Iterable[tuple[Part, Ground]], effort: Effort) -> dict[str, list[Part]]:
    """Which parts follow each other in which lane."""
    found: dict[str, list[Part]] = {}
    for part, ground in sorted(parts):
        found.setdefault(_lane(part, ground, effort), []).append(part)
    return found


def _lane(part: Part, ground: Ground, effort: Effort) -> str:
    if ground in (Ground.CLUSTER, Ground.CONTAINERS):
        return "cluster"
    if part.row in BUSY:
        return "busy"
    return "long" if part.row in LONG else f"labs {part.row % LAB_LANES[effort]}"


def play(of_lanes: dict[str, list[Part]], effort: Effort) -> Iterator[Tried]:
    """Each part as it comes to its end. One whose lane died is not measured."""
    done: queue.Queue[Tried] = queue.Queue()
    following = [
        threading.Thread(target=_follow, args=(name, parts, effort, done), daemon=True)
        for name, parts in of_lanes.items()
    ]
    for thread in following:
        thread.start()
    for _ in range(sum(map(len, of_lanes.values()))):
        yield done.get()
    for thread in following:  # a lane that has said all still removes what it made
        thread.join()


def _follow(name: str, parts: Sequence[Part], effort: Effort, done: queue.Queue[Tried]) -> None:
    polite = POLITE if name == "busy" else ()
    argv = [*polite, sys.executable, "-m", "tests.trust.lanes", effort.value, *map(str, parts)]
    left = list(parts)
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as lane:
        assert lane.stdout
        for line in lane.stdout:
            tried = Tried.from_json(json.loads(line))
            left.remove(tried.part)
            done.put(tried)
        exit_code = lane.wait()
    for part in left:
        done.put(Tried(part=part, missing=f"its process ended with {exit_code}"))


def attempt(part: Part, row: Row, effort: Effort) -> Tried:
    """Try a part. One that raises is one that failed."""
    started_s = time.monotonic()
    measured, missing = NOTHING, ""
    try:
        measured = row.measures[part.index][1](effort)
    except NotHere as reason:
        missing = str(reason)
    except Exception as error:
        where = traceback.format_exc().splitlines()[-3].strip()
        measured = Measured(trials=0, worst="", failures=(f"{type(error).__name__}: {error} ({where})",))
    return Tried(part=part, measured=measured, missing=missing, took_s=time.monotonic() - started_s)


def main(effort: str, *parts: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was made is taken away
    leave_with_parent()
    by_number = {row.number: row for row in rows()}
    out, sys.stdout = sys.stdout, sys.stderr  # what a row prints is none of the parent's lines
    for part in map(Part.parse, parts):
        tried = attempt(part, by_number[part.row], Effort(effort))
        print(json.dumps(tried.to_json()), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
