"""From a Chaos Toolkit journal to the facts that a verdict is derived from. Pure: a journal is a JSON value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chaosext.model.errors import ChaosextError, Refused, Unsafe
from chaosext.model.finding import Status, worst
from chaosext.run.verdict import Answer, Facts

SEVER = "sever_control_plane"
HEAL = "heal_control_plane"
STEADY_STATE = "steady_state"
CUT_EFFECTIVE = "cut_effective"

Run = Mapping[str, Any]  # one executed activity, as chaoslib writes it


def facts_of(
    journal: Mapping[str, Any], *, left_behind: Sequence[str] = (), signal_number: int | None = None
) -> Facts:
    """The facts of a finished (or interrupted) run.

    `left_behind` and `signal_number` are what the runner itself saw; a journal cannot know them.
    """
    states, method, rollbacks = (
        journal.get("steady_states", {}),
        journal.get("run", []),
        journal.get("rollbacks", []),
    )
    return Facts(
        gate=_hypothesis(states.get("before")),
        cut=_cut(method),
        after=_worst_answer([_hypothesis(states.get("after")), _settled(method)]),
        rolled_back=_rolled_back(rollbacks),
        refusals=_raised(method, Refused),
        method_failures=tuple(_failure(run) for run in method if _failed(run)),
        rollback_failures=tuple(_failure(run) for run in rollbacks if _failed(run)),
        left_behind=(*_raised((*method, *rollbacks), Unsafe), *left_behind),
        signal_number=signal_number,
    )


def _hypothesis(state: Mapping[str, Any] | None) -> Answer | None:
    if state is None:
        return None
    if state.get("steady_state_met"):
        return Answer(status=Status.HEALTHY, reason="every probe of the hypothesis is within its tolerance")
    return _worst_answer(
        [_out_of_tolerance(run) for run in state.get("probes", []) if not run.get("tolerance_met")]
    ) or Answer(status=Status.UNKNOWN, reason="the hypothesis ended without an answer")


def _out_of_tolerance(run: Run) -> Answer:
    finding = _finding(run)
    if finding is not None and finding.status is not Status.HEALTHY:
        return finding
    if _failed(run):
        return Answer(status=Status.UNKNOWN, reason=_failure(run))
    return Answer(status=Status.UNHEALTHY, reason=f"{_name(run)}: {run.get('output')!r} is out of tolerance")


def _cut(method: Sequence[Run]) -> Answer | None:
    """Was the cut proven: by the action that made it, and by every probe that looked before the heal."""
    severed = [run for run in method if _func(run) == SEVER]
    if not severed:
        return None
    looked = [run for run in _before(method, HEAL) if _func(run) == CUT_EFFECTIVE]
    return _worst_answer([_proof(run) for run in (*severed, *looked)])


def _proof(run: Run) -> Answer:
    finding = _finding(run)
    if _failed(run) or finding is None:
        return Answer(status=Status.UNKNOWN, reason=_failure(run))
    return finding


def _settled(method: Sequence[Run]) -> Answer | None:
    """The last `steady_state` after the heal: it has waited and dwelt, and asked every check."""
    asked = [run for run in _after_last(method, {HEAL}) if _func(run) == STEADY_STATE]
    return _proof(asked[-1]) if asked else None


def _rolled_back(rollbacks: Sequence[Run]) -> Answer | None:
    """What the probes after the last rollback action found; None where nobody asked."""
    actions = {_func(run) for run in rollbacks if run["activity"].get("type") == "action"}
    asked = [run for run in _after_last(rollbacks, actions) if _finding(run) or _failed(run)]
    return _worst_answer([_proof(run) for run in asked])


def _before(runs: Sequence[Run], func: str) -> Sequence[Run]:
    end = next((index for index, run in enumerate(runs) if _func(run) == func), len(runs))
    return runs[:end]


def _after_last(runs: Sequence[Run], funcs: Iterable[str]) -> Sequence[Run]:
    last = max((index for index, run in enumerate(runs) if _func(run) in set(funcs)), default=-1)
    return runs[last + 1 :]


def _worst_answer(answers: Iterable[Answer | None]) -> Answer | None:
    given = [answer for answer in answers if answer is not None]
    if not given:
        return None
    status = worst(answer.status for answer in given)
    reasons = dict.fromkeys(answer.reason for answer in given if answer.status is status)
    return Answer(status=status, reason="; ".join(reasons))


def _finding(run: Run) -> Answer | None:
    """The finding that an activity returned (or carries under `finding`); None where it returned none."""
    output = run.get("output")
    if isinstance(output, Mapping):
        output = output.get("finding", output)
    if not isinstance(output, Mapping) or output.get("status") not in set(Status):
        return None
    return Answer(status=Status(output["status"]), reason=str(output.get("summary", _name(run))))


def _raised(runs: Sequence[Run], error: type[ChaosextError]) -> tuple[str, ...]:
    """The messages of the activities that raised `error`; chaoslib keeps its name in front of the message."""
    prefix = f"{error.__module__}.{error.__qualname__}: "
    failures = [str((run.get("exception") or [""])[-1]).strip() for run in runs if _failed(run)]
    return tuple(text.partition(prefix)[2] for text in failures if prefix in text)


def _failed(run: Run) -> bool:
    return run.get("status") != "succeeded"


def _failure(run: Run) -> str:
    lines = run.get("exception") or ["no answer"]
    return f"{_name(run)}: {str(lines[-1]).strip().removeprefix('chaoslib.exceptions.ActivityFailed: ')}"


def _name(run: Run) -> str:
    return str(run["activity"].get("name", "activity"))


def _func(run: Run) -> str:
    provider = run["activity"].get("provider", {})
    module, func = str(provider.get("module", "")), str(provider.get("func", ""))
    return func if module.startswith("chaosext") else f"{module}.{func}"
