"""The verdict for each set of facts, to the word: outcome, reasons, whether the rollback was verified."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.model.findings import Status
from chaosext.model.verdict import Outcome, Verdict
from chaosext.run.verdict.derive import Answer, Facts, derive

GOOD = Answer(status=Status.HEALTHY, reason="all is well")
BAD = Answer(status=Status.UNHEALTHY, reason="dns: dead; xds: lost")
DARK = Answer(status=Status.UNKNOWN, reason="nobody answers")
HELD = "the steady state held after the heal"
VERIFIED = "rollback verified: the steady state holds again"
NOT_ASSERTED = "rollback not verified: the steady state was not checked after it"
UNMOVED = "kube-dns did not move during the cut, so the effect of a longer cut was not tested"
ENDED_BADLY = "the steady state held after the heal, but not after the rollback"
WHOLE = {"gate": GOOD, "cut": GOOD, "after": GOOD, "rolled_back": GOOD, "missing": GOOD}
LOST = "the cut did not match its plan until it was healed: "
GONE = Answer(status=Status.UNHEALTHY, reason="Node/w is gone (1 of 9)")
NOT_KNOWN = "unknown whether everything from the baseline still exists: nobody answers"
CALMED = "confirmed gone at the end, but not by an activity: cp1"

CASES: dict[str, tuple[dict[str, Any], tuple[Outcome, tuple[str, ...], bool | None, int | None]]] = {
    "all well": ({}, (Outcome.PASSED, (HELD,), None, None)),
    "all of kube-dns moved": ({"moved": "all"}, (Outcome.PASSED, (HELD,), None, None)),
    "nothing moved": ({"moved": "none"}, (Outcome.PASSED, (HELD, UNMOVED), None, None)),
    "nothing cut, no gate, no rollback": (
        {"gate": None, "cut": None, "rolled_back": None},
        (Outcome.PASSED, (HELD,), None, None),
    ),
    "left behind": ({"left_behind": ("cp1",)}, (Outcome.UNSAFE, ("cp1",), None, None)),
    "left behind, by a signal": (
        {"left_behind": ("cp1",), "signal_number": 15, "feared": ("cp2",)},
        (Outcome.UNSAFE, ("cp1", "signal 15 ended the run"), None, None),
    ),
    "left behind, overdue": (
        {"left_behind": ("cp1",), "overdue": "p took 9 s"},
        (Outcome.UNSAFE, ("cp1", "p took 9 s"), None, None),
    ),
    "feared for, but gone": ({"feared": ("cp1",)}, (Outcome.PASSED, (HELD, CALMED), None, None)),
    "its cut was lost": (
        {"lost": ("all rules were removed on cp1", "cp2 was restarted"), "after": BAD, "rolled_back": None},
        (
            Outcome.INCONCLUSIVE,
            (f"{LOST}all rules were removed on cp1", f"{LOST}cp2 was restarted"),
            None,
            None,
        ),
    ),
    "its cut was lost, and the rollback failed": (
        {"lost": ("x",), "rollback_failures": ("y: z",), "rolled_back": BAD},
        (
            Outcome.INCONCLUSIVE,
            (f"{LOST}x", "rollback failed: y: z", "rollback not verified: dns: dead; xds: lost"),
            None,
            None,
        ),
    ),
    "its cut was lost, and the rollback raised": (
        {"lost": ("x",), "rollback_failures": ("y: z",), "rolled_back": None},
        (Outcome.INCONCLUSIVE, (f"{LOST}x", "rollback failed: y: z", NOT_ASSERTED), None, None),
    ),
    "its cut was lost, and the rollback ended badly": (
        {"lost": ("x",), "rolled_back": BAD},
        (Outcome.INCONCLUSIVE, (f"{LOST}x", "rollback not verified: dns: dead; xds: lost"), None, None),
    ),
    "its cut was lost, and a node is gone": (
        {"lost": ("x",), "missing": GONE, "rolled_back": None},
        (
            Outcome.INCONCLUSIVE,
            (f"{LOST}x", "missing since the baseline: Node/w is gone (1 of 9)"),
            None,
            None,
        ),
    ),
    "cut unknown, and a node is gone": (
        {"cut": DARK, "missing": GONE},
        (
            Outcome.INCONCLUSIVE,
            ("nobody answers", "missing since the baseline: Node/w is gone (1 of 9)"),
            None,
            None,
        ),
    ),
    "its cut was lost, and a signal came": (
        {"lost": ("x",), "signal_number": 15, "stopped": "p is true", "gate": BAD},
        (Outcome.INCONCLUSIVE, (f"{LOST}x", "signal 15 ended the run"), None, None),
    ),
    "its cut was lost, and may still be there": (
        {"lost": ("x",), "left_behind": ("cp1",)},
        (Outcome.UNSAFE, ("cp1",), None, None),
    ),
    "signal": (
        {"signal_number": 2, "overdue": "p took 9 s"},
        (Outcome.INTERRUPTED, ("signal 2 ended the run; the cut was healed",), None, 2),
    ),
    "signal before the cut": (
        {"signal_number": 2, "cut": None},
        (Outcome.INTERRUPTED, ("signal 2 ended the run; nothing had been cut",), None, 2),
    ),
    "overdue": (
        {"overdue": "p took 9 s"},
        (Outcome.INCONCLUSIVE, ("p took 9 s; the cut was healed",), None, None),
    ),
    "overdue before the cut": (
        {"overdue": "p took 9 s", "cut": None, "gate": BAD},
        (Outcome.INCONCLUSIVE, ("p took 9 s; nothing had been cut",), None, None),
    ),
    "overdue while no node was told to cut yet": (
        {"overdue": "p took 9 s", "armed": False},
        (Outcome.INCONCLUSIVE, ("p took 9 s; nothing had been cut",), None, None),
    ),
    "stopped, and rolled back": (
        {"stopped": "p is true", "overdue": "p took 9 s", "after": BAD},
        (Outcome.INTERRUPTED, ("p is true; the cut was healed", VERIFIED), True, None),
    ),
    "stopped, and rolled back in vain": (
        {"stopped": "p is true", "rolled_back": None},
        (Outcome.INTERRUPTED, ("p is true; the cut was healed", NOT_ASSERTED), False, None),
    ),
    "stopped before the cut": (
        {"stopped": "p is true", "cut": None},
        (Outcome.INTERRUPTED, ("p is true; nothing had been cut",), None, None),
    ),
    "stopped, then ended by a signal": (
        {"stopped": "p is true", "signal_number": 15},
        (Outcome.INTERRUPTED, ("signal 15 ended the run; the cut was healed",), None, 15),
    ),
    "left behind, stopped": (
        {"left_behind": ("cp1",), "stopped": "p is true"},
        (Outcome.UNSAFE, ("cp1", "p is true"), None, None),
    ),
    "gate not met": (
        {"gate": BAD, "refusals": ("no",)},
        (Outcome.REFUSED, ("steady state not met: dns: dead; xds: lost",), None, None),
    ),
    "gate unknown": (
        {"gate": DARK},
        (Outcome.REFUSED, ("steady state not met: nobody answers",), None, None),
    ),
    "refused": (
        {"refusals": ("no", "nor this"), "cut": DARK},
        (Outcome.REFUSED, ("no", "nor this"), None, None),
    ),
    "cut unknown": ({"cut": DARK, "after": BAD}, (Outcome.INCONCLUSIVE, ("nobody answers",), None, None)),
    "cut leaks": ({"cut": BAD}, (Outcome.INCONCLUSIVE, ("dns: dead; xds: lost",), None, None)),
    "an activity raised": ({"method_failures": ("p: x",)}, (Outcome.INCONCLUSIVE, ("p: x",), None, None)),
    "never asked": (
        {"after": None, "method_failures": ("p: x",)},
        (Outcome.INCONCLUSIVE, ("p: x", "the hypothesis was not checked after the method"), None, None),
    ),
    "not answered": ({"after": DARK}, (Outcome.INCONCLUSIVE, ("nobody answers",), None, None)),
    "deviated": ({"after": BAD}, (Outcome.DEVIATED, ("dns: dead", "xds: lost", VERIFIED), True, None)),
    "deviated, although something raised": (
        {"after": BAD, "method_failures": ("p: x",)},
        (Outcome.DEVIATED, ("dns: dead", "xds: lost", VERIFIED), True, None),
    ),
    "deviated, rollback not asserted": (
        {"after": BAD, "rolled_back": None},
        (Outcome.DEVIATED, ("dns: dead", "xds: lost", NOT_ASSERTED), False, None),
    ),
    "deviated, rollback in vain": (
        {"after": BAD, "rolled_back": DARK},
        (Outcome.DEVIATED, ("dns: dead", "xds: lost", "rollback not verified: nobody answers"), False, None),
    ),
    "deviated, rollback failed": (
        {"after": BAD, "rollback_failures": ("r: x",)},
        (Outcome.DEVIATED, ("dns: dead", "xds: lost", "rollback failed: r: x"), False, None),
    ),
    "rollback failed": (
        {"rollback_failures": ("r: x",)},
        (Outcome.DEVIATED, (ENDED_BADLY, "rollback failed: r: x"), False, None),
    ),
    "something is missing, though every check is green": (
        {"missing": GONE},
        (
            Outcome.DEVIATED,
            (
                "missing since the baseline: Node/w is gone (1 of 9)",
                "rollback not verified: Node/w is gone (1 of 9)",
            ),
            False,
            None,
        ),
    ),
    "deviated, and something is missing": (
        {"after": BAD, "missing": GONE},
        (
            Outcome.DEVIATED,
            ("dns: dead", "xds: lost", "rollback not verified: Node/w is gone (1 of 9)"),
            False,
            None,
        ),
    ),
    "deviated, and missing to the rollback's checks as well": (
        {"after": BAD, "rolled_back": GONE, "missing": GONE},
        (
            Outcome.DEVIATED,
            ("dns: dead", "xds: lost", "rollback not verified: Node/w is gone (1 of 9)"),
            False,
            None,
        ),
    ),
    "deviated, and what still stands is not known": (
        {"after": BAD, "missing": DARK},
        (Outcome.DEVIATED, ("dns: dead", "xds: lost", "rollback not verified: nobody answers"), False, None),
    ),
    "what still stands is not known": (
        {"missing": DARK, "method_failures": ("p: x",)},
        (Outcome.INCONCLUSIVE, ("p: x", NOT_KNOWN), None, None),
    ),
    "what still stands was not asked for": ({"missing": None}, (Outcome.PASSED, (HELD,), None, None)),
    "stopped, and something is missing": (
        {"stopped": "p is true", "missing": GONE},
        (
            Outcome.INTERRUPTED,
            ("p is true; the cut was healed", "rollback not verified: Node/w is gone (1 of 9)"),
            False,
            None,
        ),
    ),
    "rolled back into trouble": (
        {"rolled_back": BAD},
        (Outcome.DEVIATED, (ENDED_BADLY, "rollback not verified: dns: dead; xds: lost"), False, None),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_exactly_this(name: str) -> None:
    facts, (outcome, reasons, verified, number) = CASES[name]
    wanted = Verdict(outcome=outcome, reasons=reasons, rollback_verified=verified, signal_number=number)
    assert derive(Facts(**{**WHOLE, **facts})) == wanted


def test_without_any_fact_nothing_is_known() -> None:
    reasons = ("the hypothesis was not checked after the method",)
    assert derive(Facts()) == Verdict(outcome=Outcome.INCONCLUSIVE, reasons=reasons)
