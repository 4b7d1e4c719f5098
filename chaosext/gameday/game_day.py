"""A game day from start to end: checks, cleanup, run. Its outcome is a value, whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.cleanup.agent_pods import clean_up_sentinels
from chaosext.cleanup.inventory import CleanupScope
from chaosext.cleanup.removal import clean_up
from chaosext.cleanup.survey import look
from chaosext.cluster.client import Cluster, NotFound
from chaosext.experiment.resolve import resolve
from chaosext.gameday.announcements import announce
from chaosext.gameday.effective_experiment import agents_of, effective
from chaosext.gameday.in_cluster import pin_meant, require_meant
from chaosext.gameday.manifests import EXPERIMENT_FILE
from chaosext.gameday.outcome import Record, facts_of
from chaosext.gameday.permission_checks import require_confined, require_rights
from chaosext.gameday.rights import rights
from chaosext.model.errors import ChaosextError, Refused, Unsafe
from chaosext.model.files import write_whole
from chaosext.model.names import RunId
from chaosext.model.verdict import Outcome
from chaosext.run.agents.node_pods import leave
from chaosext.run.session.connection import observed_pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from chaosext.cleanup.inventory import CleanupResult
    from chaosext.experiment.load import Experiment
    from chaosext.experiment.resolve import Resolved
    from chaosext.experiment.settings import Settings as RunSettings
    from chaosext.gameday.announcements import Subject
    from chaosext.gameday.gameday_settings import GameDaySettings
    from chaosext.gameday.senders import Addresses
    from chaosext.nodes.shell import NodeAccess

OUTCOMES = {
    Refused.exit_code: Outcome.REFUSED,
    Unsafe.exit_code: Outcome.UNSAFE,
    ChaosextError.exit_code: Outcome.INCONCLUSIVE,
}
"""Exit code of a `ChaosextError` -> outcome of a game day that ended with it."""


@dataclass(slots=True, kw_only=True)
class GameDay:
    """One game day. `beside`: the settings' directory; `say` writes a line to the Pod's log.

    `in_pod`: the cluster is pinned as the settings say; otherwise the user must have pinned it.
    """

    settings: GameDaySettings
    beside: Path
    results: Path
    subject: Subject
    addresses: Addresses
    told: Told
    say: Callable[[str], None]
    in_pod: bool = False
    cluster: Cluster | None = None
    cleaned_up: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def play(self) -> Record:
        """Run the whole game day. A refusal, or any other `ChaosextError`, becomes an outcome."""
        began_at = datetime.now(UTC)
        try:
            resolved = self.check()
            self.clean_up(resolved.settings)
            return self._record(began_at, self._run(resolved))
        except ChaosextError as error:
            verdict = OUTCOMES[error.exit_code].value
            ended = Ran(exit_code=error.exit_code, result={"verdict": verdict, "reasons": [str(error)]})
            return self._record(began_at, ended)

    def check(self) -> Resolved:
        """Refuse whatever can be refused without a run or a change; returns the experiment to run."""
        self.cluster = Cluster.connect(self.settings.cluster.context)
        require_rights(self.cluster, rights(self.settings.name, self.settings.namespace))
        (pin_meant if self.in_pod else require_meant)(self.settings.cluster, observed_pin(self.cluster))
        self._require_not_suspended(self.cluster)
        self.addresses.read()
        experiment = effective(self.settings, self.beside)
        if self.in_pod:
            require_confined(self.cluster, self.settings.name, agents_of(self.settings, experiment))
        return resolve(experiment, context=self.settings.cluster.context)

    def clean_up(self, way_in: RunSettings) -> None:
        """Remove what earlier runs left, and report it.

        Raises `Unsafe` if one of their cuts may still be active.
        """
        found = clean_up_earlier(way_in.context, way_in.way)
        self.cleaned_up += found.done
        self.problems += found.problems
        for line in (*found.done, *found.problems):
            self.say(line)
        if found.done:
            self.announce("EarlierRunCleanedUp", "; ".join(found.done), warning=True)
        found.require_clear()

    def announce(self, reason: str, note: str, *, warning: bool = False) -> None:
        """Create an Event on the Job; a failure is added to the outcome's problems."""
        if self.cluster is None:
            return
        if problem := announce(self.cluster, self.subject, reason, note, warning=warning):
            self.problems.append(problem)

    def _require_not_suspended(self, cluster: Cluster) -> None:
        """Raise `Refused` if the game day is suspended, even in a Job created by hand.

        It may be suspended by the settings, or with `kubectl patch cronjob`.
        """
        name, namespace = self.settings.name, self.settings.namespace
        try:
            found = cluster.request("GET", f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{name}")
        except NotFound:
            found = {}
        if self.settings.suspend or (found.get("spec") or {}).get("suspend"):
            raise Refused(
                f"suspend: game day {namespace}/{name} is suspended",
                "set suspend to false in the settings, and apply what `chaosext schedule` writes",
            )

    def _run(self, resolved: Resolved) -> Ran:
        """Run it; if its process ends without a result, clean up at once what it left."""
        path = self.results / EXPERIMENT_FILE
        _write(path, resolved.experiment)
        self.announce("GameDayBegins", f"{resolved.experiment['title']} on {resolved.settings.context}")
        expected = ["--expect", self.settings.expect] if self.settings.expect else []
        ran = run_experiment(path, ["--context", resolved.settings.context, *expected], self.told)
        if not ran.was_killed:
            return ran
        self.say(f"the run ended without a result, with {ran.exit_code}: cleaning up what it may have left")
        self.clean_up(resolved.settings)
        reason = f"the run's process ended without a result ({ran.exit_code}); what it left was cleaned up"
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
            cleaned_up=tuple(self.cleaned_up),
            facts=facts_of(result) if "run" in result else None,
            problems=tuple(self.problems),
        )


def _run_of(result: Mapping[str, Any]) -> str:
    """Return the run's id, which is also the name of its directory; "" if there is none."""
    try:
        return RunId(result.get("run"))
    except ValueError:
        return ""


def _write(path: Path, experiment: Experiment) -> None:
    """Write the experiment. Raises `Refused` if that fails: nothing was touched yet."""
    import yaml

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True)
        write_whole(path, text, fsync=False)
    except OSError as error:
        raise Refused(
            f"results: {path} cannot be written ({error.strerror})",
            "check the volume that results.claim names",
        ) from None


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals from a kubelet or a user: the run answers each by healing and ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How the process ended: its exit code (negative: killed by that signal), and its result if it printed one."""

    exit_code: int
    result: Mapping[str, Any] | None

    @property
    def was_killed(self) -> bool:
        """Whether it ended without a result, so that it may have left something."""
        return self.result is None and self.exit_code != 20


class Told:
    """Forwards signals to the run: without a handler they are lost in a Pod's first process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            raise SystemExit(128 + number)
        self._process.send_signal(number)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Handle signals within the context: forward them to the run, or end this process in order."""
        before = {number: signal.signal(number, self) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def passed_to(self, process: subprocess.Popen[str]) -> Iterator[None]:
        self._process = process
        try:
            yield
        finally:
            self._process = None


def run_experiment(experiment: Path, options: Sequence[str], told: Told) -> Ran:
    """Run the experiment in the file to its end. Its progress goes to this process's stderr."""
    argv = [sys.executable, "-m", "chaosext", "run", str(experiment), "--json", "--plain", *options]
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="backslashreplace") as process,
        told.passed_to(process),
    ):
        output, _ = process.communicate()
    return Ran(exit_code=process.returncode, result=_result(output))


def _result(output: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(output)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """Result of a cleanup.

    `done`: what was removed or had expired; `problems`: what could not be checked or removed.
    """

    result: CleanupResult
    done: tuple[str, ...]
    problems: tuple[str, ...]

    def require_clear(self) -> None:
        """Raise `Unsafe` if a cut of an earlier run may still be active."""
        self.result.require_gone()


def clean_up_earlier(context: str, way: NodeAccess) -> Clearance:
    """Clean up the cluster of `context` through node access `way`; chaosext's own Pods are gone afterwards."""
    try:
        surveyed = look((), way=way)
        cleaned = clean_up(surveyed, CleanupScope())
        cleaned = clean_up_sentinels(cleaned, surveyed.overview, CleanupScope(), contexts=(context,))
    finally:
        leave()
    return Clearance(result=cleaned, done=tuple(_done(cleaned)), problems=tuple(_problems(cleaned)))


def _done(cleaned: CleanupResult) -> Iterator[str]:
    for found in cleaned.removed:
        yield f"removed: {found.kind} of run {found.run or '(unreadable)'} on {found.node} ({found.why})"
    for run, nodes in cleaned.finished.items():
        yield f"run {run} was interrupted, and has ended on {', '.join(nodes)}: the cut expired, or was cleaned up"


def _problems(cleaned: CleanupResult) -> Iterator[str]:
    for found, problem in cleaned.failed.items():
        yield f"could not be removed: {found.kind} of run {found.run} on {found.node}: {problem}"
    for node, why in cleaned.unasked.items():
        yield f"could not be queried: {node} ({why})"
    yield from (f"not checked: {problem}" for problem in cleaned.problems)
    yield from (f"not in the audit log: {problem}" for problem in cleaned.unaudited)
