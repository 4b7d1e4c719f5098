"""The worst cuts in sentences: which is the smallest, what the others break and how, what is unknown. Pure."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from chaosext.gate.likelihood import percent
from chaosext.gate.worst_cut import Harm
from chaosext.model.duration_text import short_duration
from chaosext.report.units import clipped, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.gate.breaking_event import BreakingEvent
    from chaosext.gate.worst_cut import Broken, WorstCut, WorstCuts

WIDTH = 100

MOST_CUTS, MOST_NOTES = 7, 5
"""Maximum numbers of cuts and of remarks on a screen."""

CERTAINLY = 0.005
"""A smaller difference between two probabilities is not said."""


def worst_cut_sentence(found: WorstCuts) -> str:
    """Return the answer in a sentence: the smallest cut that breaks anything, or that none is known to."""
    longest = short_duration(found.durations_s[-1])
    tried = f"{found.domains} failure domains and {found.pairs} pairs of them, for up to {longest}"
    if not found.found:
        if found.unknown:
            return (
                f"unknown: of {tried}, {len(found.unknown)} have an unknown outcome; no other breaks anything"
            )
        return f"nothing breaks: {tried}"
    first = found.found[0]
    most = _most(first)
    then = f" ({longest}: {percent(most)})" if most > _likely(first) + CERTAINLY else ""
    return (
        f"{_nodes(first)} cut off for {short_duration(first.cut_for_s)} {_breaks(first)}{then}: {first.cut}"
    )


def worst_cut_lines(found: WorstCuts) -> Iterator[str]:
    """Yield the answer as lines: a sentence, two rows for each cut, what is unknown and what was left out."""
    yield from wrap(f"{worst_cut_sentence(found)}.", WIDTH)[:3]
    for each in found.found[:MOST_CUTS]:
        row = f"{_nodes(each):>9} {short_duration(each.cut_for_s):>6}  {each.cut}: {_what(each.broken)}"
        yield clipped(row, WIDTH)
        if each.trace:
            yield clipped(f"{'':>18}{' → '.join(map(_step, each.trace))}", WIDTH)
    left = len(found.found) - MOST_CUTS
    if left > 0:
        yield f"and {left} more, in --json"
    notes = [*_unknown(found), *(f"left out: {each}" for each in found.left_out)]
    for note in notes[:MOST_NOTES]:
        yield clipped(note, WIDTH)


def _unknown(found: WorstCuts) -> Iterator[str]:
    if found.unknown:
        first = found.unknown[0]
        yield f"unknown, not harmless: {len(found.unknown)} cuts, such as {first.cut}: {first.why}"


def _nodes(each: WorstCut) -> str:
    count = len(each.cut.nodes)
    return f"{count} node{'s' * (count > 1)}"


def _likely(each: WorstCut) -> float:
    return max(broken.probability for broken in each.broken)


def _most(each: WorstCut) -> float:
    return max(broken.at_longest for broken in each.broken)


def _breaks(each: WorstCut) -> str:
    harms = dict.fromkeys(broken.harm for broken in each.broken)
    likely = _likely(each)
    chance = "" if likely >= 1 - CERTAINLY else f" in {percent(likely)} of simulations"
    verb = "break" if len(each.cut.nodes) > 1 else "breaks"
    return f"{verb} {listed(harm.value for harm in harms)}{chance}"


def _what(broken: Iterable[Broken]) -> str:
    """Return what breaks, by name: Services and workloads are counted from the third on."""
    told = []
    for harm in Harm:
        those = [each for each in broken if each.harm is harm]
        shown = [f"{each.name or harm.value} {percent(each.probability)}" for each in those[:2]]
        told += [*shown, *([f"{len(those) - 2} more"] if len(those) > 2 else [])]
    return ", ".join(told)


def _step(each: BreakingEvent) -> str:
    return f"{short_duration(round(each.t_s))} {each.said}"
