"""Settings of a game day, as the tests here begin with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from checkout import ROOT

from chaosext.gameday.gameday_settings import GameDaySettings

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENTS = ROOT / "experiments"

UID = "0b6c1f9e-1111-2222-3333-444455556666"


def values(**changes: Any) -> dict[str, Any]:
    """As they are written in a file."""
    least = {
        "name": "night",
        "schedule": "30 2 * * Tue",
        "cluster": {"context": "prod-eu", "kube_system_uid": UID},
        "experiment": "control-plane-partition.yaml",
    }
    return {**least, **changes}


def settings(**changes: Any) -> GameDaySettings:
    return GameDaySettings.model_validate(values(**changes))


def written(directory: Path, **changes: Any) -> Path:
    path = directory / "settings.yaml"
    path.write_text(yaml.safe_dump(values(**changes)))
    return path
