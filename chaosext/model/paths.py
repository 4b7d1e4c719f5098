"""Directories for data that must outlive a run (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path


def state_home() -> Path:
    """`$XDG_STATE_HOME/chaosext`, by default `~/.local/state/chaosext`: the intent log, an engine's log."""
    return _home("XDG_STATE_HOME", ".local/state")


def config_home() -> Path:
    """`$XDG_CONFIG_HOME/chaosext`, by default `~/.config/chaosext`: the pins."""
    return _home("XDG_CONFIG_HOME", ".config")


def cache_home() -> Path:
    """`$XDG_CACHE_HOME/chaosext`, by default `~/.cache/chaosext`: build results, keyed by their inputs."""
    return _home("XDG_CACHE_HOME", ".cache")


def _home(variable: str, default: str) -> Path:
    """The specification says to ignore a relative path."""
    base = Path(os.environ.get(variable, ""))
    return (base if base.is_absolute() else Path.home() / default) / "chaosext"
