"""What is fuzzed: how a malformed input is drawn, what it is fed to, and which errors are an answer to it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import ChaosextError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`share`: how much of all inputs is this subject's. `feed` raises `allowed`; AssertionError: a broken promise."""

    name: str
    share: int
    draw: Callable[[Random], Any]
    feed: Callable[[Any], object]
    allowed: tuple[type[ChaosextError], ...] = (Refused,)


def try_one(subject: Subject, seed: str) -> str:
    """Draw an input by `seed` and feed it: what is wrong with how it ended, or ""."""
    drawn = subject.draw(Random(f"{subject.name}/{seed}"))
    try:
        subject.feed(drawn)
    except subject.allowed as error:
        return "" if error.message else _told(subject, seed, drawn, "an error without a message")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {str(error)[:200]} ({where.name}, line {where.lineno})"
        return _told(subject, seed, drawn, said)
    return ""


def _told(subject: Subject, seed: str, drawn: object, what: str) -> str:
    return f"{subject.name}/{seed}: {what}; given {repr(drawn)[:300]}"


def replay(every: Sequence[Subject], named: str) -> dict[str, Any]:
    """The input `named` (SUBJECT/SEED) once more, with its traceback where it raises what it must not."""
    name, _, seed = named.partition("/")
    subject = next(each for each in every if each.name == name)
    drawn = subject.draw(Random(f"{name}/{seed}"))
    print(repr(drawn)[:4000])
    try:
        subject.feed(drawn)
    except subject.allowed as error:
        return {"raised": f"{type(error).__name__}: {error}"}
    return {"raised": ""}


def shares(subjects: tuple[Subject, ...], count: int) -> list[tuple[Subject, int]]:
    """How many of `count` inputs each subject gets; each gets one at least."""
    total = sum(subject.share for subject in subjects)
    return [(subject, max(1, round(count * subject.share / total))) for subject in subjects]
