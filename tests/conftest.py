"""For all tests: where `hack` and `oracle` are found, and how many examples Hypothesis makes of a property."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# They lie beside the package. The checkout comes last: the chaosext that is tested is the installed one.
sys.path.append(str(Path(__file__).parents[1]))

# Time is not a property that is tested here. `--hypothesis-profile=thorough` is for the night (make unit EXAMPLES=…).
for name, number in {"lean": 30, "thorough": 300}.items():
    settings.register_profile(
        name,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
        max_examples=number,
    )
settings.load_profile("lean")
