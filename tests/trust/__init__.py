"""The trust table: every promise about what a fault leaves behind, tried, in numbers. `python -m tests.trust`."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The chaosext that is tried is the installed one, so the checkout comes last on the path, not first.
if Path(sys.path[0] or ".").resolve() == ROOT.resolve():
    del sys.path[0]
sys.path += [str(ROOT), str(ROOT / "tests" / "helpers")]
