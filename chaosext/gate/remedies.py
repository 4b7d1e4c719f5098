"""Which patches turn no-go into go: each is played on the same cut, the smallest first; pairs where one won't do."""

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
    """Mitigations to put in place together, the commands for them, and what the gate would then say.

    `remains`: the checks that would stand against a go all the same; none of them is about the cut.
    """

    mitigations: tuple[str, ...]
    how: tuple[str, ...]
    decision: Decision
    remains: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What was found, and what was `untried` when the time was up."""

    remedies: tuple[Remedy, ...] = ()
    untried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What remedies are looked for: a judgement, and what it was made of. `context`: where their commands lead, ""
    for wherever kubectl does. `tell` is called with what is about to be tried. `budget`: how long that may take.
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
        """What makes the cut itself acceptable; nothing where it is so already, or can't be known."""
        if not any(_is_about_the_cut(each.finding) for each in self.before.against):
            return Searched()
        names = sorted(MITIGATIONS, key=lambda name: MITIGATIONS[name].reach)
        alone = self._tried([(name,) for name in names])
        return alone if alone.remedies or alone.untried else self._tried(_pairs(names))

    def _tried(self, choices: Sequence[tuple[str, ...]]) -> Searched:
        """Those choices by which nothing about the cut stands against a go any more."""
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
        """The world with all of them in place, and the commands of those that change something, in their order."""
        world, how = self.world, []
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
    """Those that change least together come first."""
    return sorted(combinations(names, 2), key=lambda pair: sum(MITIGATIONS[name].reach for name in pair))


def led_to(context: str, commands: str) -> str:
    """kubectl's commands with the context that they are meant for, so that they change no other cluster."""
    return commands.replace("kubectl ", f"kubectl --context {quote(context)} ") if context else commands
