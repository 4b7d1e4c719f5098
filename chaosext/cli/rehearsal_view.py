"""What `chaosext rehearse` shows: details if asked for, then the screen, with the commands to run next."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import join, quote
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.snapshot.world import World

WORDS = "chaosext.words"

DISPLAY = ("-v", "--verbose", "--timeline", "--assumptions")
"""Options that change only what is shown."""

ROLLBACK_AFTER_S = 120.0
"""From the heal, in the suggested rollback."""


class WordsKept(click.Command):
    """A command that remembers its words, to suggest the next command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = [word for word in args if word not in DISPLAY]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What to print before the screen."""

    timeline: bool = False
    assumptions: bool = False
    verbose: bool = False


def show(found: Prediction, world: World, plan: Plan, details: Details) -> None:
    """Print the details and then the screen, so that its verdict is what remains to be seen."""
    from chaosext.cli.output import say_screen, screen_columns
    from chaosext.model.printable import say, say_lines
    from chaosext.report.render.prediction_screen import prediction_screen

    before = list(detail_lines(found, details))
    if before:
        say_lines(before)
        say("")
    columns = screen_columns()
    say_screen(prediction_screen(found, world, plan, tuple(next_steps(found, plan, columns)), columns))


def detail_lines(found: Prediction, details: Details) -> Iterator[str]:
    """Yield the details that are wanted."""
    from chaosext.cli.prediction_text import basis_lines, prediction_lines, timeline_block

    if details.verbose:
        yield from prediction_lines(found, whole=True)
        return
    if details.assumptions:
        yield from basis_lines(found)
    if details.timeline:
        yield from timeline_block(found)


def next_steps(found: Prediction, plan: Plan, columns: int) -> Iterator[str]:
    """Yield the rows of the commands that help next; each contains the user's own words."""
    from chaosext.report.sentences.prediction_sentences import Light, verdict_sentence

    yield from said_again(["chaosext", "rehearse"], _next(found, plan), columns)
    if verdict_sentence(found).light is Light.OK:
        snapshots = [word for each in _snapshots() for word in ("--snapshot", each)]
        yield from _rows(
            ["chaosext", "gate", "--cutover", "PLAN.yaml"], snapshots, "go or no-go for your plan", columns
        )


def said_again(
    command: Sequence[str], more: Iterable[tuple[Sequence[str], str]], columns: int
) -> Iterator[str]:
    """Yield rows of the command again with the user's words and each of `more`: what to add, and why."""
    for added, why in more:
        yield from _rows([*command, *_words()], added, why, columns)


def _snapshots() -> Sequence[str]:
    """Return the snapshots as the user named them, after --snapshot or without."""
    given = click.get_current_context().params
    files = {str(each) for name in ("files", "snapshots") for each in given.get(name) or ()}
    named = (word.rpartition("=")[2] for word in _words())
    return [each for each in named if each in files or each.startswith("example:")]


def _words() -> Sequence[str]:
    words: Sequence[str] = click.get_current_context().meta.get(WORDS, [])
    return words


def _next(found: Prediction, plan: Plan) -> Iterator[tuple[Sequence[str], str]]:
    """Yield what to add to the user's words, and why."""
    from chaosext.model.duration_text import short_duration
    from chaosext.report.sentences.prediction_sentences import Light, fixes, verdict_sentence

    light, helpful = verdict_sentence(found).light, fixes(found)
    if light is Light.NOT_OK and helpful:
        yield ["--patch", helpful[0].name], "how to apply it"
    if light is Light.NOT_OK and not found.self_heals and plan.rollback_s is None:
        at = short_duration(plan.cut_for_s + ROLLBACK_AFTER_S)
        yield ["--rollback-at", at], "is moving kube-dns enough?"
    if light is Light.UNKNOWN:
        yield ["--assumptions"], "what it rests on"
    yield ["--timeline"], "every event"


def _rows(command: Sequence[str], more: Sequence[str], why: str, columns: int) -> Iterator[str]:
    """Yield a command in a row, or in two, with a comment if there is room; or what to add to the last command."""
    from chaosext.report.render.screen import LABEL

    width, comment = columns - LABEL, f"  # {why}"
    first, *others = _filled(_units([*command, *more]), width - 2)
    if len(others) > 1 or max(map(len, (first, *others))) > width - 2:
        first, others = f"the same command with {join(more)}", []
    last = others[0] if others else first
    last += comment * (len(last) + len(comment) <= width)
    yield from [f"{first} \\", last] if others else [last]


def _units(words: Sequence[str]) -> Iterator[str]:
    """Yield the words, quoted; each option together with its value."""
    option = ""
    for word in words:
        unit = f"{option} {quote(word)}".strip()
        if word.startswith("--") and not option:
            option = unit
            continue
        if option and word.startswith("-"):
            yield option
            option = quote(word)
            continue
        yield unit
        option = ""
    if option:
        yield option


def _filled(words: Iterable[str], width: int) -> list[str]:
    """Return the words in lines that are as long as possible; all but the first are indented."""
    lines: list[str] = []
    for word in words:
        fits = lines and len(lines[-1]) + 1 + len(word) <= width
        if fits:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}" if lines else word)
    return lines
