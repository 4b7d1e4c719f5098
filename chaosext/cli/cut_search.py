"""`rehearse --longest` and `rehearse --worst`: searches over many cuts of one snapshot, on all cores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.answer import say_answer
from chaosext.cli.forked import on_all_cores
from chaosext.model.duration_text import short_duration
from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chaosext.cli.answer import Form
    from chaosext.gate.cutover_plan import Cutover
    from chaosext.gate.longest_cut import Range
    from chaosext.rehearsal.predict.scenarios import Scenario
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

PROBABILITY = 0.99
"""Probability with which a cut must be acceptable, by default; that of the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSearch:
    """What to search for, as given on the command line: the longest safe cut, or else the worst cuts."""

    longest: bool
    step_s: float
    up_to_s: float
    probability: float

    def require_alone(self, given: Mapping[str, object]) -> None:
        """Raise `Refused` if an option is given that does not go with the search; None is not given."""
        from chaosext.model.errors import Refused

        option, others = ("--longest", LONGEST_IGNORES) if self.longest else ("--worst", WORST_IGNORES)
        for other, fix in others.items():
            if given.get(other) is not None:
                raise Refused(f"{option} and {other} are both set", fix)

    def answer(
        self, world: World, wanted: Scenario, cut_for_s: float | None, budget: TimeBudget, form: Form
    ) -> Sequence[str]:
        """Search and print the answer; return the verdict in a list. Raises `Refused` for durations that do not fit."""
        if self.longest:
            return _say_longest(self, world, wanted, budget, form)
        return _say_worst(world, wanted, cut_for_s, budget, form)


BOTH_IGNORE = {
    "--flap": "the search is for one cut; remove it",
    "--rollback-at": "the search is for healing without help; remove it",
    "--scenarios": "remove one of them",
    "--change": "change the snapshot itself; remove it",
    "--horizon": "it follows the cut; remove it",
    "--patch": "remove one of them",
    "--report": "a page is about one cut; use --json",
    "--samples": "the search chooses the number of simulations; remove it",
}
LONGEST_IGNORES = {
    "--cut-for": "it is the duration that is looked for; set --up-to to the longest one",
    **BOTH_IGNORE,
}
WORST_IGNORES = {
    "--cut-nodes": "every failure domain is cut off; remove it",
    **BOTH_IGNORE,
}
"""Options that do not go with a search -> how to fix it."""


def search_options(positive: click.ParamType) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # type: ignore[type-arg]
    """Add the options of the searches to a command, which gets them as `search`; `positive` reads a duration."""
    options = (
        click.option(
            "--longest",
            is_flag=True,
            help="Find the longest cut that is safe: of these nodes, and of each node, rack and zone alone.",
        ),
        click.option(
            "--worst",
            is_flag=True,
            help="Find the smallest cuts that break DNS, the mesh, a Service, a quorum or routes: each failure domain, "
            "and each pair.  [default: for 1m to 30m; --cut-for for one duration]",
        ),
        click.option(
            "--step",
            "step_s",
            type=positive,
            default="15s",
            show_default=True,
            help="--longest: to within so much.",
        ),
        click.option(
            "--up-to",
            "up_to_s",
            type=positive,
            default="1h",
            show_default=True,
            help="--longest: the longest cut to try.",
        ),
        click.option(
            "--probability",
            type=click.FloatRange(0, 1, min_open=True),
            default=PROBABILITY,
            show_default=True,
            help="--longest: how likely a cut must be acceptable.",
        ),
    )

    def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def called(
            longest: bool, worst: bool, step_s: float, up_to_s: float, probability: float, **others: Any
        ) -> Any:
            _require_one(longest, worst)
            search = CutSearch(longest=longest, step_s=step_s, up_to_s=up_to_s, probability=probability)
            return command(search=search if longest or worst else None, **others)

        found: Callable[..., Any] = called
        for option in reversed(options):
            found = option(found)
        return found

    return with_options


def _require_one(longest: bool, worst: bool) -> None:
    from chaosext.model.errors import Refused

    if longest and worst:
        raise Refused("--longest and --worst are both set", "remove one of them")


# -- the longest safe cut --------------------------------------------------------------------------------------


def tried(step_s: float, up_to_s: float) -> Range:
    """Return the durations to try. Raises `Refused` if they are none, or too many."""
    from chaosext.gate.cutover_plan import AFTERWARDS_S
    from chaosext.gate.longest_cut import MOST_STEPS, Range
    from chaosext.model.errors import Refused
    from chaosext.rehearsal.simulate.planned_cut import MAX_HORIZON_S

    if not step_s <= up_to_s <= min(MAX_HORIZON_S - AFTERWARDS_S, step_s * MOST_STEPS):
        raise Refused(
            f"--step {short_duration(step_s)} up to --up-to {short_duration(up_to_s)} cannot be tried",
            f"set --up-to to --step at least, to {MOST_STEPS} steps at most, and below a day",
        )
    return Range(step_s=step_s, up_to_s=up_to_s)


def _say_longest(
    search: CutSearch, world: World, wanted: Scenario, budget: TimeBudget, form: Form
) -> Sequence[str]:
    from chaosext.gate.domain_cuts import GROUPS, SINGLE, domain_cuts
    from chaosext.gate.longest_cut import SCHEMA, longest_cuts
    from chaosext.rehearsal.mitigate.mitigations import mitigated
    from chaosext.report.sentences.how_long import how_long_lines

    range_s = tried(search.step_s, search.up_to_s)
    plan = replace(wanted, cut_for_s=range_s.up_to_s, horizon_s=range_s.up_to_s).plan(world)
    world = mitigated(world, plan, wanted.mitigations)
    domains = domain_cuts(world, (*GROUPS, *SINGLE), plan.cut_nodes)
    cutover = _cutover(search, plan.cut_nodes, range_s.up_to_s)
    say(
        f"looking for the longest safe cut of {len(plan.cut_nodes)} nodes and of {len(domains)} parts of them …",
        err=True,
    )
    found = longest_cuts(
        world,
        cutover,
        plan.cut_nodes,
        domains,
        range_s,
        seed=wanted.seed,
        budget=budget,
        on_all=on_all_cores,
    )
    said: dict[str, Any] = {"schema": SCHEMA, "plan": found[0].to_json(wanted.cut_at)}
    said |= {
        "domains": [each.to_json(wanted.cut_at) for each in found[1:]],
        "assumptions": list(world.assumptions),
    }
    say_answer(said, how_long_lines(found, wanted.cut_at), form)
    return [_VERDICTS[found[0].limit.value]]


_VERDICTS = {"none": "passed", "breaks": "deviated", "unknown": "unknown", "time budget": "unknown"}
"""What limits the safe durations -> the verdict for --fail-on."""


def _cutover(search: CutSearch, nodes: frozenset[str], at_most_s: float) -> Cutover:
    """Return the plan with the gate's own acceptance."""
    from chaosext.gate.cutover_plan import Acceptance, Cutover, Selection

    return Cutover(
        title="",
        selection=Selection(names=tuple(sorted(nodes))),
        cut_for_s=at_most_s,
        at_most_s=at_most_s,
        accept=Acceptance(probability=search.probability),
    )


# -- the worst cuts --------------------------------------------------------------------------------------------


def _say_worst(
    world: World, wanted: Scenario, cut_for_s: float | None, budget: TimeBudget, form: Form
) -> Sequence[str]:
    from chaosext.gate.worst_cut import LADDER_S, worst_cuts
    from chaosext.rehearsal.mitigate.mitigations import mitigated
    from chaosext.report.sentences.worst_cut_text import worst_cut_lines

    durations_s = LADDER_S if cut_for_s is None else (cut_for_s,)
    if wanted.mitigations:
        plan = replace(wanted, cut_for_s=durations_s[-1], horizon_s=durations_s[-1]).plan(world)
        world = mitigated(world, plan, wanted.mitigations)
    found = worst_cuts(
        world,
        durations_s,
        seed=wanted.seed,
        budget=budget,
        on_all=on_all_cores,
        tell=lambda what: say(f"{what} …", err=True),
    )
    said = found.to_json() | {"assumptions": list(world.assumptions)}
    say_answer(said, worst_cut_lines(found), form)
    return ["deviated"] if found.found else ["unknown"] if found.unknown else ["passed"]
