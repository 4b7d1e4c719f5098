"""Turn a question's answers into state changes, and state changes into events without flooding the timeline. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.timeline.signal_kinds import SignalQuestion

PER_MINUTE = 6
"""More changes per minute than this are reported once a minute, as routers dampen a flapping route (RFC 2439)."""

MINUTE_S = 60.0

Said = tuple[float, Note]
"""Since when an event holds, and the event."""


@dataclass(slots=True, kw_only=True)
class Streak:
    """Decides the state of a question: `in_a_row` equal answers in a row. `decided` is None before the first decision.

    Fewer than `in_a_row` unmeasured samples do not interrupt a row of bad answers, because they do not prove
    recovery; they do interrupt a row of good ones. If a lost signal has a `first_sign`, two good answers
    among the last `in_a_row`, with a bad one in between, change it to that state: it was lost until the first
    of the two.
    """

    in_a_row: int
    well: Kind
    first_sign: Kind | None = None
    decided: Kind | None = None
    since_s: float = 0.0
    """When the current row of answers began."""

    dated_s: float = 0.0
    """Since when the last decision holds."""

    _answer: Kind | None = None
    _count: int = 0
    _last: deque[tuple[float, Kind]] = field(default_factory=deque)
    """The previous answers, as many as may count together with the current one."""
    _blanks: list[float] = field(default_factory=list)
    """Times of unmeasured samples since the last bad answer of the row."""

    @property
    def settled(self) -> bool:
        """Whether more equal answers would change nothing."""
        return self._count >= self.in_a_row and not self._blanks

    def take(self, at_s: float, answer: Kind) -> bool:
        """Add the answer at `at_s`. Returns whether it changes the decision."""
        if answer is Kind.OBSERVATION_LOST and self._answer not in (None, self.well, answer):
            self._blanks.append(at_s)
            if len(self._blanks) < self.in_a_row:
                return False
            self._answer, self._count, self.since_s = answer, len(self._blanks) - 1, self._blanks[0]
        elif answer is not self._answer:
            self._answer, self._count, self.since_s = answer, 0, at_s
        self._count, self._blanks = self._count + 1, []
        before, self.dated_s = self.decided, self.since_s
        self.decided = self._decision(answer)
        self._last.append((at_s, answer))
        if len(self._last) >= self.in_a_row:
            self._last.popleft()
        return self.decided is not before

    def _decision(self, answer: Kind) -> Kind | None:
        if self.settled:
            return answer
        if self._answers_again(answer):
            self.dated_s = next(at_s for at_s, each in self._last if each is self.well)
            return self.first_sign
        alarming = self.decided in (None, self.well) and answer not in (self.well, Kind.OBSERVATION_LOST)
        return self.first_sign if alarming and self.first_sign else self.decided

    def _answers_again(self, answer: Kind) -> bool:
        lost = self.decided not in (None, self.well, self.first_sign, Kind.OBSERVATION_LOST)
        new_row = answer is self.well and self._count == 1
        return bool(self.first_sign) and lost and new_row and any(each is self.well for _, each in self._last)


@dataclass(slots=True)
class Damper:
    """Decides which changes of a question are reported. A recovery is reported only after a loss.

    With more than `PER_MINUTE` changes within a minute, they are held back: the worst state is reported once
    a minute, with the number of changes, until the rate drops. It then ends when that state was last left.
    """

    question: SignalQuestion
    heard: Kind | None = None
    _unseen: bool = False
    _changes: deque[tuple[float, Kind]] = field(default_factory=deque)
    _held: Kind | None = None
    """While changes are held back: the worst state among them, which is the one reported."""
    _left_s: float = 0.0
    """When the held state was last left for another one, if it was."""
    _due_s: float = 0.0

    @property
    def holds_back(self) -> bool:
        return self._held is not None

    def change(self, at_s: float, kind: Kind, words: str) -> Iterator[Said]:
        """The question changed to `kind` at `at_s`."""
        if not self._is_news(kind):
            return
        before = self._changes[-1][1] if self._changes else kind
        self._changes.append((at_s, kind))
        self._forget(at_s)
        if self._held is None and len(self._changes) > PER_MINUTE:
            yield from self._hold(at_s, max(kind, before, key=self._badness))
        elif self._held is None or self._badness(kind) > self._badness(self._held):
            self._held = self._held and kind
            yield from self._say(at_s, kind, words)
        elif before is self._held:
            self._left_s = at_s

    def tick(self, at_s: float, now: Kind | None, words: str) -> Iterator[Said]:
        """Advance to a sample's time, with the decided state `now`."""
        if self._held is None:
            return
        self._forget(at_s)
        if len(self._changes) <= PER_MINUTE:
            yield from self.let_go(now, words)
        elif at_s >= self._due_s:
            worst = max((kind for _, kind in self._changes), key=self._badness)
            yield from self._hold(at_s, worst)

    def let_go(self, now: Kind | None, words: str) -> Iterator[Said]:
        """Stop holding back, and report the state `now`."""
        held, self._held = self._held, None
        if held and now and now is not held:
            yield from self._say(self._left_s, now, words)

    def blind(self) -> None:
        """Observation was interrupted: start over with the next change."""
        self._changes.clear()
        self._held = None

    def _hold(self, at_s: float, kind: Kind) -> Iterator[Said]:
        """Report `kind` instead of all changes of a minute, since it last began, or since a worse state was left."""
        milder = self._held not in (None, kind)
        since_s = self._left_s if milder else max(since_s for since_s, each in self._changes if each is kind)
        self._held, self._due_s = kind, at_s + MINUTE_S
        for (_, before), (next_s, _) in pairwise(self._changes):
            self._left_s = next_s if before is kind else self._left_s
        words = f"flapping: changed {len(self._changes)} times within a minute, said once a minute"
        yield from self._say(since_s, kind, words)

    def _is_news(self, kind: Kind) -> bool:
        return self._unseen or kind is not self.question.manner.restored or self.heard not in (None, kind)

    def _say(self, at_s: float, kind: Kind, words: str) -> Iterator[Said]:
        unseen = self.question.unseen
        if kind is Kind.OBSERVATION_LOST:
            self._unseen = True
            yield at_s, Note(kind=kind, object=unseen, detail=words)
            return
        if self._unseen:
            self._unseen = False
            yield at_s, Note(kind=Kind.OBSERVATION_RESTORED, object=unseen, detail="measured again")
        if self._is_news(kind):
            self.heard = kind
            yield at_s, Note(kind=kind, object=self.question.object, detail=words)

    def _badness(self, kind: Kind) -> int:
        manner = self.question.manner
        milder = (manner.restored, manner.first_sign, Kind.OBSERVATION_LOST)
        return milder.index(kind) if kind in milder else len(milder)

    def _forget(self, at_s: float) -> None:
        """Drop changes that are more than a minute old from the rate."""
        while self._changes and self._changes[0][0] <= at_s - MINUTE_S:
            self._changes.popleft()
