"""Nothing is cut or deleted on a cluster marked production but by an experiment that was approved for it."""

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
from chaosext.safety.approvals import approval_digest, read_words, require_approval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from chaosext.cluster.client import Cluster
    from chaosext.experiment.load import Experiment
    from chaosext.experiment.resolve import Resolved
    from chaosext.safety.approvals import Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What a run is about to play: its digest (safety/approval.py), every cut in it, and the command that approves it.

    The command lacks its context. `dynamic`: the places of values that something has to run for, and that no digest
    covers.
    """

    sha256: str
    cuts: tuple[CutRequest, ...]
    command: str
    dynamic: tuple[str, ...] = ()

    def require_approvable(self) -> None:
        """Raise `Refused` where an approval would not say what is done: it stands for values, and none may change."""
        if self.dynamic:
            raise Refused(
                f"{', '.join(self.dynamic)}: such a value is known only once something was run, so that no approval "
                "covers it",
                BY_HAND,
            )


def intended(resolved: Resolved, source: str = "EXPERIMENT") -> Intended:
    """As `intended_of`, of an experiment that is looked up already; `source` is the file that it is from."""
    return intended_of(
        resolved.experiment, resolved.configuration, resolved.secrets, resolved.source or source
    )


def intended_of(
    experiment: Experiment,
    configuration: Mapping[str, Any],
    secrets: Mapping[str, Any],
    source: str = "EXPERIMENT",
) -> Intended:
    """What `experiment` does with these values. Raises `Refused` for a cut whose arguments are none."""
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
    """The approval of `what` where the cluster is production; None where it is not, and none is needed.

    Raises `Refused`, with the digest and the command that approves it; and where nobody knows what is played (None). On
    any cluster a wish that is no cut of `what` is refused: what is planned is what is cut.
    """
    if what is not None and any(wish not in what.cuts for wish in wishes):
        raise Refused(
            "this cut is none of the experiment's own", "write it into the experiment as it is to be"
        )
    why = why_production(cluster)
    if not why:
        return None
    only = f"{why}, where only approved experiments may act"
    if what is None:
        raise Refused(
            f"{only}, and which experiment this is is not known",
            "use `chaosext run`, or name the control chaosext.controls in the experiment",
        )
    with refused_where(only):
        what.require_approvable()
    now, uid = datetime.now(UTC), cluster.namespace_uid("kube-system")
    try:
        return require_approval(read_words(), sha256=what.sha256, cluster_uid=uid, now=now)
    except Refused as error:
        fix = error.fix or f"whoever may: `{what.command} --context {cluster.context}`"
        raise Refused(f"{only}: {error.message}", fix) from None


@contextmanager
def refused_where(place: str) -> Iterator[None]:
    """Say of what a refusal follows."""
    try:
        yield
    except Refused as error:
        raise Refused(f"{place}: {error.message}", error.fix) from None


def approval_sha256(word: Word | None) -> str:
    """What the audit log says of an approval; "" where none was needed."""
    return word.sha256 if word else ""


def refused_without_approval(cluster: Cluster, what: Intended) -> Iterator[str]:
    """A line where a run would be refused now, for who looks before it is approved."""
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
    """The arguments of chaosext's own activities that secrets have a say in, which are otherwise in no digest."""
    from chaoslib import substitute

    for _, activity in activities(experiment):
        given = (activity.get("provider") or {}).get("arguments")
        looked_up = substitute(given, configuration, secrets)
        if is_ours(activity) and looked_up != substitute(given, configuration, None):
            yield looked_up


def _variables(experiment: Experiment) -> Iterator[str]:
    """The environment that the digest depends on, as a shell takes it; what is secret is not said."""
    for value in (experiment.get("configuration") or {}).values():
        name = value.get("key") if isinstance(value, dict) and value.get("type") == "env" else None
        said = os.environ.get(str(name), "")
        if said and veiled(said) == said:
            yield f"{name}={shlex.quote(said)}"
