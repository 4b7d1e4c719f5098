"""Rehearse or gate many clusters with one Indexed Job: one index per cluster, read-only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from chaosext.cluster.yaml_writer import as_yaml
from chaosext.gameday.gameday_settings import (
    DNS_LABEL,
    KEY,
    Name,
    Results,
    SettingsGroup,
    is_schedule,
    is_zone,
    read_model,
)
from chaosext.gameday.manifests import MEMORY, RESULTS_DIR, SETTINGS_DIR, SETTINGS_FILE, TMP, Manifest
from chaosext.gate.snapshot_checks import PROVEN
from chaosext.model.bounded_json import parse_json
from chaosext.model.errors import MALFORMED, Refused, Unreachable
from chaosext.model.files import move, read_file, write_whole
from chaosext.model.printable import json_text, printable
from chaosext.model.redact import veiled
from chaosext.nodes.image_names import USER, runner_image
from chaosext.report.data.fleet_history import FleetDay, FleetRow, with_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EXAMPLE = "`chaosext examples fleet`"
CLUSTERS_DIR = "/etc/chaosext/clusters"
CUTOVER_FILE = "cutover.yaml"

DURATION = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)?$"

WORSE = "worse"

KNOWN = [10, 20]
"""Exit codes that a retry would not change: the cut would do harm, or the plan is invalid for this cluster."""


class Kubeconfig(SettingsGroup):
    """The Secret and key of a kubeconfig.

    Its user needs the permissions of deploy/rehearsal/rbac.yaml, no more.
    """

    secret: Name
    key: str = Field(default="kubeconfig", pattern=KEY, max_length=253)


class FleetMember(SettingsGroup):
    """A cluster of the fleet: the name of its results, and how to reach it."""

    name: Name
    context: str = Field(min_length=1)
    kubeconfig: Kubeconfig


class Rehearse(SettingsGroup):
    """Options of `chaosext rehearse`."""

    cut_for: str = Field(default="480s", pattern=DURATION)
    cut_nodes: str = ""
    fail_on: tuple[Annotated[str, Field(pattern="^(deviated|unknown|worse)$")], ...] = Field(
        default=(), description="worse: anything became worse since the day before"
    )
    compare: bool = Field(default=True, description="Compare each snapshot with that of the day before")

    @property
    def cut(self) -> list[str]:
        nodes = ["--cut-nodes", self.cut_nodes] if self.cut_nodes else []
        return ["--cut-for", self.cut_for, *nodes]

    @property
    def options(self) -> list[str]:
        fails = [word for each in self.fail_on if each != WORSE for word in ("--fail-on", each)]
        return [*self.cut, *fails]


class Fleet(SettingsGroup):
    """The file that `chaosext schedule --fleet` and `chaosext fleet` read."""

    name: Annotated[str, Field(pattern=DNS_LABEL, max_length=50)]
    namespace: Name = "chaosext"
    image: str = Field(default="", max_length=500)
    image_pull_secrets: tuple[Name, ...] = ()
    schedule: Annotated[str, AfterValidator(is_schedule)] | None = Field(
        default=None, description="Schedule of a CronJob; unset: one Job"
    )
    time_zone: Annotated[str, AfterValidator(is_zone)] = "Etc/UTC"
    parallelism: int = Field(default=2, ge=1, le=1000)
    deadline_s: int = Field(default=900, ge=30, le=86_400, description="Per cluster, seconds")
    clusters: tuple[FleetMember, ...] = Field(min_length=1, max_length=10_000)
    rehearse: Rehearse = Rehearse.model_validate({})
    cutover: str = Field(
        default="", description="A plan beside this file: run the gate instead of a rehearsal"
    )
    results: Results = Results.model_validate({})

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [member.name for member in self.clusters]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"clusters: {', '.join(twice)} occurs twice; give each cluster its own name")
        return self


def read_fleet(path: Path) -> Fleet:
    """Read the fleet in the file at `path`. Raises `Refused`, which names field and fix."""
    return read_model(path, Fleet, EXAMPLE)


def files_of(fleet: Fleet, beside: Path) -> dict[str, str]:
    """Return the ConfigMap's files: the settings, and the plan for a gate. Raises `Refused`."""
    named = fleet.model_copy(update={"cutover": CUTOVER_FILE if fleet.cutover else ""})
    settings = {SETTINGS_FILE: as_yaml(named.model_dump(mode="json", exclude_defaults=True))}
    if not fleet.cutover:
        return settings
    path = beside / fleet.cutover
    try:
        return {**settings, CUTOVER_FILE: read_file(path).decode()}
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise Refused(
            f"cutover: {path} cannot be read ({problem})", "set cutover to a plan beside the settings"
        ) from None


def objects(fleet: Fleet, files: dict[str, str]) -> list[Manifest]:
    """Return ConfigMap, claim (if any), and Job or CronJob.

    Without a ServiceAccount: its own API server is not used.
    """
    return [
        _named("v1", "ConfigMap", fleet) | {"data": files},
        *_claim(fleet),
        _scheduled(fleet) if fleet.schedule else _named("batch/v1", "Job", fleet) | {"spec": _job(fleet)},
    ]


def _named(version: str, kind: str, fleet: Fleet) -> Manifest:
    labels = {"app.kubernetes.io/name": "chaosext-fleet", "app.kubernetes.io/instance": fleet.name}
    metadata = {"name": fleet.name, "namespace": fleet.namespace, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _claim(fleet: Fleet) -> Iterator[Manifest]:
    """Yield the claim for results, which many Pods write to at once."""
    if fleet.results.size:
        storage = {"storageClassName": fleet.results.storage_class} if fleet.results.storage_class else {}
        yield _named("v1", "PersistentVolumeClaim", fleet) | {
            "spec": {
                "accessModes": ["ReadWriteMany"],
                **storage,
                "resources": {"requests": {"storage": fleet.results.size}},
            }
        }


def _scheduled(fleet: Fleet) -> Manifest:
    return _named("batch/v1", "CronJob", fleet) | {
        "spec": {
            "schedule": fleet.schedule,
            "timeZone": fleet.time_zone,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": _job(fleet)},
        }
    }


def _job(fleet: Fleet) -> Manifest:
    """Return the Job: one index per cluster; a failed index does not stop the others."""
    return {
        "completionMode": "Indexed",
        "completions": len(fleet.clusters),
        "parallelism": min(fleet.parallelism, len(fleet.clusters)),
        "backoffLimitPerIndex": 1,
        "maxFailedIndexes": len(fleet.clusters),
        "podFailurePolicy": {
            "rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": KNOWN}}]
        },
        "template": {
            "metadata": {"labels": {"sidecar.istio.io/inject": "false"}},
            "spec": _pod(fleet),
        },
    }


def _pod(fleet: Fleet) -> Manifest:
    pull = [{"name": name} for name in fleet.image_pull_secrets]
    mounts = _mounted(fleet)
    arguments = ["fleet", "--settings", f"{SETTINGS_DIR}/{SETTINGS_FILE}", "--results", RESULTS_DIR]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "activeDeadlineSeconds": fleet.deadline_s,
        **({"imagePullSecrets": pull} if pull else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "rehearsal",
                "image": fleet.image or runner_image(),
                "imagePullPolicy": "IfNotPresent",
                "args": arguments,
                "env": [{"name": "HOME", "value": TMP}],
                "resources": MEMORY,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    {"name": volume["name"], "mountPath": path} for path, volume in mounts.items()
                ],
            }
        ],
        "volumes": list(mounts.values()),
    }


def _mounted(fleet: Fleet) -> dict[str, Manifest]:
    claim = fleet.results.claim or (fleet.name if fleet.results.size else "")
    kept: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    return {
        SETTINGS_DIR: {"name": "settings", "configMap": {"name": fleet.name}},
        CLUSTERS_DIR: {
            "name": "clusters",
            "projected": {"sources": [_kubeconfig(member) for member in fleet.clusters]},
        },
        RESULTS_DIR: {"name": "results", **kept},
        TMP: {"name": "tmp", "emptyDir": {}},
    }


def _kubeconfig(member: FleetMember) -> Manifest:
    """Return the volume source of a kubeconfig.

    It is optional, so that a missing Secret fails only its own cluster.
    """
    item = {"key": member.kubeconfig.key, "path": member.name}
    return {"secret": {"name": member.kubeconfig.secret, "items": [item], "optional": True}}


SNAPSHOT_FILE, ANSWER_FILE, SUMMARY_FILE = "snapshot.json.gz", "answer.json", "summary.json"
BEFORE_FILE, CHANGES_FILE, HISTORY_FILE = "snapshot-before.json.gz", "changes.json", "history.json"
SAID = 3

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A cluster's result. `verdict`: of rehearsal or gate; "failed" if neither gave an answer.

    `worse`, `better`: how many answers became so since the day before, None if that was not compared; `since`: in a
    sentence.
    """

    cluster: str
    verdict: str
    exit_code: int
    why: tuple[str, ...] = ()
    worse: int | None = None
    better: int | None = None
    since: str = ""

    def __str__(self) -> str:
        why = f": {'; '.join(self.why[:SAID])}" if self.why else ""
        since = f"; since the day before: {self.since}" if self.since else ""
        return f"{self.cluster}: {self.verdict} (exit {self.exit_code}){why}{since}"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "chaosext.fleet/v1",
            "cluster": self.cluster,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "why": list(self.why),
            "worse": self.worse,
            "better": self.better,
            "since": self.since,
        }


def member_at(fleet: Fleet, index: int) -> FleetMember:
    """Return the cluster of a Job's index. Raises `Refused` for an index out of range."""
    if not 0 <= index < len(fleet.clusters):
        raise Refused(
            f"index {index}: the fleet has {len(fleet.clusters)} clusters",
            "apply again what `chaosext schedule --fleet` writes",
        )
    return fleet.clusters[index]


def ask(
    fleet: Fleet,
    member: FleetMember,
    beside: Path,
    results: Path,
    clusters: Path = Path(CLUSTERS_DIR),
    *,
    today: str = "",
) -> Line:
    """Take the cluster's snapshot, rehearse or gate it, and compare it with that of the day before.

    Keeps all files in the cluster's directory. `today`: the date, by default the real one (UTC).
    """
    kept = results / member.name
    kept.mkdir(parents=True, exist_ok=True)
    kubeconfig = clusters / member.name
    snapshot = kept / SNAPSHOT_FILE
    history, today = history_of(kept), today or datetime.now(UTC).date().isoformat()
    if snapshot.exists() and history and history[-1].date < today:
        move(snapshot, kept / BEFORE_FILE)
    if not kubeconfig.is_file():
        line = _failed(
            member, Refused.exit_code, f"Secret {member.kubeconfig.secret} has no {member.kubeconfig.key}"
        )
    elif (
        taken := _command(["snapshot", "--context", member.context, "-o", str(snapshot)], kubeconfig)
    ).returncode:
        line = _failed(member, taken.returncode, taken.stderr)
    else:
        line = _answer(member, _command(_question(fleet, snapshot, beside), kubeconfig), kept)
        if fleet.rehearse.compare and (kept / BEFORE_FILE).exists():
            line = _compared(fleet, line, kept, kubeconfig)
    _remember(kept, history, line, today)
    write_whole(kept / SUMMARY_FILE, json_text(line.to_json()) + "\n", fsync=True)
    return line


def _compared(fleet: Fleet, line: Line, kept: Path, kubeconfig: Path) -> Line:
    """Return the line with what became worse or better since the day before."""
    words = ["compare", str(kept / BEFORE_FILE), str(kept / SNAPSHOT_FILE), *fleet.rehearse.cut, "--json"]
    done = _command(words, kubeconfig)
    fails = WORSE in fleet.rehearse.fail_on
    try:
        said = json.loads(done.stdout)
        worse, better, since = int(said["worse"]), int(said["better"]), str(said["sentence"])
        is_worse = bool(worse or said["left_out"])
    except (ValueError, KeyError, TypeError):
        why = veiled(" ".join(done.stderr.split()))
        exit_code = line.exit_code or (Unreachable.exit_code if fails else 0)
        return replace(line, exit_code=exit_code, since=f"not compared: {why:.300}")
    write_whole(kept / CHANGES_FILE, printable(veiled(done.stdout)), fsync=True)
    exit_code = line.exit_code or (KNOWN[0] if fails and is_worse else 0)
    return replace(line, exit_code=exit_code, worse=worse, better=better, since=since)


def history_of(kept: Path) -> tuple[FleetDay, ...]:
    """Return the days of a cluster, the oldest first; none if its file is missing or damaged."""
    try:
        return tuple(map(FleetDay.from_json, parse_json(read_file(kept / HISTORY_FILE))))
    except (OSError, *MALFORMED):
        return ()


def _remember(kept: Path, history: Iterable[FleetDay], line: Line, today: str) -> None:
    day = FleetDay(
        date=today,
        verdict=line.verdict,
        exit_code=line.exit_code,
        worse=line.worse,
        better=line.better,
        said=line.since,
    )
    days = [each.to_json() for each in with_day(history, day)]
    write_whole(kept / HISTORY_FILE, json_text(days, indent=None) + "\n", fsync=True)


def histories(fleet: Fleet, results: Path) -> tuple[FleetRow, ...]:
    """Return the history of each cluster."""
    names = (member.name for member in fleet.clusters)
    return tuple(FleetRow(cluster=name, days=history_of(results / name)) for name in names)


def _question(fleet: Fleet, snapshot: Path, beside: Path) -> list[str]:
    if fleet.cutover:
        plan = beside / fleet.cutover
        page = str(snapshot.with_name("gate.html"))
        return ["gate", "--cutover", str(plan), "--snapshot", str(snapshot), "--report", page, "--json"]
    return ["rehearse", "--snapshot", str(snapshot), "--json", *fleet.rehearse.options]


def _command(words: list[str], kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    """Run a chaosext command in its own process; the Job's deadline limits its time."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    argv = [sys.executable, "-m", "chaosext", *words]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)


def _answer(member: FleetMember, done: subprocess.CompletedProcess[str], kept: Path) -> Line:
    try:
        said = json.loads(done.stdout)
        verdict, why = _of_gate(said) if "decision" in said else _of_rehearsal(said)
        line = Line(cluster=member.name, verdict=verdict, exit_code=done.returncode, why=why)
    except (ValueError, KeyError, TypeError):
        return _failed(member, done.returncode, done.stderr)
    write_whole(kept / ANSWER_FILE, printable(veiled(done.stdout)), fsync=True)
    return line


def _of_gate(said: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    decision = str(said["decision"])
    reasons = sorted(said["reasons"], key=lambda each: each["check"] not in PROVEN)  # others rest on these
    why = tuple(f"{each['check']}: {each['summary']}" for each in reasons)
    return (decision if said["known"] else f"{decision}, unknown"), why


def _of_rehearsal(said: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the verdict, and if it is unknown, the reasons in order of their probability."""
    verdict = str(said["verdict"])
    unknown = (str(each["why"]) for each in said["outcomes"] if each["dns_after_heal"] == UNKNOWN)
    return verdict, tuple(unknown) if verdict == UNKNOWN else ()


def _failed(member: FleetMember, exit_code: int, why: str) -> Line:
    """Return the line of a failure; an exit code of 0 without an answer is a failure, too."""
    said = veiled(" ".join(why.split()))
    return Line(
        cluster=member.name, verdict="failed", exit_code=exit_code or Unreachable.exit_code, why=(said,)
    )


def summary(fleet: Fleet, results: Path) -> Iterator[Line]:
    """Yield a line for each cluster from its files in `results`, or that it has no answer yet."""
    for member in fleet.clusters:
        try:
            said = parse_json(read_file(results / member.name / SUMMARY_FILE))
            yield Line(
                cluster=member.name,
                verdict=str(said["verdict"]),
                exit_code=int(said["exit_code"]),
                why=tuple(map(str, said["why"])),
                worse=said.get("worse"),
                better=said.get("better"),
                since=str(said.get("since", "")),
            )
        except (OSError, ValueError, KeyError, TypeError):
            yield Line(cluster=member.name, verdict="no answer yet", exit_code=Unreachable.exit_code)


def worst(lines: Iterable[Line]) -> int:
    """Return the exit code of a whole fleet: the highest of its clusters'."""
    return max((line.exit_code for line in lines), default=0)
