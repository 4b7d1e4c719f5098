"""On a production cluster only an experiment that was approved for it may cut or delete anything."""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.experiment.activity_names import SEVER
from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.load import activities, calls, is_ours
from chaosext.experiment.values import BY_HAND, dynamic
from chaosext.model.errors import Refused
from chaosext.model.redact import veiled
from chaosext.run.session.connection import why_production
from chaosext.run.session.run_context import Key
from chaosext.safety.approvals import approval_digest, read_words, require_approval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from chaosext.cluster.client import Cluster
    from chaosext.experiment.load import Experiment
    from chaosext.experiment.resolve import Resolved
    from chaosext.safety.approvals import Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What a run is going to do: its digest (safety/approvals.py), every cut in it, and the command that approves it.

    The command lacks its context. `dynamic`: the places of values that need something to run, and that no digest
    covers.
    """

    sha256: str
    cuts: tuple[CutRequest, ...]
    command: str
    dynamic: tuple[str, ...] = ()

    def require_approvable(self) -> None:
        """Raise `Refused` if an approval can't cover what is done: it covers fixed values only."""
        if self.dynamic:
            raise Refused(
                f"{', '.join(self.dynamic)}: such a value is known only at run time, so no approval covers it",
                BY_HAND,
            )


INTENDED: Key[Intended | None] = Key(lambda: None)
"""What the run is about to do; None if unknown."""


def intended(resolved: Resolved, source: str = "EXPERIMENT") -> Intended:
    """As `intended_of`, for an experiment that is already resolved; `source` is its file."""
    return intended_of(
        resolved.experiment, resolved.configuration, resolved.secrets, resolved.source or source
    )


def intended_of(
    experiment: Experiment,
    configuration: Mapping[str, Any],
    secrets: Mapping[str, Any],
    source: str = "EXPERIMENT",
) -> Intended:
    """What `experiment` does with these values. Raises `Refused` for a cut with invalid arguments."""
    words = ["chaosext", "approve", *([shlex.quote(source)] if source != "EXPERIMENT" else [source])]
    return Intended(
        sha256=approval_digest(
            experiment, configuration, tuple(_confided(experiment, configuration, secrets))
        ),
        cuts=tuple(_cuts(experiment, configuration, secrets)),
        command=" ".join([*_variables(experiment), *words]),
        dynamic=tuple(f"configuration.{name}" for name in dynamic(experiment)),
    )


def require_approved(cluster: Cluster, what: Intended | None, *wishes: CutRequest) -> Word | None:
    """The approval of `what` if the cluster is production; None if it is not, and none is needed.

    Raises `Refused`, with the digest and the command that approves it; also if the experiment is unknown (None). On any
    cluster a cut request that is not in `what` is refused: only planned cuts are made.
    """
    if what is not None and any(wish not in what.cuts for wish in wishes):
        raise Refused("this cut is not in the experiment", "add it to the experiment with its final values")
    why = why_production(cluster)
    if not why:
        return None
    only = f"{why}, where only approved experiments may act"
    if what is None:
        raise Refused(
            f"{only}, and this experiment is unknown",
            "use `chaosext run`, or add the control chaosext.controls to the experiment",
        )
    with refused_where(only):
        what.require_approvable()
    now, uid = datetime.now(UTC), cluster.namespace_uid("kube-system")
    try:
        return require_approval(read_words(), sha256=what.sha256, cluster_uid=uid, now=now)
    except Refused as error:
        fix = error.fix or f"a person who may approve it runs `{what.command} --context {cluster.context}`"
        raise Refused(f"{only}: {error.message}", fix) from None


@contextmanager
def refused_where(place: str) -> Iterator[None]:
    """Add the place to a refusal."""
    try:
        yield
    except Refused as error:
        raise Refused(f"{place}: {error.message}", error.fix) from None


def approval_sha256(word: Word | None) -> str:
    """The audit log's text of an approval; "" if none was needed."""
    return word.sha256 if word else ""


def refused_without_approval(cluster: Cluster, what: Intended) -> Iterator[str]:
    """A line if a run would be refused now, for a look before the approval."""
    try:
        require_approved(cluster, what)
    except Refused as error:
        yield f"a run would be refused now: {error}"


def _cuts(
    experiment: Experiment, configuration: Mapping[str, Any], secrets: Mapping[str, Any]
) -> Iterable[CutRequest]:
    from chaoslib import substitute

    for _, activity in calls(experiment, SEVER):
        given = activity["provider"].get("arguments", {})
        yield CutRequest.from_arguments(substitute(given, configuration, secrets))


def _confided(
    experiment: Experiment, configuration: Mapping[str, Any], secrets: Mapping[str, Any]
) -> Iterator[Any]:
    """The arguments of chaosext's own activities that depend on secrets, which are otherwise in no digest."""
    from chaoslib import substitute

    for _, activity in activities(experiment):
        given = (activity.get("provider") or {}).get("arguments")
        looked_up = substitute(given, configuration, secrets)
        if is_ours(activity) and looked_up != substitute(given, configuration, None):
            yield looked_up


def _variables(experiment: Experiment) -> Iterator[str]:
    """The environment that the digest depends on, as shell assignments, without secrets."""
    for value in (experiment.get("configuration") or {}).values():
        name = value.get("key") if isinstance(value, dict) and value.get("type") == "env" else None
        said = os.environ.get(str(name), "")
        if said and veiled(said) == said:
            yield f"{name}={shlex.quote(said)}"
