"""What the trials' experiments are made of, beside chaosext's own activities.

They leave marks: lines `WORD SECONDS` (boot clock) in the file that `TRUST_MARKS` names.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.trust.lab.clock import now_s

MARKS = "TRUST_MARKS"


def mark(word: str) -> str:
    """Say that this was reached."""
    with Path(os.environ[MARKS]).open("a") as file:
        file.write(f"{word} {now_s():.6f}\n")
    return word


def hold(seconds: float) -> str:
    """Let the cut be in force for a while."""
    mark("hold")
    time.sleep(seconds)
    return mark("held")


def well() -> str:
    """A steady state that always holds."""
    return "well"
