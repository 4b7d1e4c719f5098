"""A run as Markdown, for a pull request, a ticket, or a terminal. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaosext.model.result import length_s
from chaosext.report.data.account import by_owner
from chaosext.report.data.coverage_gaps import unseen
from chaosext.report.render.text_chart import LEGEND, NAMES, chart
from chaosext.report.sentences.answers import answers, headline
from chaosext.report.sentences.root_cause import chain_of_causes
from chaosext.report.sentences.what_to_do import removal
from chaosext.report.units import capital, clipped, duration, names, tenths, window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.model.result import RunResult, Window
    from chaosext.model.timeline import Event
    from chaosext.model.verdict import Verdict
    from chaosext.report.data.run_data import RunData

OBJECTS = 8
"""Maximum number of rows per lane, the longest outages first; the other objects share one."""

ROOM = 30_000
"""Maximum characters of the timeline: a comment on a pull request holds 65,536. timeline.jsonl has all of it."""

SAID = 110
"""Maximum characters of an event's detail."""

NO_SENTINEL = "Sentinels were disabled (`chaosext_sentinel: false`)."


def summary(data: RunData) -> str:
    """`summary.md`: the six answers, root cause, outages, coverage gaps, timeline."""
    result = data.result
    sections = (
        _head(data),
        _answers(data),
        section("Root cause", (f"{n}. {plain(line)}" for n, line in enumerate(chain_of_causes(result), 1))),
        section("Outages", (*_chart(result), *_outages(result))),
        section(
            "Coverage gaps", points(unseen(data)) if data.sentinels else (NO_SENTINEL, *points(unseen(data)))
        ),
        section("Known to be unhealthy", points(each.said for each in result.known)),
        folded("Clocks of the nodes", _clocks(result)),
        folded("Firewall rules of others", points(_foreign_rules(result))),
        folded("State before the cut", points(_briefing(result))),
        folded("Timeline", _timeline(result)),
    )
    return "\n".join(section for section in sections if section)


def _head(data: RunData) -> str:
    result, verdict = data.result, data.result.verdict
    on = f" on {plain(result.briefing.context)}" if result.briefing else ""
    started = f", started {plain(result.started_at[:19].replace('T', ' '))} UTC" if result.started_at else ""
    return (
        f"# {capital(result.ending)}\n\n**{plain(headline(data))}**\n\n"
        f"{_removal(verdict)}"
        f"{plain(result.experiment) or 'A run'}{on}: run `{result.run}`{started}, "
        f"took {duration(result.duration_s)}.\n"
    )


def _removal(verdict: Verdict) -> str:
    commands = removal(verdict)
    return "\n".join(("Remove it first:", "", *fenced(commands), "")) + "\n" if commands else ""


def _answers(data: RunData) -> str:
    rows = [(f"**{each.question}**", "<br>".join(map(plain, each.lines))) for each in answers(data)]
    return "\n".join((*table(("", ""), rows), ""))


def _chart(result: RunResult) -> tuple[str, ...]:
    lines = chart(result)
    return (*fenced(lines), "", LEGEND, "") if lines else ()


def _outages(result: RunResult) -> Iterator[str]:
    found = [(lane, result.outages[lane]) for lane in NAMES if lane in result.outages]
    rows = [row for lane, objects in found for row in _lane(NAMES[lane], objects, result)]
    if rows:
        yield from table(("what", "where", "out for", "after the cut"), rows)


def _lane(lane: str, found: Mapping[str, Sequence[Window]], result: RunResult) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a lane, worst first; Pods of one owner share a row, and so do objects beyond `OBJECTS`."""
    end_s = result.end_s
    out_s = {name: sum(length_s(each, end_s) for each in windows) for name, windows in found.items()}
    owners = by_owner(sorted(out_s, key=lambda name: (-out_s[name], name)))
    rows = [(_owner(owner, own), own) for owner, own in owners.items()]
    rest = tuple(name for _, own in rows[OBJECTS:] for name in own)
    for where, own in (*rows[:OBJECTS], *([(f"{len(rest)} more", rest)] if rest else [])):
        yield lane, where, _how_long(own, out_s, found), _windows(found[own[0]]) if len(own) == 1 else ""


def _owner(owner: str, own: Sequence[str]) -> str:
    return plain(names([owner])) + (f" ({len(own)})" if len(own) > 1 else "")


def _how_long(own: Sequence[str], out_s: Mapping[str, float], found: Mapping[str, Sequence[Window]]) -> str:
    longest, shortest = (duration(pick(out_s[name] for name in own)) for pick in (max, min))
    open_ended = sum(found[name][-1][1] is None for name in own)
    many = f"{open_ended} " if len(own) > 1 else ""
    span = longest if longest == shortest else f"{shortest} to {longest}"
    return f"{span}, {many}not back" if open_ended else span


def _windows(windows: Sequence[Window]) -> str:
    told = ", ".join(map(window, windows[:3]))
    return f"{told} and {len(windows) - 3} more" if len(windows) > 3 else told


def _clocks(result: RunResult) -> Iterator[str]:
    rows = [
        (plain(node), f"{clock.wall_skew_s:+.3f}s", f"± {clock.error_s * 1000:.1f}ms", str(clock.boots))
        for node, clock in sorted(result.clocks.items())
    ]
    if rows:
        yield from table(("node", "wall clock minus the runner's", "precision", "boots"), rows)


def _foreign_rules(result: RunResult) -> Iterator[str]:
    rules = result.foreign_rules
    if rules is None:
        return
    if rules.identical:
        yield "identical after the last heal and before the cut, byte for byte"
    for author, lines in sorted(rules.changed_by.items()):
        yield f"changed by {author}: {lines} line{'s' * (lines > 1)}"
    yield from (f"changed by an unknown author: {line}" for line in rules.unattributed)
    if rules.not_compared:
        yield f"not compared: {', '.join(rules.not_compared)}"


def _briefing(result: RunResult) -> Iterator[str]:
    if result.briefing is None:
        return
    yield from result.briefing.outlook
    yield f"nodes without a BGP peer: {', '.join(result.briefing.unpeered_nodes) or 'none'}"
    yield f"kube-dns was on: {', '.join(result.briefing.kube_dns_nodes) or 'no node'}"
    yield "timings: " + ", ".join(f"{name} {value}" for name, value in result.briefing.timings.items())


def _timeline(result: RunResult) -> Iterator[str]:
    """Yield as many events as fit; the others are not even rendered."""
    rest, room = len(result.events), ROOM
    if not rest:
        return
    yield from table(("s", "what", "where", "how"), ())
    for event in result.events:
        line = row(_event(event))
        room -= len(line) + 1
        if room < 0:
            break
        yield line
        rest -= 1
    if rest:
        yield f"\n… and {rest} more in timeline.jsonl."


def _event(event: Event) -> tuple[str, ...]:
    what = event.kind.value.replace("_", " ")
    return tenths(event.t_s), what, plain(event.object), plain(clipped(event.detail, SAID))


_MEANT = re.compile(r"[\\`*\[<|&~$]|(?<!\w)_|_(?!\w)|^(?:>|(?:#+|[+-]|\d+[.)])(?=\s|$)|[=-](?=[=-]*$))")
"""Characters that Markdown would interpret, anywhere or at the beginning (heading, quotation, list or rule)."""

_ACTIVE = re.compile(
    r"(?<![^\s`])[^\s`]*(?:@\w|://|www\.|mailto:|xmpp:|#\d|GH-\d|:[a-z][a-z0-9_+-]*:)[^\s`]*",
    re.IGNORECASE,
)
"""Text that GitHub would notify, link or draw.

Mentions, addresses, issue numbers and emoji (docs.github.com, "Basic writing and formatting syntax").
"""


def section(title: str, lines: Iterable[str]) -> str:
    told = tuple(lines)
    return "\n".join((f"## {title}", "", *told, "")) if told else ""


def folded(title: str, lines: Iterable[str]) -> str:
    told = tuple(lines)
    return (
        "\n".join((f"<details><summary>{title}</summary>", "", *told, "", "</details>", "")) if told else ""
    )


def fenced(lines: Iterable[str], language: str = "text") -> tuple[str, ...]:
    """Return a code block with a fence longer than any sequence of backquotes in it."""
    told = [line.rstrip() for text in lines for line in text.splitlines() or [""]]
    longest = max((len(found) for line in told for found in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return (f"{fence}{language}", *told, fence)


def points(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"- {plain(line)}" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from map(row, (head, ["---"] * len(head), *rows))


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """Return `text` as Markdown that shows it literally, on one line; backquotes stay code.

    It contains no links and notifies no user: words that would are shown as code.
    """
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:  # unpaired backquotes
        return _prose("`".join(parts))
    return "".join(_code(part) if n % 2 else _prose(part) for n, part in enumerate(parts))


def _prose(text: str) -> str:
    told, end = [], 0
    for found in _ACTIVE.finditer(text):
        word = found[0].rstrip(".,;:)")
        told += [_escaped(text[end : found.start()]), _code(word)]
        end = found.start() + len(word)
    return "".join((*told, _escaped(text[end:])))


def _escaped(text: str) -> str:
    return _MEANT.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)


def _code(text: str) -> str:
    """Return code with bars escaped: GitHub ends a table's cell at a bar even in code; "" must not open a code span."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else r"\`\`"
