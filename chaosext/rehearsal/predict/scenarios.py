"""Many cuts of one cluster: reads a list of scenarios and predicts a row of results for each."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused, did_you_mean
from chaosext.rehearsal.mitigate.mitigations import MITIGATIONS, mitigated
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.simulate.planned_cut import Flap, Plan, enough_s
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED
from chaosext.rehearsal.snapshot.cut_targets import cut_nodes, majority_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

SCHEMA = "chaosext.rehearsal-scenarios/v1"

SAMPLES = 8
"""Default number of simulations per scenario: scenarios are many, so a rough probability of each must do."""

UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

FIX = (
    "write a list of scenarios, e.g. [{name: zone-b, cut_nodes: topology.kubernetes.io/zone=b, cut_for: 8m}]"
)


def seconds(value: object) -> float:
    """Parse a Go duration ("1h2m3s", "480s", "500ms") or a number of seconds. Raises `ValueError` for others."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"\d+(\.\d+)?|(\d+(\.\d+)?(ms|h|m|s))+", text):
        raise ValueError(f"{text!r} is not a duration; write e.g. 480s or 8m")
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", text)
    return sum(float(number) * UNITS_S[unit] for number, unit in parts) if parts else float(text)


FLAP_PARTS = ("on", "off", "times")
_KEYS = {"True": "on", "False": "off"}

FLAP_FIX = "write e.g. on=15s,off=10s,times=7"


def flap(value: object) -> Flap:
    """Parse a flap: `on=15s,off=10s,times=7`, or a mapping of these. Raises `ValueError` for others.

    YAML 1.1 reads the keys `on` and `off` as true and false.
    """
    given = value
    if isinstance(value, str):
        given = {key.strip(): each for key, _, each in (part.partition("=") for part in value.split(","))}
    if not isinstance(given, dict):
        raise ValueError(f"{value!r} is not a flap; {FLAP_FIX}")
    parts = {_KEYS.get(str(key), str(key)): each for key, each in given.items()}
    if set(parts) != set(FLAP_PARTS):
        raise ValueError(f"{value!r} does not have exactly on, off and times; {FLAP_FIX}")
    times = str(parts["times"])
    if not times.isdecimal() or isinstance(parts["times"], bool):
        raise ValueError(f"times is {times!r}, not a whole number; {FLAP_FIX}")
    return Flap(on_s=seconds(parts["on"]), off_s=seconds(parts["off"]), times=int(times))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A cut as written in a file. `cut_nodes` as in `cut_targets.cut_nodes`; `mitigations` are names.

    `flap`: the cut comes and goes, and `cut_for_s` does not count. `horizon_s`: None for as long as it takes to
    see a recovery.
    """

    name: str = ""
    cut_nodes: str = ""
    cut_for_s: float = 480.0
    flap: Flap | None = None
    horizon_s: float | None = None
    rollback_s: float | None = None
    cut_at: datetime | None = None
    mitigations: tuple[str, ...] = ()
    seed: int = 0

    def plan(self, world: World) -> Plan:
        """Return the plan for this world. Raises `Refused` if it cannot be simulated there."""
        nodes = cut_nodes(world, self.cut_nodes)
        periods = self.flap.periods if self.flap else ((0.0, self.cut_for_s),)
        horizon_s = enough_s(periods, self.rollback_s) if self.horizon_s is None else self.horizon_s
        return Plan(
            cut_nodes=nodes,
            periods=periods,
            horizon_s=horizon_s,
            rollback_s=self.rollback_s,
            cut_at=self.cut_at,
            doubts=majority_lost(world, nodes),
        )


def scenarios_from(value: object, defaults: Scenario) -> tuple[Scenario, ...]:
    """Read scenarios from plain JSON or YAML; `defaults` supplies missing fields. Raises `Refused` if invalid."""
    if isinstance(value, dict) and "scenarios" in value:
        value = value["scenarios"]
    if not isinstance(value, list) or not value:
        raise Refused("not a list of scenarios", FIX)
    return tuple(_scenario(number, each, defaults) for number, each in enumerate(value, start=1))


def _scenario(number: int, value: object, defaults: Scenario) -> Scenario:
    if not isinstance(value, dict):
        raise Refused(f"scenario {number} is not a mapping", FIX)
    if "cut_for" in value and "flap" in value:
        raise Refused(f"scenario {number}: cut_for and flap are both set", "remove one of them")
    fields: dict[str, Any] = {"name": f"{number}"} | ({"flap": None} if "cut_for" in value else {})
    for key, given in value.items():
        if key not in _FIELDS:
            raise Refused(f"scenario {number}: unknown field {key!r}", did_you_mean(str(key), _FIELDS))
        field, read = _FIELDS[key]
        try:
            fields[field] = read(given)
        except (ValueError, TypeError) as error:
            said, _, fix = str(error).partition("; ")
            raise Refused(f"scenario {number}: {key}: {said}", fix or FIX) from None
    return replace(defaults, **fields)


def _nodes(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _mitigations(value: object) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, list) else (str(value),)
    if unknown := [name for name in names if name not in MITIGATIONS]:
        raise ValueError(f"unknown mitigation {unknown[0]!r}; {did_you_mean(str(unknown[0]), MITIGATIONS)}")
    return names


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a whole number")
    return value


_FIELDS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "name": ("name", str),
    "cut_nodes": ("cut_nodes", _nodes),
    "cut_for": ("cut_for_s", seconds),
    "flap": ("flap", flap),
    "horizon": ("horizon_s", seconds),
    "rollback_at": ("rollback_s", seconds),
    "with": ("mitigations", _mitigations),
    "seed": ("seed", _whole),
}


class ScenarioRunner:
    """A world on which scenarios are simulated; everything that does not depend on them is prepared once.

    All scenarios share the budget; results that it leaves no time for are unknown.
    """

    def __init__(self, world: World, samples: int | None = None, budget: TimeBudget = UNBOUNDED) -> None:
        self._world, self._samples, self._budget = world, samples or SAMPLES, budget
        self._rehearsal = Rehearsal(world)

    def play(self, scenario: Scenario) -> dict[str, Any]:
        """Return the result of a scenario as JSON. Raises `Refused`, with its name, if it cannot be simulated."""
        try:
            plan = scenario.plan(self._world)
            return _row(scenario, plan, self._prediction(scenario, plan))
        except Refused as error:
            raise Refused(f"scenario {scenario.name}: {error.message}", error.fix) from None

    def _prediction(self, scenario: Scenario, plan: Plan) -> Prediction:
        world = mitigated(self._world, plan, scenario.mitigations)
        rehearsal = self._rehearsal if world is self._world else Rehearsal(world)
        return rehearsal.of(
            plan, samples=self._samples, seed=scenario.seed, with_timeline=False, budget=self._budget
        )


def _row(scenario: Scenario, plan: Plan, found: Prediction) -> dict[str, Any]:
    said: Mapping[str, Any] = found.to_json()
    return {
        "name": scenario.name,
        "cut_nodes": len(plan.cut_nodes),
        "cut_for_s": plan.cut_for_s,
        "cuts": len(plan.periods),
        "with": list(scenario.mitigations),
        "verdict": said["verdict"],
        "self_heals": said["self_heals"],
        "headline": said["headline"],
        "dns": {key: state for key, state in said["dns"].items() if key != "per_node"},
        "outcomes": said["outcomes"],
        "unsettled": said["unsettled"],
        "simulations": said["simulations"],
        "workloads": said["workloads"],
    }
