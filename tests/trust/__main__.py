"""`python -m tests.trust [--rows 1,2] [--fast] [--json FILE]`: the trust table, measured now.

Exits with 0 only when every row was measured and holds.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.trust.row import Effort
from tests.trust.table import Line, grounds, measure, rows, table


def main() -> int:
    asked = _arguments()
    effort = Effort.FAST if asked.fast else Effort.FULL
    here = grounds()
    lines: list[Line] = []
    for row in rows(asked.rows):
        print(f"{row.number:>3}  {row.title} …", file=sys.stderr, flush=True)
        lines.append(measure(row, effort, here))
        print(f"     {lines[-1].said}", file=sys.stderr, flush=True)
        if asked.json:
            asked.json.write_text(json.dumps([line.to_json() for line in lines], indent=2) + "\n")
    print(table(lines))
    return 0 if lines and all(line.holds for line in lines) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("--rows", type=_numbers, default=(), help="only these, such as 1,2; by default all")
    parser.add_argument("--fast", action="store_true", help="a taste of each row")
    parser.add_argument("--json", type=Path, help="write the table there as well, after each row")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
