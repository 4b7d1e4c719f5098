"""For all tests: where `hack` and `oracle` are found, and Hypothesis on crowded machines."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# They lie beside the package. The checkout comes last: the chaosext that is tested is the installed one.
sys.path.append(str(Path(__file__).parents[1]))

# Time is not a property that is tested here.
settings.register_profile(
    "chaosext", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("chaosext")
