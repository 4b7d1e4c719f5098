"""Where chaosext keeps what must outlive a run."""

from __future__ import annotations

import os
from pathlib import Path


def state_home() -> Path:
    """`$XDG_STATE_HOME/chaosext`, by default `~/.local/state/chaosext` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "chaosext"


def intent_path() -> Path:
    """The intent log: what was about to be cut, where, for how long; and what was seen gone."""
    return state_home() / "intent.jsonl"
