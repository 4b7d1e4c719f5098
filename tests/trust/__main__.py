"""`python -m tests.trust [--rows 1,2] [--fast] [--json FILE]`: the trust table, measured now.

Exits with 0 only when every row was measured and holds. `TRUST_KEEP=FOLDER` keeps the homes of failed trials there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.trust.lab.kind import testbed_paused
from tests.trust.lanes import Part, Tried, lanes, play
from tests.trust.row import Effort, Ground, Measured
from tests.trust.table import Line, grounds, rows, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.trust.row import Row


def main() -> int:
    asked = _arguments()
    chosen, here = rows(asked.rows), grounds()
    parts = {
        Part(row.number, index): ground
        for row in chosen
        for index, (ground, _) in enumerate(row.measures)
        if not (asked.fast and ground in (Ground.CONTAINERS, Ground.CLUSTER))
    }
    tried = [Tried(part=part, missing=here[ground]) for part, ground in parts.items() if here[ground]]
    ready = [(part, ground) for part, ground in parts.items() if not here[ground]]
    effort = Effort.FAST if asked.fast else Effort.FULL
    on_testbed = {part for part, ground in ready if ground is Ground.CLUSTER}
    with ExitStack() as paused:
        for each in play(lanes(ready, effort), effort):
            tried.append(each)
            _tell(each, f"row {each.part.row} ({parts[each.part].value})", len(parts) - len(tried))
            if each.part in on_testbed:
                on_testbed.remove(each.part)
                if not on_testbed:
                    paused.enter_context(testbed_paused())
    lines = [_line(row, [each for each in tried if each.part.row == row.number]) for row in chosen]
    if asked.json:
        asked.json.write_text(json.dumps([line.to_json() for line in lines], indent=2) + "\n")
    print(table(lines))
    return 0 if all(line.holds for line in lines) else 1


def _line(row: Row, tried: Iterable[Tried]) -> Line:
    """A row of all its parts, in their order."""
    ordered = sorted(tried, key=lambda each: each.part)
    return Line(
        row=row,
        measured=sum((each.measured for each in ordered), Measured(trials=0, worst="")),
        took_s=sum(each.took_s for each in ordered),
        missing="; ".join(each.missing for each in ordered if each.missing),
    )


def _tell(tried: Tried, what: str, left: int) -> None:
    holds = tried.missing or ("holds" if tried.measured.holds else "does not hold")
    at = time.strftime("%H:%M:%S")
    told = (
        f"{at}  {what}: {holds}, {tried.measured.trials} trials in {tried.took_s:.0f} s; {left} parts to go"
    )
    print(told, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("--rows", type=_numbers, default=(), help="only these, such as 1,2; by default all")
    parser.add_argument(
        "--fast", action="store_true", help="a taste of each row, on this machine's kernel only"
    )
    parser.add_argument("--json", type=Path, help="write the table there as well")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
