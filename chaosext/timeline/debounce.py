"""What is said of one question: from answers to what has changed, and from changes to news that don't flood. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.timeline.signal_kinds import Question

PER_MINUTE = 6
"""What changes more often than this is said once a minute, as routers dampen a flapping route (RFC 2439)."""

MINUTE_S = 60.0

Said = tuple[float, Note]
"""News, and since when they hold."""


@dataclass(slots=True, kw_only=True)
class Streak:
    """Answers in a row: `in_a_row` alike decide what is so. `decided` is None until then.

    A row of bad answers goes on over what was not measured (fewer than `in_a_row`): that vouches for nothing. A row of
    good ones does not. What has a `first_sign` shows no more than that once two of `in_a_row` answers were good again,
    with a bad one between them: it was lost until the first of the two.
    """

    in_a_row: int
    well: Kind
    first_sign: Kind | None = None
    decided: Kind | None = None
    since_s: float = 0.0
    """When the row that the last answer stands in began."""

    dated_s: float = 0.0
    """Since when what was decided last holds."""

    _answer: Kind | None = None
    _count: int = 0
    _last: deque[tuple[float, Kind]] = field(default_factory=deque)
    """The answers before this one, as many as may count with it."""
    _blanks: list[float] = field(default_factory=list)
    """When nothing was measured since the last bad answer of the row."""

    @property
    def settled(self) -> bool:
        """Whether more of the same would change nothing."""
        return self._count >= self.in_a_row and not self._blanks

    def take(self, at_s: float, answer: Kind) -> bool:
        """Whether the answer at `at_s` decides something new."""
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
    """What people hear of a question. Good news are news only to who has heard bad ones.

    Where more than `PER_MINUTE` changes were within the last minute they are held back: the worst of them is said once
    a minute, with their number, and holds until it is calmer; then it ended when it was last left.
    """

    question: Question
    heard: Kind | None = None
    _unseen: bool = False
    _changes: deque[tuple[float, Kind]] = field(default_factory=deque)
    _held: Kind | None = None
    """While changes are held back: the worst of them, which is what people have heard."""
    _left_s: float = 0.0
    """When what is held was last left for something else, where it is something else."""
    _due_s: float = 0.0

    @property
    def holds_back(self) -> bool:
        return self._held is not None

    def change(self, at_s: float, kind: Kind, words: str) -> Iterator[Said]:
        """It has been `kind` since `at_s`."""
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
        """A sample's time has come, with `now` decided."""
        if self._held is None:
            return
        self._forget(at_s)
        if len(self._changes) <= PER_MINUTE:
            yield from self.let_go(now, words)
        elif at_s >= self._due_s:
            worst = max((kind for _, kind in self._changes), key=self._badness)
            yield from self._hold(at_s, worst)

    def let_go(self, now: Kind | None, words: str) -> Iterator[Said]:
        """Hold nothing back any more: it is `now`."""
        held, self._held = self._held, None
        if held and now and now is not held:
            yield from self._say(self._left_s, now, words)

    def blind(self) -> None:
        """Nobody looked for a while: whatever is seen next begins anew."""
        self._changes.clear()
        self._held = None

    def _hold(self, at_s: float, kind: Kind) -> Iterator[Said]:
        """Say `kind` in place of all changes of a minute: since it was last so, or since worse was left."""
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
        """Whatever changed more than a minute ago is no part of how often it changes."""
        while self._changes and self._changes[0][0] <= at_s - MINUTE_S:
            self._changes.popleft()
