"""Turn a sentinel's samples into events of its node as they arrive. Pure: heads and samples in, dated notes out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark, Sample, Signal, StreamHead, Watched
from chaosext.model.timeline import NO_LONGER_WATCHED, Kind
from chaosext.timeline.debounce import Damper, Streak
from chaosext.timeline.object_events import Note
from chaosext.timeline.sample_windows import IN_A_ROW, gap, is_stale, marks_of, overdue_s, seen_until_s
from chaosext.timeline.signal_kinds import questions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.timeline.debounce import Said
    from chaosext.timeline.signal_kinds import SignalQuestion

Dated = tuple[StreamHead, float, Note]
"""The head of the boot that the time belongs to, since when the event holds (monotonic seconds), and the event."""

SOURCE = "sentinel on "
"""Prefix of the source of a sentinel's events; the node's name follows."""

SOCKETS_APART_S = 3.0
"""Seconds that a kept and a fresh socket must differ: they may do so briefly while kube-proxy changes its rules."""


class NodeWatch:
    """The observation of one node. All its notes have the source `source`, and no other notes do (see `outages`)."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.source = f"{SOURCE}{node}"
        self._head: StreamHead | None = None
        self._seen: tuple[StreamHead, Sample] | None = None
        self._tracks: dict[SignalQuestion, _Track] = {}
        self._settled = False

    def take(self, entry: StreamHead | Sample) -> tuple[Dated, ...]:
        """Process the next line of the record. Ignores a sample without a head, and a duplicate."""
        if isinstance(entry, StreamHead):
            return tuple(self._begin(entry))
        if self._head is None or (self._seen and is_stale(*self._seen, self._head, entry)):
            return ()
        return tuple(self._look(self._head, entry))

    def close(self, at_mono_s: float) -> tuple[Dated, ...]:
        """The run ended at `at_mono_s` of the last boot: return the remaining events; none without a head."""
        return tuple(self._end(self._head, at_mono_s)) if self._head else ()

    def _begin(self, head: StreamHead) -> Iterator[Dated]:
        """Keep the state of questions that stay in the plan; those that left it become unobserved."""
        before, self._head, self._settled = self._head, head, False
        known, self._tracks = self._tracks, {}
        for question in questions(head):
            self._tracks[question] = known.pop(question) if question in known else _Track(question, head)
        if before and before.boot == head.boot:
            yield from (
                (head, at_s, note) for gone in known.values() for at_s, note in gone.drop(head.mono_s)
            )

    def _look(self, head: StreamHead, sample: Sample) -> Iterator[Dated]:
        if self._seen:
            yield from self._gap(*self._seen, head, sample)
        unchanged = self._settled and self._seen and self._seen[1].marks == sample.marks
        self._seen = (head, sample)
        if not unchanged:
            marks = dict(zip(head.signals, marks_of(head, sample.marks), strict=True))
            for track in self._tracks.values():
                yield from ((head, at_s, note) for at_s, note in track.take(sample.mono_s, marks))
            self._settled = all(track.settled for track in self._tracks.values())

    def _gap(self, before: StreamHead, last: Sample, head: StreamHead, sample: Sample) -> Iterator[Dated]:
        why = gap(before, last, head, sample)
        if not why:
            return
        next_s = sample.mono_s if head.boot == before.boot else None
        yield from self._lost(before, seen_until_s(before, last, next_s), _joined(why, head.lost))
        if head.boot != before.boot:
            yield (
                head,
                head.mono_s,
                self._note(Kind.NODE_REBOOTED, "its sentinel's record goes on in another boot"),
            )
        yield head, sample.mono_s, self._note(Kind.OBSERVATION_RESTORED, "the sentinel's record goes on")

    def _lost(self, head: StreamHead, at_s: float, why: str) -> Iterator[Dated]:
        for track in self._tracks.values():
            track.blind()
        self._settled = False
        yield head, at_s, self._note(Kind.OBSERVATION_LOST, why)

    def _end(self, head: StreamHead, at_s: float) -> Iterator[Dated]:
        for track in self._tracks.values():
            yield from ((head, since_s, note) for since_s, note in track.let_go())
        seen, last = self._seen or (head, None)
        if last is None:
            yield from self._lost(head, head.mono_s, "the sentinel's record has no sample")
        elif seen.boot != head.boot or at_s - last.mono_s > overdue_s(seen, head):
            yield from self._lost(seen, seen_until_s(seen, last), "the sentinel's record ends here")

    def _note(self, kind: Kind, detail: str) -> Note:
        return Note(kind=kind, object=f"Node/{self.node}", detail=detail)


class _Track:
    """The state of one question, and what was reported about it."""

    def __init__(self, question: SignalQuestion, head: StreamHead) -> None:
        self._question = question
        sockets = question.signal.kind is Watched.DNS_UDP_KEPT
        self._in_a_row = max(IN_A_ROW, math.ceil(SOCKETS_APART_S / head.interval_s) if sockets else 0)
        self._damper = Damper(question)
        self._marks = (Mark.UNKNOWN, Mark.UNKNOWN)
        self.blind()

    @property
    def settled(self) -> bool:
        """Whether more samples with the same marks would change nothing."""
        return self._streak.settled and not self._damper.holds_back

    def take(self, at_s: float, marks: Mapping[Signal, Mark]) -> Iterator[Said]:
        question, beside = self._question, self._question.beside
        self._marks = (marks[question.signal], marks[beside] if beside else Mark.UNKNOWN)
        if self._streak.take(at_s, question.answer(*self._marks)) and self._streak.decided:
            yield from self._damper.change(self._streak.dated_s, self._streak.decided, self._words)
        yield from self._damper.tick(at_s, self._streak.decided, self._words)

    def blind(self) -> None:
        """Observation was interrupted: decide the state again from scratch."""
        manner = self._question.manner
        self._streak = Streak(in_a_row=self._in_a_row, well=manner.restored, first_sign=manner.first_sign)
        self._damper.blind()

    def let_go(self) -> Iterator[Said]:
        """The run ends: report the state that was held back."""
        yield from self._damper.let_go(self._streak.decided, self._words)

    def drop(self, at_s: float) -> Iterator[Said]:
        """The question left the plan: if it was reported lost, report that it is no longer watched."""
        if self._damper.heard not in (None, self._question.manner.restored):
            yield (
                at_s,
                Note(
                    kind=Kind.OBSERVATION_LOST,
                    object=self._question.unseen,
                    detail=f"{NO_LONGER_WATCHED}not in the plan",
                ),
            )

    @property
    def _words(self) -> str:
        return self._question.words(*self._marks)


def _joined(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)
