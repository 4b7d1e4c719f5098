"""From a Chaos Toolkit journal to the facts that a verdict is derived from. Pure: a journal is a JSON value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from chaosext.experiment.activity_names import CUT_EFFECTIVE, HEAL, KUBE_DNS_MOVED, SEVER, STEADY_STATE
from chaosext.experiment.journal_redaction import FAILED, RAISED
from chaosext.model.errors import ChaosextError, Refused, Unsafe
from chaosext.model.findings import Status, worst
from chaosext.model.result import ForeignRules, Ruling, VerdictRule
from chaosext.partition.foreign_rules import Author, changes
from chaosext.run.verdict.derive import Answer, Facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


CUT_SHORT = ("aborted", "interrupted")
"""The statuses of a journal (chaoslib/run.py) that is incomplete."""

ABORT_REASON = "abort_reason"
"""chaosext's own key in a journal: why the strict run aborted it."""

Run = Mapping[str, Any]  # one executed activity, as chaoslib writes it


def facts_of(
    journal: Mapping[str, Any],
    *,
    left_behind: Sequence[str] | None = None,
    signal_number: int | None = None,
    overdue: str = "",
    stopped: str = "",
) -> Facts:
    """The facts of a finished (or interrupted) run.

    `left_behind`, `signal_number`, `overdue` and `stopped` come from the runner itself; a journal does not have them.
    A check at the end (`left_behind` is not None) overrules what an activity feared before.
    """
    states = _mapping(journal.get("steady_states"))
    method, rollbacks = _runs(journal.get("run")), _runs(journal.get("rollbacks"))
    feared = raised((*method, *rollbacks), Unsafe)
    return Facts(
        gate=_hypothesis(states.get("before")),
        cut=_cut(method),
        after=_worse(_settled(method), _hypothesis(states.get("after"))),
        rolled_back=_rolled_back(rollbacks),
        refusals=_refusals(method),
        moved=_moved(method),
        method_failures=(*(_failure(run) for run in method if _failed(run)), *_cut_short(journal)),
        rollback_failures=tuple(_failure(run) for run in rollbacks if _failed(run)),
        left_behind=feared if left_behind is None else tuple(left_behind),
        feared=() if left_behind is None else feared,
        signal_number=signal_number,
        overdue=overdue,
        stopped=stopped,
    )


def _cut_short(journal: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the journal is incomplete: what is missing in it proves nothing."""
    if journal.get("status") not in CUT_SHORT:
        return ()
    return (str(journal.get(ABORT_REASON) or f"the experiment was {journal['status']} early"),)


def _refusals(method: Sequence[Run]) -> tuple[str, ...]:
    """Why the method was refused. Once any action did something else, the run is not a mere refusal."""
    actions = [run for run in method if _activity(run).get("type") == "action"]
    if any(not raised([run], Refused) for run in actions):
        return ()
    return raised(method, Refused)


def _hypothesis(state: Any) -> Answer | None:
    if not isinstance(state, Mapping):
        return None
    if state.get("steady_state_met"):
        return Answer(status=Status.HEALTHY, reason="every probe of the hypothesis is within tolerance")
    return _worst_answer(
        [_out_of_tolerance(run) for run in _runs(state.get("probes")) if not run.get("tolerance_met")]
    ) or Answer(status=Status.UNKNOWN, reason="the hypothesis has no result")


def _out_of_tolerance(run: Run) -> Answer:
    finding = _finding(run)
    if finding is not None and finding.status is Status.NOT_APPLICABLE:
        why = f"{_name(run)}: {finding.reason} (accept it with `tolerance: [healthy, not applicable]`)"
        return Answer(status=Status.UNKNOWN, reason=why)
    if finding is not None and finding.status is not Status.HEALTHY:
        return finding
    if _failed(run):
        return Answer(status=Status.UNKNOWN, reason=_failure(run))
    return Answer(status=Status.UNHEALTHY, reason=f"{_name(run)}: {run.get('output')!r} is out of tolerance")


def _cut(method: Sequence[Run]) -> Answer | None:
    """Whether the cut was verified: by the action that made it, and by every probe before the heal.

    An action with `prove: false` leaves that to the probes.
    """
    severed = [run for run in method if _func(run) == SEVER]
    if not severed:
        return None
    looked = [run for run in _before(method, HEAL) if _func(run) == CUT_EFFECTIVE]
    asked = [run for run in (*severed, *looked) if _failed(run) or _finding(run)]
    return _worst_answer([_proof(run) for run in asked]) or Answer(
        status=Status.UNKNOWN, reason="no activity verified the cut"
    )


def _proof(run: Run) -> Answer:
    finding = _finding(run)
    if _failed(run) or finding is None:
        return Answer(status=Status.UNKNOWN, reason=_failure(run))
    return finding


def _moved(method: Sequence[Run]) -> str | None:
    """How much of kube-dns was moved, by the last probe that waited for it."""
    outputs = [run.get("output") for run in method if _func(run) == KUBE_DNS_MOVED]
    last = outputs[-1] if outputs else None
    return str(last["moved"]) if isinstance(last, Mapping) and "moved" in last else None


def _settled(method: Sequence[Run]) -> Answer | None:
    """The last `steady_state` after the heal: it waits, dwells, and runs every check."""
    healed = [index for index, run in enumerate(method) if _func(run) == HEAL]
    asked = [run for run in method[max(healed, default=-1) + 1 :] if _func(run) == STEADY_STATE]
    return _worst_answer([_proof(asked[-1])]) if asked else None


def _rolled_back(rollbacks: Sequence[Run]) -> Answer | None:
    """What the probes after the last rollback action found; None if none of them was the whole steady state."""
    actions = [index for index, run in enumerate(rollbacks) if _activity(run).get("type") == "action"]
    after = rollbacks[max(actions, default=-1) + 1 :]
    if not any(_func(run) == STEADY_STATE for run in after):
        return None
    return _worst_answer([_proof(run) for run in after if _finding(run) or _failed(run)])


def _before(runs: Sequence[Run], func: str) -> Sequence[Run]:
    return tuple(takewhile(lambda run: _func(run) != func, runs))


def _worst_answer(answers: Iterable[Answer | None]) -> Answer | None:
    given = [answer for answer in answers if answer is not None]
    if not given:
        return None
    status = worst(answer.status for answer in given)
    reasons = dict.fromkeys(answer.reason for answer in given if answer.status is status)
    if status is Status.NOT_APPLICABLE:  # nothing that applies was asked, so nothing is known
        status = Status.UNKNOWN
    return Answer(status=status, reason="; ".join(reasons))


def _worse(first: Answer | None, second: Answer | None) -> Answer | None:
    """The worse of two answers to the same question; the first if both are equal."""
    if first is None or second is None:
        return first or second
    return first if first.status is worst((first.status, second.status)) else second


def _finding(run: Run) -> Answer | None:
    """The finding that an activity returned (or carries under `finding`); None if it returned none."""
    output = run.get("output")
    if isinstance(output, Mapping):
        output = output.get("finding", output)
    status = output.get("status") if isinstance(output, Mapping) else None
    if not isinstance(output, Mapping) or status not in tuple(Status):
        return None
    return Answer(status=Status(status), reason=str(output.get("summary", _name(run))))


def raised(runs: Sequence[Run], error: type[ChaosextError]) -> tuple[str, ...]:
    """Return the messages of the activities that raised exactly `error`."""
    said = [_mapping(run.get(RAISED)) for run in runs if _failed(run)]
    return tuple(str(each.get("message", "")) for each in said if each.get("error") == error.__name__)


def _failed(run: Run) -> bool:
    return run.get("status") != "succeeded"


def _failure(run: Run) -> str:
    said = _mapping(run.get(RAISED)).get("message") or _last_line(run).removeprefix(FAILED) or "no result"
    return f"{_name(run)}: {said}"


def _last_line(run: Run) -> str:
    """The last line of the exception, by `traceback.format_exception`; "" for none."""
    lines = run.get("exception")
    return str(lines[-1]).strip() if isinstance(lines, list) and lines else ""


def _name(run: Run) -> str:
    return str(_activity(run).get("name", "activity"))


def _func(run: Run) -> str:
    provider = _mapping(_activity(run).get("provider"))
    module, func = str(provider.get("module")), str(provider.get("func"))
    return func if module.startswith("chaosext.") else f"{module}.{func}"


def _activity(run: Run) -> Mapping[str, Any]:
    return _mapping(run.get("activity"))


def _runs(value: Any) -> tuple[Run, ...]:
    """Each member, of any type: one that is not a mapping has no `status`, and so counts as failed."""
    if value is None:
        return ()
    return tuple(_mapping(run) for run in (value if isinstance(value, list) else [value]))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def rulings(facts: Facts) -> tuple[Ruling, ...]:
    """One ruling for each rule, in order."""
    return (
        _asked(VerdictRule.GATE, facts.gate, "the steady state was not checked before the cut"),
        _cut_ruling(facts),
        _asked(VerdictRule.AFTER, facts.after, "the steady state was not checked after the heal"),
        _rollback(facts),
        _asked(VerdictRule.COMPLETE, facts.missing, "the baseline's objects were not checked at the end"),
        _clean(facts),
    )


def _cut_ruling(facts: Facts) -> Ruling:
    """A cut that was verified when it was made, but did not last, proves nothing."""
    if facts.lost:
        return Ruling(rule=VerdictRule.CUT, status=Status.UNKNOWN, reason="; ".join(facts.lost))
    return _asked(VerdictRule.CUT, facts.cut, "nothing was cut")


def _asked(rule: VerdictRule, answer: Answer | None, otherwise: str) -> Ruling:
    if answer is None:
        return Ruling(rule=rule, status=None, reason=otherwise)
    return Ruling(rule=rule, status=answer.status, reason=answer.reason)


def _rollback(facts: Facts) -> Ruling:
    """A rollback that was needed, without a check after it, is not verified."""
    if facts.rollback_failures:
        reason = "; ".join(facts.rollback_failures)
        return Ruling(rule=VerdictRule.ROLLBACK, status=Status.UNHEALTHY, reason=reason)
    ruling = _asked(
        VerdictRule.ROLLBACK, facts.rolled_back, "the steady state was not checked after a rollback"
    )
    needed = facts.after is not None and facts.after.status is Status.UNHEALTHY
    if ruling.status is None and needed:
        return Ruling(rule=VerdictRule.ROLLBACK, status=Status.UNKNOWN, reason=ruling.reason)
    return ruling


def _clean(facts: Facts) -> Ruling:
    if facts.left_behind:
        return Ruling(rule=VerdictRule.CLEAN, status=Status.UNHEALTHY, reason="; ".join(facts.left_behind))
    seen = "nothing was changed" if facts.cut is None else "the cut is gone on every node"
    return Ruling(rule=VerdictRule.CLEAN, status=Status.HEALTHY, reason=seen)


MOST_LINES = 20
LONGEST_LINE = 300
"""Most lines of changes by unknown authors; further changes are counted."""


def foreign_rules(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> ForeignRules | None:
    """Compare the nodes' listings, node by node; None if nothing was listed before.

    A listing is the output of `nft -s list ruleset`, or None if the node did not answer in time.
    """
    if not before:
        return None
    changed_by: Counter[str] = Counter()
    unattributed: list[str] = []
    unknown = []
    for node, listing in sorted(before.items()):
        later = after.get(node)
        if listing is None or later is None:
            unknown.append(node)
            continue
        for change in changes(listing, later):
            if change.author is Author.UNKNOWN:
                unattributed.append(f"{node}: {change}")
            else:
                changed_by[change.author.value] += change.lines
    return ForeignRules(
        changed_by=dict(changed_by), unattributed=_shortened(unattributed), not_compared=tuple(unknown)
    )


def _shortened(lines: list[str]) -> tuple[str, ...]:
    shown = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …" for line in lines[:MOST_LINES]]
    more = len(lines) - len(shown)
    return (*shown, f"and in {more} more places") if more else tuple(shown)
