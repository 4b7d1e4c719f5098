"""A game day from its beginning to its end: checks, sweep, run. Its outcome is a value, whatever happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.cluster.client import Cluster, NotFound
from chaosext.gameday.announcing import announce
from chaosext.gameday.experiment import agents_of, effective
from chaosext.gameday.manifests import EXPERIMENT_FILE
from chaosext.gameday.permissions import require_confined, require_rights
from chaosext.gameday.record import Record, facts_of
from chaosext.gameday.rights import rights
from chaosext.gameday.running import Ran, run_experiment
from chaosext.gameday.seat import pin_meant, require_meant
from chaosext.gameday.sweeping import sweep_earlier
from chaosext.model.errors import ChaosextError, Refused, Unsafe
from chaosext.model.files import write_whole
from chaosext.model.run_id import RunId
from chaosext.model.verdict import Outcome
from chaosext.run.reach import observed_pin
from chaosext.run.reading.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.gameday.announcing import Subject
    from chaosext.gameday.running import Told
    from chaosext.gameday.sending import Addresses
    from chaosext.gameday.settings import Settings
    from chaosext.run.reading.experiment import Experiment
    from chaosext.run.reading.resolve import Resolved
    from chaosext.run.reading.settings import Settings as RunSettings

OUTCOMES = {
    Refused.exit_code: Outcome.REFUSED,
    Unsafe.exit_code: Outcome.UNSAFE,
    ChaosextError.exit_code: Outcome.INCONCLUSIVE,
}
"""Exit code of an error of ours -> what a game day that ended with it came to."""


@dataclass(slots=True, kw_only=True)
class GameDay:
    """One game day. `beside`: the settings' directory; `say` tells a line to whoever reads the Pod's log.

    `in_pod`: the cluster is pinned as the settings say; by hand it is pinned, or not, by whoever does it.
    """

    settings: Settings
    beside: Path
    results: Path
    subject: Subject
    addresses: Addresses
    told: Told
    say: Callable[[str], None]
    in_pod: bool = False
    cluster: Cluster | None = None
    swept: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def play(self) -> Record:
        """All of it. Whatever is refused, or goes wrong in a way of ours, is an outcome as well."""
        began_at = datetime.now(UTC)
        try:
            resolved = self.check()
            self.sweep(resolved.settings)
            return self._record(began_at, self._run(resolved))
        except ChaosextError as error:
            verdict = OUTCOMES[error.exit_code].value
            ended = Ran(exit_code=error.exit_code, result={"verdict": verdict, "reasons": [str(error)]})
            return self._record(began_at, ended)

    def check(self) -> Resolved:
        """Refuse whatever can be refused without a run, nothing being touched: the experiment that is to be run."""
        self.cluster = Cluster.connect(self.settings.cluster.context)
        require_rights(self.cluster, rights(self.settings.name, self.settings.namespace))
        (pin_meant if self.in_pod else require_meant)(self.settings.cluster, observed_pin(self.cluster))
        self._require_not_suspended(self.cluster)
        self.addresses.read()
        experiment = effective(self.settings, self.beside)
        if self.in_pod:
            require_confined(self.cluster, self.settings.name, agents_of(self.settings, experiment))
        return resolve(experiment, context=self.settings.cluster.context)

    def sweep(self, way_in: RunSettings) -> None:
        """Take away what earlier runs left, and say so. Raises `Unsafe` where something of theirs may still cut."""
        found = sweep_earlier(way_in.context, way_in.way)
        self.swept += found.done
        self.problems += found.problems
        for line in (*found.done, *found.problems):
            self.say(line)
        if found.done:
            self.announce("EarlierRunSwept", "; ".join(found.done), warning=True)
        found.require_clear()

    def announce(self, reason: str, note: str, *, warning: bool = False) -> None:
        """An Event on the Job; what keeps it from being made is told with the outcome."""
        if self.cluster is None:
            return
        if problem := announce(self.cluster, self.subject, reason, note, warning=warning):
            self.problems.append(problem)

    def _require_not_suspended(self, cluster: Cluster) -> None:
        """The switch is in the settings, or thrown with `kubectl patch cronjob`; a Job made by hand heeds both."""
        name, namespace = self.settings.name, self.settings.namespace
        try:
            found = cluster.request("GET", f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{name}")
        except NotFound:
            found = {}
        if self.settings.suspend or (found.get("spec") or {}).get("suspend"):
            raise Refused(
                f"suspend: game day {namespace}/{name} is suspended",
                "set suspend to false in the settings, and apply what `chaosext schedule` writes of them",
            )

    def _run(self, resolved: Resolved) -> Ran:
        """Run it; should its process be gone without a word, what it left is swept at once."""
        path = self.results / EXPERIMENT_FILE
        _write(path, resolved.experiment)
        self.announce("GameDayBegins", f"{resolved.experiment['title']} on {resolved.settings.context}")
        expected = ["--expect", self.settings.expect] if self.settings.expect else []
        ran = run_experiment(path, ["--context", resolved.settings.context, *expected], self.told)
        if not ran.was_killed:
            return ran
        self.say(f"the run ended without a result, with {ran.exit_code}: sweeping what it may have left")
        self.sweep(resolved.settings)
        reason = f"the run's process ended without a result ({ran.exit_code}); what it left was swept"
        killed = {"verdict": Outcome.INCONCLUSIVE.value, "reasons": [reason]}
        return Ran(exit_code=ChaosextError.exit_code, result=killed)

    def _record(self, began_at: datetime, ran: Ran) -> Record:
        result = ran.result or {"verdict": Outcome.REFUSED.value, "reasons": ["see the log of its Pod"]}
        return Record(
            name=self.settings.name,
            namespace=self.settings.namespace,
            job=self.subject.name,
            context=self.settings.cluster.context,
            cluster_uid=self.settings.cluster.kube_system_uid,
            experiment=str(result.get("experiment", self.settings.experiment)),
            began_at=began_at,
            ended_at=datetime.now(UTC),
            verdict=str(result["verdict"]),
            exit_code=ran.exit_code,
            reasons=tuple(map(str, result["reasons"])),
            run=_run_of(result),
            swept=tuple(self.swept),
            facts=facts_of(result) if "run" in result else None,
            problems=tuple(self.problems),
        )


def _run_of(result: Mapping[str, Any]) -> str:
    """The run's id, which its directory is found by; "" where none is told."""
    try:
        return RunId(result.get("run"))
    except ValueError:
        return ""


def _write(path: Path, experiment: Experiment) -> None:
    """Raises `Refused` where the results can't be written: nothing was touched yet."""
    import yaml

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True)
        write_whole(path, text, fsync=False)
    except OSError as error:
        raise Refused(
            f"results: {path} can't be written ({error.strerror})",
            "check the volume that results.claim names",
        ) from None
