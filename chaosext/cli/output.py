"""Text output of a run: the briefing before a cut, the timeline as it grows, the result at the end."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from shutil import get_terminal_size
from typing import IO, TYPE_CHECKING, Self

from chaosext.model.duration_text import short_duration
from chaosext.model.printable import one_line, say
from chaosext.model.redact import veiled
from chaosext.report.units import tenths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from chaosext.model.findings import Finding, Status
    from chaosext.model.result import Briefing, RunResult
    from chaosext.model.timeline import Event
    from chaosext.report.render.screen import ScreenRow
    from chaosext.run.dry_run import DryRun
    from chaosext.run.monitor.progress import LiveScene

COLOURS = {
    "cut": "bold red",
    "heal": "bold green",
    "rollback": "bold blue",
    "steady": "bold green",
    "dns_dead": "red",
    "dns_degraded": "yellow",
    "dns_restored": "green",
    "xds_lost": "red",
    "xds_restored": "green",
    "node_not_ready": "yellow",
    "node_ready": "green",
    "node_rebooted": "red",
    "node_deleted": "red",
    "object_missing": "red",
    "object_back": "green",
    "kubelet_lost": "red",
    "kubelet_restored": "green",
    "probe_failing": "red",
    "crash_loop": "red",
}
VERDICT_COLOURS = {"passed": "green", "deviated": "yellow"}


class Plain:
    """Prints the timeline line by line, colored in a terminal; bookkeeping events only if `verbose`."""

    scene: LiveScene

    def __init__(self, stream: IO[str], *, verbose: bool = False) -> None:
        from rich.console import Console

        class Unread(Console):
            def on_broken_pipe(self) -> None:
                """Continue without output: a closed pipe must not end the run, whose files contain everything."""
                self.quiet = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

        self._console = Unread(file=stream, highlight=False, soft_wrap=True, emoji=False)
        self._verbose = verbose

    def begin(self, scene: LiveScene) -> None:
        self.scene = scene
        self._print(f"run {scene.run.id}, writing to {scene.run.directory.path}")

    def briefing(self, briefing: Briefing) -> None:
        for line in briefing_lines(briefing):
            self._print(line)

    def event(self, event: Event) -> None:
        if self._verbose or not event.is_bookkeeping:
            self._print(event_line(event), COLOURS.get(event.kind.value, ""))

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._print(line, _verdict_style(line))

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(one_line(veiled(text)), style=style, markup=False)


def screen_columns(stream: IO[str] | None = None) -> int:
    """Return how many columns a screen has: `COLUMNS`, or as many as the terminal has if these are fewer."""
    from chaosext.report.render.screen import COLUMNS, FEWEST_COLUMNS

    if not (stream or sys.stdout).isatty():
        return COLUMNS
    return max(FEWEST_COLUMNS, min(COLUMNS, get_terminal_size().columns))


def say_screen(rows: Sequence[ScreenRow], stream: IO[str] | None = None) -> None:
    """Print a screen, with colours on a terminal only (rich respects NO_COLOR and TERM=dumb)."""
    out = stream or sys.stdout
    if not out.isatty():
        say(*map(str, rows), to=out)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, highlight=False, soft_wrap=True, emoji=False)
    for row in rows:
        console.print(Text.assemble(*((one_line(veiled(text)), tone.value) for text, tone in row.parts)))


class SimulationProgress:
    """Shows how many simulations are made, on a terminal only, from `AFTER_S` on; gone when all are made."""

    AFTER_S, EVERY_S = 0.5, 0.1

    def __init__(self, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self._shows = self._stream.isatty()
        self._next_s, self._is_shown = clock() + self.AFTER_S, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._paint("")

    def note(self, text: str) -> None:
        """Say what happens now: in place on a terminal, else on a line of its own."""
        if not self._shows:
            say(text, to=self._stream)
        elif self._clock() >= self._next_s:
            self._is_shown = True
            self._paint(text)

    def of(self, what: str) -> Callable[[int, int | None], None]:
        """Return what to call with the number of simulations made and wanted (None: not known yet)."""

        def tell(made: int, wanted: int | None = None) -> None:
            if self._shows and self._clock() >= self._next_s:
                self._next_s, self._is_shown = self._clock() + self.EVERY_S, True
                self._paint(f"{what}: {made}{f' of {wanted}' if wanted else ''}")

        return tell

    def _paint(self, text: str) -> None:
        self._stream.write(f"\r{one_line(text)}\x1b[K")
        self._stream.flush()


def event_line(event: Event) -> str:
    """Format one line of the live timeline: time, kind, object, detail."""
    return f"{tenths(event.t_s, '+') + 's':>9}  {event.kind.value:<18} {event.object}  {event.detail}"


def briefing_lines(briefing: Briefing) -> Iterator[str]:
    """Yield what is known before the cut."""
    unpeered = ", ".join(briefing.unpeered_nodes) or "none"
    yield f"cluster: {briefing.context}"
    yield f"kube-dns on: {', '.join(briefing.kube_dns_nodes) or 'no node'}; nodes without a BGP peer: {unpeered}"
    yield "timings in force: " + ", ".join(f"{name} {value}" for name, value in briefing.timings.items())
    for line in briefing.outlook:
        yield f"outlook: {line}"


def plan_lines(plan: DryRun) -> Iterator[str]:
    """Yield the steps and the exact rules of a dry run."""
    yield "steps:"
    yield from (f"  {step}" for step in plan.steps)
    for node, texts in plan.rules.items():
        yield f"rules on {node} (nft -f -):"
        yield from (f"  {line}" for text in texts for line in text.splitlines())
    yield "heal on each of these nodes (nft -f -):"
    yield from (f"  {line}" for line in plan.heal.splitlines())
    yield "dry run: nothing was touched"


def result_lines(result: RunResult, details: Path) -> Iterator[str]:
    """Yield the end of a run: verdict, reasons, chain of causes, what to do, path of the reports."""
    from chaosext.report.sentences.root_cause import chain_of_causes
    from chaosext.report.sentences.what_to_do import what_to_do

    verdict = result.verdict
    yield ""
    yield f"verdict: {result.ending}"
    yield from (f"  {reason}" for reason in verdict.reasons)
    yield from _block("chain of causes", chain_of_causes(result))
    if result.dns_outages:
        longest = short_duration(result.longest_dns_outage_s, exact=True)
        yield f"longest DNS outage of a node: {longest}{_open_end(result)}"
    yield from _block("known to be unhealthy", (each.said for each in result.known))
    yield from _block("what to do", what_to_do(result))
    yield f"details: {details}"


def hindsight_lines(directory: Path) -> Iterator[str]:
    """Yield where the run's own rehearsal was right and wrong; nothing if there is none, or it is unreadable."""
    from chaosext.model.errors import Refused
    from chaosext.report.data.prediction_review import hindsight
    from chaosext.report.data.prediction_review import hindsight_lines as lines
    from chaosext.report.data.run_data import read_run

    with suppress(Refused):
        if found := hindsight(read_run(directory)):
            yield from lines(found)


def finding_lines(finding: Finding, *, verbose: bool) -> Iterator[str]:
    """Yield a finding, with its evidence if it is not healthy or `verbose`."""
    yield f"{_word(finding.status)} {finding.check}: {finding.summary}"
    for item in finding.evidence:
        if verbose or item.status is not finding.status or finding.status.is_bad:
            known = f" (known: {item.known})" if item.known else ""
            yield f"            {_word(item.status)} {item.subject}: {item.detail}{known}"


def _word(status: Status) -> str:
    """Return a status in the width of its column; the summary says "not applicable" in full."""
    return f"{'n/a' if status.value == 'not applicable' else status.value:<9}"


def _open_end(result: RunResult) -> str:
    lasting = any(end_s is None for windows in result.dns_outages.values() for _, end_s in windows)
    return ", and DNS was not back when the run ended" if lasting else ""


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = tuple(lines)
    if found:
        yield f"{title}:"
        yield from (f"  {line}" for line in found)


def _verdict_style(line: str) -> str:
    if not line.startswith("verdict: "):
        return ""
    word = line.removeprefix("verdict: ").partition(" ")[0].rstrip(",")
    return f"bold {VERDICT_COLOURS.get(word, 'red')}"
