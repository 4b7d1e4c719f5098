"""What a rehearsal recommends for the bundled story, whose snapshot is that of a testbed with other names of nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from chaosext.rehearsal.mitigate.mitigations import commands
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.snapshot.reader import read_snapshot

STORY = Path(__file__).parents[3] / "examples" / "snapshots" / "story.json"


def recommended(name: str) -> dict[str, Any]:
    """Return the object that the recommended commands hand to kubectl."""
    plan = Plan(cut_nodes=frozenset({"worker-1", "worker-2"}), cut_for_s=120.0, horizon_s=400.0)
    text = commands(read_snapshot([STORY]), plan, name)
    found: dict[str, Any] = yaml.safe_load(text.partition("<<'EOF'\n")[2].partition("\nEOF")[0])
    return found
