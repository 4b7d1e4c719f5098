"""`settle` with a clock of our own: bounded, never content with a streak that is too short."""

from __future__ import annotations

from itertools import chain, repeat

from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.findings import Finding, Status
from chaosext.run.monitor.wait_steady import Settling, settle

INTERVAL_S = 2.0
LONGEST_QUESTION_S = 5.0

seconds = st.floats(0, 60).map(lambda value: round(value, 1))
questions = st.tuples(st.sampled_from(Status), st.floats(0, LONGEST_QUESTION_S))


class World:
    """A clock that only questions and sleeps move; answers as scripted, the last of them for ever."""

    def __init__(self, script: list[tuple[Status, float]]) -> None:
        self.now_s = 0.0
        self.answers: list[tuple[float, float, Status]] = []
        self._script = chain(script, repeat(script[-1]))

    def ask(self) -> list[Finding]:
        asked_s = self.now_s
        status, took_s = next(self._script)
        self.now_s += took_s
        self.answers.append((asked_s, self.now_s, status))
        return [Finding(check="dns_resolvable", status=status, summary=status.value)]

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s

    def settle(self, settle_s: float, dwell_s: float) -> Settling:
        return settle(
            self.ask,
            settle_s=settle_s,
            dwell_s=dwell_s,
            interval_s=INTERVAL_S,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )


@given(st.lists(questions, min_size=1, max_size=40), seconds, seconds)
def test_settling_is_bounded(script: list[tuple[Status, float]], settle_s: float, dwell_s: float) -> None:
    world = World(script)
    world.settle(settle_s, dwell_s)
    turn_s = INTERVAL_S + LONGEST_QUESTION_S
    assert world.now_s <= settle_s + dwell_s + 3 * turn_s


@given(st.lists(questions, min_size=1, max_size=40), seconds, seconds)
def test_what_held_was_healthy_on_end(
    script: list[tuple[Status, float]], settle_s: float, dwell_s: float
) -> None:
    world = World(script)
    found = world.settle(settle_s, dwell_s)
    assert found.held == (found.finding.status is Status.HEALTHY) == (found.settled_after_s is not None)
    if found.settled_after_s is not None:
        streak = [answer for answer in world.answers if answer[0] >= found.settled_after_s]
        assert {status for _, _, status in streak} == {Status.HEALTHY}
        assert found.dwelt_s == streak[-1][1] - streak[0][0] >= dwell_s
        before = [answer for answer in world.answers if answer[0] < found.settled_after_s]
        assert not before or before[-1][2] is not Status.HEALTHY


@given(questions)
def test_without_time_to_settle_it_is_one_question(question: tuple[Status, float]) -> None:
    world = World([question])
    found = world.settle(0, 0)
    assert len(world.answers) == 1
    assert found.held == (question[0] is Status.HEALTHY)


@given(st.lists(questions, min_size=1, max_size=40), seconds, seconds)
def test_a_failure_says_what_is_wrong(
    script: list[tuple[Status, float]], settle_s: float, dwell_s: float
) -> None:
    found = World(script).settle(settle_s, dwell_s)
    wrong = ("dns_resolvable: un", "none of the checks is applicable")
    assert found.finding.summary.startswith("steady after" if found.held else wrong)


def test_nothing_asked_is_nothing_known() -> None:
    found = settle(list, settle_s=0, dwell_s=0)
    assert (found.held, found.finding.status) == (False, Status.UNKNOWN)
