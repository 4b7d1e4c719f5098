"""What became worse or better, as text: one sentence, then the differences and their causes, on one screen."""

from __future__ import annotations

from collections import defaultdict
from textwrap import wrap
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.predict.cluster_state import NOW, PLANNED, VERDICT
from chaosext.rehearsal.predict.differences import ROUTES, Direction
from chaosext.report.units import listed, names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.rehearsal.predict.consequences import Consequences
    from chaosext.rehearsal.predict.differences import Difference

WIDTH, ROWS = 100, 24
"""One screen."""

FACTS, CAUSES, CHANGES = 3, 2, 3
"""Facts of a row, causes and changes that are named; of the rest only the number is said."""

BETTER_ROWS = 5
"""Rows kept for what became better, if there are more than fit."""


def change_lines(found: Consequences, *, whole: bool = False) -> Iterator[str]:
    """Yield at most `ROWS` lines of at most `WIDTH` columns, the sentence first; or, with `whole`, every difference."""
    if whole:
        yield from _every_line(found)
        return
    head = [*_wrapped(sentence(found), 2), "", *_about(found), ""]
    worse, better = (_rows(found.of(way), found) for way in Direction)
    foot = list(_same(found))
    left = ROWS - len(head) - len(foot)
    kept = min(len(better), BETTER_ROWS)
    yield from head
    yield from _clipped(worse, left - kept)
    yield from _clipped(better, left - min(len(worse), left - kept))
    yield from foot


def _every_line(found: Consequences) -> Iterator[str]:
    yield sentence(found)
    yield from (f"changed  {each}" for each in found.changes)
    for each in found.differences:
        yield f"{each.direction.value:<7}  {each.subject}: {_fact(each)}{_by(each)}"
    for name, subjects in (("not compared", found.left_out), ("unknown as before", found.unknown)):
        for subject in subjects:
            yield f"{name}: {subject}"
    yield from _same(found)


def sentence(found: Consequences) -> str:
    """Return what changed, in one sentence: the worst difference and its cause."""
    worse, better = found.of(Direction.WORSE), found.of(Direction.BETTER)
    first = next(iter((*worse, *better)), None)
    if first is None:
        if found.left_out:
            return f"UNKNOWN: {found.left_out[0]}; what was compared did not change"
        if not found.changes:
            return "SAME: nothing changed that a prediction reads"
        unread = [str(each) for each in found.changes if not each.is_read]
        if unread:
            more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
            return f"UNKNOWN: no prediction reads what changed: {unread[0]}{more}"
        unknown = listed(found.unknown[:2]) + (" and more" if len(found.unknown) > 2 else "")
        if {ROUTES, PLANNED} & set(found.unknown):
            return f"UNKNOWN: no effect is known of what changed, but unknown before and after: {unknown}"
        return "SAME: nothing became worse or better" + (f"; unknown as before: {unknown}" if unknown else "")
    word = "WORSE" if worse else "BETTER"
    return f"{word}: {_phrase(first, found)}{_by(first, found)}"


def _phrase(each: Difference, found: Consequences) -> str:
    """Say a difference as part of a sentence."""
    if each.subject == ROUTES:
        before, after = found.routes
        lost = before.reached - after.reached
        if lost > 0 and not after.reached:
            return f"all {before.reached} cross-node Pod routes are {'unknown' if after.unknown else 'lost'}"
        word = "lost" if lost > 0 else "new"
        return f"{abs(lost)} of {before.pairs} cross-node Pod routes are {word}" if lost else each.what
    return f"{_losing([each.subject])}{'' if each.what == VERDICT else ':'} {_fact(each)}"


def _losing(subjects: Sequence[str]) -> str:
    """Name what is cut off: nothing, the planned cut, or failure domains, by kind."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for subject in subjects:
        kind, _, name = subject.rpartition(" ")
        kinds[subject if subject in (NOW, PLANNED) else kind].append(name)
    parts = []
    for kind, found in kinds.items():
        plural = "s" if len(found) > 1 and not kind.endswith("s") else ""
        parts.append(kind if kind in (NOW, PLANNED) else f"a cut of {kind}{plural} {names(found, at_most=3)}")
    return listed(parts)


def _fact(each: Difference) -> str:
    if each.what == VERDICT:
        return f"{each.after} (was: {each.before})"
    if (each.before, each.after) == ("no", "yes"):
        return each.what
    if (each.before, each.after) == ("yes", "no"):
        return f"no longer: {each.what}"
    return f"{each.what}: {each.after} (was: {each.before})"


def _by(each: Difference, found: Consequences | None = None) -> str:
    """Name the causes, with what they do if `found` is given."""
    if not each.by:
        return ""
    full = {change.subject: str(change) for change in found.changes} if found else {}
    causes = [full.get(name, name) for name in each.by]
    joined = " or " if each.alone else " together with "
    more = f" and {len(each.by) - CAUSES} more" if len(each.by) > CAUSES else ""
    return f", by {joined.join(causes[:CAUSES])}{more}"


def _about(found: Consequences) -> Iterator[str]:
    """Yield the changes, and the planned cut before and after."""
    causes = {name for each in found.differences for name in each.by}
    first = sorted(found.changes, key=lambda each: each.subject not in causes)
    said = [str(each) for each in first[:CHANGES]]
    more = len(found.changes) - len(said)
    yield from _wrapped(
        f"Changed  {'; '.join(said) or 'nothing'}{f'; and {more} more' if more else ''}", 3, 9
    )
    before, after = (each.headline if each else "not simulated" for each in found.planned)
    cut = f"Cut      {len(found.plan['nodes'])} nodes for {short_duration(found.plan['cut_for_s'])}: "
    if before == after:
        yield from _wrapped(f"{cut}{before}, as before", 2, 9)
    else:
        yield from _wrapped(f"{cut}{after}", 2, 9)
        yield from _wrapped(f"  was    {before}", 2, 9)


def _rows(differences: Sequence[Difference], found: Consequences) -> list[str]:
    """Return a row, or two, for each set of subjects with the same differences."""
    facts: dict[str, list[Difference]] = defaultdict(list)
    for each in differences:
        facts[each.subject].append(each)
    alike: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for subject, some in facts.items():
        key = subject == ROUTES, *((each.what, each.before, each.after, each.by) for each in some)
        alike[key].append(subject)
    rows: list[str] = []
    for subjects in alike.values():
        rows += _row(subjects, facts[subjects[0]], found)
    return rows


def _row(subjects: Sequence[str], some: Sequence[Difference], found: Consequences) -> Iterator[str]:
    word = f"{some[0].direction.value:<7}"
    is_routes = subjects == [ROUTES]
    told = [f"{each.what}: {each.after} (was: {each.before})" if is_routes else _fact(each) for each in some]
    more = f"; {len(told) - FACTS} more" if len(told) > FACTS else ""
    who = ROUTES if is_routes else _losing(subjects)
    cause = _by(some[0]) if len(found.changes) > 1 else ""
    yield from _wrapped(f"{word}  {who}: {'; '.join(told[:FACTS])}{more}{cause}", 2, 9)


def _same(found: Consequences) -> Iterator[str]:
    """Say what was compared, and what was not."""
    said = f"Compared: routes, the planned cut and {found.compared} failure domains"
    if found.differences:
        worse = len(found.of(Direction.WORSE))
        said += f": {worse} answers worse, {len(found.differences) - worse} better"
    if unread := [each.subject for each in found.changes if not each.is_read]:
        said += f"; not read: {names(unread, at_most=2)}"
    if found.alike:
        said += f"; {found.alike:,} single nodes are like one of these"
    if found.left_out:
        said += f"; not compared: {len(found.left_out)} ({found.left_out[0]})"
    for word, domains in (("unknown as before", found.unknown), ("new", found.new), ("gone", found.gone)):
        if domains:
            said += f"; {word}: {names(domains, at_most=2)}"
    yield from _wrapped(f"{said}.", 2, 10)


def _clipped(rows: Sequence[str], most: int) -> Iterator[str]:
    if len(rows) <= most:
        yield from rows
    elif most > 0:
        yield from rows[: most - 1]
        yield "         and more, in --json"


def _wrapped(text: str, most: int, indent: int = 0) -> Iterator[str]:
    """Yield a text in up to `most` lines; the last one ends with … if it does not fit."""
    lines = wrap(text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)
    yield from lines[: most - 1]
    if len(lines) >= most:
        last = lines[most - 1]
        yield last if len(lines) == most else f"{last[: WIDTH - 2]} …"
