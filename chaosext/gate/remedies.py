"""Patches that turn no-go into go: each is simulated on the same cut, smallest first, then pairs if none suffices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from shlex import quote
from typing import TYPE_CHECKING

from chaosext.gate.decision import REHEARSED, Decision
from chaosext.gate.judge import judge
from chaosext.gate.rehearsed import is_hopeless
from chaosext.model.findings import Status
from chaosext.rehearsal.mitigate.mitigations import MITIGATIONS
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chaosext.gate.cutover_plan import Cutover
    from chaosext.gate.judge import Judgement
    from chaosext.model.findings import Finding
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Mitigations to apply together, their commands, and the gate's decision with them in place.

    `remains`: checks that would still prevent a go; none of them is about the cut.
    """

    mitigations: tuple[str, ...]
    how: tuple[str, ...]
    decision: Decision
    remains: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The remedies found, and those `untried` when the time budget ended."""

    remedies: tuple[Remedy, ...] = ()
    untried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search for remedies: the judgement, and its inputs.

    `context`: context of the commands, "" for kubectl's current one. `tell` is called with each remedy before
    it is tried. `budget`: time budget of the search.
    """

    world: World
    cutover: Cutover
    before: Judgement
    live: Mapping[str, Finding]
    context: str = ""
    seed: int = 0
    tell: Callable[[str], None] = lambda _: None
    budget: TimeBudget = UNBOUNDED

    def search(self) -> Searched:
        """Search for what makes the cut acceptable; none if it is acceptable already, or the result is unknown."""
        if not any(_is_about_the_cut(each.finding) for each in self.before.against):
            return Searched()
        names = sorted(MITIGATIONS, key=lambda name: MITIGATIONS[name].reach)
        alone = self._tried([(name,) for name in names])
        return alone if alone.remedies or alone.untried else self._tried(_pairs(names))

    def _tried(self, choices: Sequence[tuple[str, ...]]) -> Searched:
        """Try these combinations, and return those with which no check of the cut prevents a go."""
        found, untried = [], []
        for names in choices:
            changed, how = self._applied(names)
            if len(how) < len(names):
                continue
            remedy = None if self.budget.is_over else self._remedy(names, how, changed)
            if remedy:
                found.append(remedy)
            elif self.budget.is_over:
                untried.append(" with ".join(names))
        return Searched(remedies=tuple(found), untried=tuple(untried))

    def _remedy(self, names: tuple[str, ...], how: tuple[str, ...], changed: World) -> Remedy | None:
        self.tell(" and ".join(names))
        if is_hopeless(changed, self.cutover, self.before.nodes, self.seed, self.budget):
            return None
        after = judge(changed, self.cutover, self.live, seed=self.seed, hopeful=True, budget=self.budget)
        remains = tuple(dict.fromkeys(each.finding.check for each in after.against))
        if set(remains) & set(REHEARSED):
            return None
        return Remedy(mitigations=names, how=how, decision=after.decision, remains=remains)

    def _applied(self, names: Sequence[str]) -> tuple[World, tuple[str, ...]]:
        """Return the world with all mitigations in place, and the commands of those that change something, in order."""
        world, how = self.world, list[str]()
        plan = self.cutover.plan(self.before.nodes, self.cutover.at_most_s)
        for each in map(MITIGATIONS.__getitem__, names):
            changed = each.apply(world, plan)
            if changed is not world:
                how.append(led_to(self.context, each.how(world, plan)))
                world = changed
        return world, tuple(how)


def _is_about_the_cut(finding: Finding) -> bool:
    return finding.check in REHEARSED and finding.status is Status.UNHEALTHY


def _pairs(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all pairs, those with the smallest changes first."""
    return sorted(combinations(names, 2), key=lambda pair: sum(MITIGATIONS[name].reach for name in pair))


def led_to(context: str, commands: str) -> str:
    """Return the kubectl commands with the intended context, so that they change no other cluster."""
    return commands.replace("kubectl ", f"kubectl --context {quote(context)} ") if context else commands
