"""`python -m benchmarks [testbed|latency|run|rehearsal|oracle …]`: all of them by default."""

from __future__ import annotations

import sys

from benchmarks import latency, module_moves, oracle, rehearsal, report, sentinel, testbed, whole_run

BENCHMARKS = {
    "testbed": testbed.main,
    "latency": latency.main,
    "run": whole_run.main,
    "report": report.main,
    "rehearsal": rehearsal.main,
    "oracle": oracle.main,
    "sentinel": sentinel.main,
    "moves": module_moves.main,
}
"""In this order, because the first one measures best while no other testbed is up; the next two bring one up."""


def main() -> int:
    """Run the named benchmarks in turn; an unknown name lists the known ones."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 20
    for name in names:
        print(f"## {name}", flush=True)
        BENCHMARKS[name]()
    return 0


sys.exit(main())
