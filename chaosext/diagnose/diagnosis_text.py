"""A diagnosis in words: one screen, all details, Markdown, and a page of HTML. Pure."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import all_rules
from chaosext.diagnose.root_causes import ClusterCondition
from chaosext.diagnose.symptoms import SymptomKind, seconds_ago
from chaosext.model.duration_text import short_duration
from chaosext.report.render.html.page import render
from chaosext.report.render.markdown import fenced, plain, points, section
from chaosext.report.render.prediction_screen import verdict_block
from chaosext.report.render.screen import COLUMNS, LABEL, ScreenBlock, Tone, screen
from chaosext.report.units import capital, count, few_names, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from chaosext.diagnose.knowledge import FixCommand
    from chaosext.diagnose.root_causes import Diagnosis, RootCause
    from chaosext.report.render.screen import ScreenRow

TONES = {
    ClusterCondition.HEALTHY: Tone.GOOD,
    ClusterCondition.EXPLAINED: Tone.BAD,
    ClusterCondition.UNEXPLAINED: Tone.BAD,
    ClusterCondition.UNKNOWN: Tone.WARN,
}

PAGE_TONES = {
    ClusterCondition.HEALTHY: ("good", "passed"),
    ClusterCondition.EXPLAINED: ("bad", "deviated"),
    ClusterCondition.UNEXPLAINED: ("bad", "deviated"),
    ClusterCondition.UNKNOWN: ("fixed", "unknown"),
}


def word_of(found: Diagnosis) -> str:
    return f"{found.condition.value.upper()} (exit {found.exit_code})"


def headline(found: Diagnosis) -> str:
    """Return the answer in one sentence, without its full stop."""
    if found.condition is ClusterCondition.HEALTHY:
        return "nothing is broken, and everything was seen that a diagnosis needs"
    if found.condition is ClusterCondition.UNKNOWN:
        return "nothing broken was seen, but not everything was seen"
    if found.roots:
        return found.roots[0].cause.said
    first = found.unexplained[0]
    more = f" (and {len(found.unexplained) - 1} more)" if len(found.unexplained) > 1 else ""
    return f"{first.subject}: {first.said}{more}; no rule knows why"


# -- the screen ----------------------------------------------------------------------------------------------------


def diagnosis_screen(
    found: Diagnosis, next_steps: Sequence[str] = (), columns: int = COLUMNS
) -> tuple[ScreenRow, ...]:
    """Return the screen; `next_steps` are commands."""
    root = found.roots[0] if found.roots else None
    return screen(
        (
            verdict_block(word_of(found), headline(found), TONES[found.condition], columns),
            ScreenBlock(label="Since", texts=[_since(root, found)] if root else [], most=1, least=0),
            ScreenBlock(label="Chain", texts=list(chain(root, found)) if root else [], deep=2, most=6),
            ScreenBlock(label="Evidence", texts=root.cause.evidence if root else (), deep=2, most=4),
            ScreenBlock(
                label="Affected", texts=[affected(root, columns - LABEL)] if root else [], deep=2, most=2
            ),
            *_fix_blocks(root, columns),
            ScreenBlock(label="Also", texts=[each.cause.said for each in found.roots[1:]], deep=2, most=3),
            ScreenBlock(
                label="No cause",
                texts=[f"{each.subject}: {each.said}" for each in found.unexplained],
                deep=2,
                most=3 if root else 8,
            ),
            ScreenBlock(
                label="Unsettled", texts=[f"{each.what}: {each.why}" for each in found.unsettled], deep=2
            ),
            ScreenBlock(label="Not seen", texts=found.gaps, deep=2, most=3 if found.symptoms else 8),
            ScreenBlock(label="Normal", texts=found.notes, most=2, least=0),
            ScreenBlock(
                label="Next", texts=next_steps, tone=Tone.COMMAND, most=2, least=0, are_commands=True
            ),
        ),
        columns,
    )


def _fix_blocks(root: RootCause | None, columns: int) -> Iterator[ScreenBlock]:
    for number, each in enumerate(root.cause.fixes[:2] if root else ()):
        risk = f" (risk: {each.risk})" if each.risk else ""
        label = "Fix" if number == 0 else ""
        yield ScreenBlock(label=label, texts=[f"{each.what}{risk}"], deep=2, most=2, least=1 - number)
        if each.command:
            lines = list(_command_rows(each.command, columns - LABEL))
            yield ScreenBlock(
                texts=lines,
                tone=Tone.COMMAND,
                most=len(lines),
                least=len(lines) * (1 - number),
                are_commands=True,
            )


def _command_rows(command: str, width: int) -> Iterator[str]:
    """Yield a command in rows that can be pasted: a row that goes on ends in a backslash."""
    for line in command.splitlines():
        rows = wrap(line, width - 2, break_long_words=False, break_on_hyphens=False)
        yield from (f"{each} \\" for each in rows[:-1])
        yield rows[-1]


def _since(root: RootCause, found: Diagnosis) -> str:
    since = root.since
    ago_s = seconds_ago(since, found.at)
    if since is None or ago_s is None:
        return "unknown"
    return f"{since:%Y-%m-%d %H:%M:%S} UTC, {short_duration(int(ago_s))} ago"


def chain(root: RootCause, found: Diagnosis) -> Iterator[str]:
    """Yield what led to what, from the first event that is remembered to what users notice."""
    first = (*root.cause.history, (root.cause.since, root.cause.said.partition(":")[0]))
    for at, said in sorted(first, key=lambda each: each[0] or found.at):
        yield f"{_clock(at)}{said}"
    for each in root.led_to:
        yield f"→ {each.said}"
    for kind, subjects in _by_kind(root).items():
        yield f"→ {kind}: {names(subjects, 3)}"


SHOWN = {
    SymptomKind.DNS: "lookups fail",
    SymptomKind.BGP: "BGP sessions down",
    SymptomKind.NODE: "nodes not Ready",
    SymptomKind.XDS: "sidecars without istiod",
    SymptomKind.NOT_CREATED: "Pods not created",
    SymptomKind.WORKLOAD: "not available",
}
"""Kinds of symptoms that a chain ends in, in words."""


def _by_kind(root: RootCause) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for each in root.explained:
        if each.kind in SHOWN:
            grouped.setdefault(SHOWN[each.kind], []).append(each.subject)
    return grouped


def _clock(at: datetime | None) -> str:
    return f"{at:%H:%M:%S} " if at else ""


def affected(root: RootCause, width: int) -> str:
    """Return who suffers from it, in one line."""
    subjects = root.affected
    if not subjects:
        return "no workload yet"
    said = count(subjects)
    some = few_names(subjects, width - len(said) - 2, at_most=4)
    return f"{said}: {some}" if some else said


# -- all details ---------------------------------------------------------------------------------------------------


def detail_lines(found: Diagnosis) -> Iterator[str]:
    """Yield everything, for the terminal."""
    yield f"{found.condition.value} (exit {found.exit_code}): {headline(found)}"
    for number, root in enumerate(found.roots, start=1):
        yield from _block(f"root cause {number} ({root.cause.rule})", [root.cause.said])
        yield from _block("chain", chain(root, found))
        yield from _block("evidence", root.cause.evidence)
        yield from _block("affected", root.affected)
        yield from _block("fix", (line for each in root.cause.fixes for line in _fix_lines(each)))
        yield from _block("rests on", _basis(root))
    yield from _block("symptoms", (f"{each.kind}: {each.subject}: {each.said}" for each in found.symptoms))
    yield from _block("without a cause", (f"{each.subject}: {each.said}" for each in found.unexplained))
    yield from _block("unsettled", (f"{each.what}: {each.why}" for each in found.unsettled))
    yield from _block("not seen", found.gaps)
    yield from _block("normal operation", found.notes)


def _basis(root: RootCause) -> Iterator[str]:
    """Yield what the root cause's rule rests on."""
    for rule in all_rules():
        if rule.name == root.cause.rule:
            yield f"{rule.source} ({rule.seen.value})"


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    told = tuple(lines)
    if told:
        yield f"{title}:"
        yield from (f"  {line}" for line in told)


def _fix_lines(each: FixCommand) -> Iterator[str]:
    yield f"{each.what}{f' (risk: {each.risk})' if each.risk else ''}"
    yield from (f"  {line}" for line in each.command.splitlines())


# -- pages ---------------------------------------------------------------------------------------------------------


def markdown(found: Diagnosis) -> str:
    """Return a page of GitHub Flavored Markdown, always the same for the same diagnosis."""
    parts = [
        f"# {capital(found.condition.value)}: {plain(headline(found))}\n",
        f"{_where(found)}\n",
    ]
    for number, root in enumerate(found.roots, start=1):
        title = "Root cause" if len(found.roots) == 1 else f"Root cause {number}"
        fixes = (line for each in root.cause.fixes for line in _markdown_fix(each))
        parts += [
            section(title, [plain(root.cause.said), "", *points(root.cause.evidence)]),
            section("What led to what", points(chain(root, found))),
            section("Affected", points(root.affected)),
            section("Fix", fixes),
        ]
    parts += [
        section(
            "Without a known cause", points(f"{each.subject}: {each.said}" for each in found.unexplained)
        ),
        section("Unsettled", points(f"{each.what}: {each.why}" for each in found.unsettled)),
        section("Not seen", points(found.gaps)),
        section("Normal operation", points(found.notes)),
    ]
    return "\n".join(part for part in parts if part)


def _markdown_fix(each: FixCommand) -> Iterator[str]:
    yield f"{plain(each.what)}{f' (risk: {plain(each.risk)})' if each.risk else ''}"
    yield ""
    if each.command:
        yield from (*fenced([each.command], "sh"), "")


def _where(found: Diagnosis) -> str:
    where = f"Context {plain(found.context)}, " if found.context else ""
    return f"{where}{found.at:%Y-%m-%d %H:%M:%S} UTC, exit {found.exit_code}."


def page(found: Diagnosis) -> str:
    """Return a self-contained page of HTML, always the same for the same diagnosis."""
    tone, icon = PAGE_TONES[found.condition]
    return render(
        "diagnosis.html.jinja",
        {
            "found": found,
            "tone": tone,
            "icon_of": icon,
            "headline": capital(headline(found)),
            "where": _where(found),
            "roots": [(root, tuple(chain(root, found))) for root in found.roots],
        },
    )
