"""Zone states, which only the node lifecycle controller's log tells."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from chaosext.model.timeline import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LINE = re.compile(r"^I(\d{4} \d\d:\d\d:\d\d\.\d+) .*\] \"Controller detected that (.*)$")
NEW_STATE = re.compile(r"zone is now in new state\" .*?zone=\"(.*?)\" newState=\"(\w+)\"")

LOST = "FullDisruption"


def zone_states(log: Path, cut_wall_s: float, zones: Sequence[str]) -> Iterator[Event]:
    """The changes after the cut (at `cut_wall_s`); in master disruption mode the log speaks of all `zones` at once."""
    year = datetime.fromtimestamp(cut_wall_s).year
    states: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if not match:
            continue
        moment = datetime.strptime(f"{year}{match[1]}", "%Y%m%d %H:%M:%S.%f")
        t_s = moment.timestamp() - cut_wall_s
        if t_s < 0:
            continue
        if state := NEW_STATE.search(line):
            zone = state[1].replace(r":\x00:", "/").strip("/")
            states[zone] = state[2]
            yield _zone_event(t_s, zone, state[2])
        elif "Entering master disruption" in line:
            for zone in zones:
                if states.get(zone) != LOST:
                    states[zone] = LOST
                    yield _zone_event(t_s, zone, LOST)


def _zone_event(t_s: float, zone: str, state: str) -> Event:
    return Event(
        t_s=t_s,
        kind=Kind.ZONE_STATE,
        object=f"Zone/{zone or '(none)'}",
        detail=f"is {state}",
        source="kube-controller-manager",
    )
